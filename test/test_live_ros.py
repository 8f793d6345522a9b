"""policy_node, control_node and a tiny robot as real processes, driven over real ROS actions and topics."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from action_msgs.msg import GoalStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from live_bench import UNCONFIGURED, Event  # noqa: E402
from live_stage import LONG_S, REACH, RETRACT, ready, serve  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from tiny_engine import STEPS  # noqa: E402

from wallwm_msgs.action import ExecuteEvent, ExecuteTask  # noqa: E402
from wallwm_ros.bridge.diagnostics import latency_from_message  # noqa: E402
from wallwm_ros.bridge.goal_client import send_goal  # noqa: E402
from wallwm_ros.bridge.heartbeat import LEAVING  # noqa: E402
from wallwm_ros.core.events import ControlState, Outcome, Stage  # noqa: E402

QUEUE = ExecuteEvent.Goal.QUEUE


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("live"))


@pytest.fixture
def bench(processes):
    return ready(processes)


def test_an_event_is_carried_out_with_feedback_and_a_full_result(bench):
    before = bench.status.measured[0]
    event = Event(bench, REACH)
    status, result = event.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, Outcome.SUCCEEDED), result.error_text
    assert (result.steps_planned, result.steps_executed) == (STEPS, STEPS)
    assert result.duration_s > STEPS * 0.05 and result.inference_s > 0
    assert event.stages[0] == Stage.WAITING and {Stage.INFERRING, Stage.EXECUTING} <= set(event.stages)
    assert event.stages == sorted(event.stages)
    assert max(f.progress for f in event.feedback) > 0.5
    bench.until(lambda: abs(bench.status.measured[0] - before) > 0.25)


def test_the_chunk_says_what_it_is_and_where_the_time_went(bench):
    Event(bench, REACH, duration_s=0.4).result()
    chunk = bench.chunks[-1]
    assert (chunk.steps, chunk.sequence, chunk.final, chunk.caption) == (8, 0, True, REACH)
    assert len(chunk.values) == 8 * len(chunk.joint_names) and chunk.step_s == pytest.approx(0.05)
    assert chunk.observation_stamp.sec > 0 and chunk.remaining_s == pytest.approx(STEPS * 0.05)
    bench.until(lambda: bench.latencies)
    stages = latency_from_message(bench.latencies[-1])
    assert set(stages) == {"wait", "decode", "preprocess", "observe", "act", "publish", "chunk"}
    assert all(time_ms >= 0 for time_ms in stages.values())
    assert stages["chunk"] >= stages["decode"] + stages["preprocess"] + stages["observe"] + stages["act"]


def test_the_policy_beats_while_it_is_active_and_takes_leave(bench):
    beats = []
    ear = bench.node.create_subscription(Header, "/policy_heartbeat", beats.append, 10)
    bench.until(lambda: len(beats) > 3)
    assert {beat.frame_id for beat in list(beats)} == {""}
    assert bench.change("policy_node", Transition.TRANSITION_DEACTIVATE)
    bench.until(lambda: beats[-1].frame_id == LEAVING)
    bench.between(bench.node.destroy_subscription, ear)


def test_cancelling_stops_the_arm_and_reports_how_far_it_came(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=3)
    moving = bench.chunks[-1].generation
    event.cancel()
    status, result = event.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, Outcome.CANCELLED)
    assert 3 <= result.steps_executed < result.steps_planned == 60
    bench.until(lambda: bench.chunks[-1].steps == 0)
    assert bench.chunks[-1].generation > moving
    bench.until(lambda: bench.status.state == ControlState.HOLD)


def test_a_new_goal_preempts_the_one_under_way(bench):
    first = Event(bench, REACH, duration_s=LONG_S)
    first.reach(Stage.EXECUTING, step=2)
    second = Event(bench, RETRACT)
    status, result = first.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Outcome.PREEMPTED)
    assert RETRACT in result.error_text
    assert second.result()[1].error_code == Outcome.SUCCEEDED
    generations = [chunk.generation for chunk in bench.chunks]
    assert generations == sorted(generations)


def test_queued_events_run_one_after_the_other(bench):
    events = [Event(bench, caption, duration_s=0.4, policy=QUEUE) for caption in (REACH, RETRACT, REACH)]
    events[2].cancel()
    assert events[2].result()[1].error_code == Outcome.CANCELLED
    assert [event.result()[1].error_code for event in events[:2]] == [Outcome.SUCCEEDED] * 2
    assert [chunk.caption for chunk in bench.chunks[-2:]] == [REACH, RETRACT]
    assert events[1].feedback[0].stage == Stage.WAITING


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"caption": "reach the rd cube"}, "unknown word 'rd'"),
        ({"caption": ""}, "found an empty one"),
        ({"caption": REACH, "duration_s": -1.0}, "duration_s must be 0 to 3.2 s; found -1"),
        ({"caption": REACH, "timeout_s": -1.0}, "timeout_s must be"),
        ({"caption": REACH, "policy": 7}, "policy must be 0 (REPLACE) or 1 (QUEUE); found 7"),
    ],
)
def test_an_unsound_goal_comes_back_with_the_reason(bench, goal, words):
    sent = len(bench.chunks)
    status, result = Event(bench, **goal).result()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Outcome.REFUSED)
    assert words in result.error_text and len(bench.chunks) == sent


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("raise", "the engine raised RuntimeError: out of memory in the second layer"),
        ("nan", "the engine must give finite actions; found a non-finite value for left_forearm_roll"),
        ("shape", "must give 1 to 64 steps of 14 joints; found shape (72, 14)"),
        ("wild", "targets of left_forearm_roll in -2.6 to 2.6 rad, give or take 25% of that; found 20"),
    ],
)
def test_an_engine_that_fails_moves_nothing(bench, word, reason):
    sent = len(bench.chunks)
    result = Event(bench, f"reach {word}").result()[1]
    assert result.error_code == Outcome.ENGINE_FAILED and reason in result.error_text
    assert len(bench.chunks) == sent


def test_a_slow_engine_does_not_keep_a_cancel_waiting(bench):
    event = Event(bench, "reach slow")
    event.reach(Stage.INFERRING)
    event.cancel()
    assert event.result()[1].error_code == Outcome.CANCELLED
    assert Event(bench, RETRACT).result()[1].error_code == Outcome.SUCCEEDED


def test_an_event_that_takes_too_long_is_stopped(bench):
    result = Event(bench, REACH, duration_s=LONG_S, timeout_s=2.0).result()[1]
    assert result.error_code == Outcome.TIMED_OUT and "not done after 2.0 s" in result.error_text
    bench.until(lambda: bench.chunks[-1].steps == 0)


def test_without_a_camera_or_with_a_wrong_picture_nothing_is_inferred(bench):
    bench.mute("wrist_cam_left")
    result = Event(bench, REACH).result()[1]
    assert result.error_code == Outcome.NO_OBSERVATION and "wrist_cam_left" in result.error_text
    event = Event(bench, REACH)
    bench.show("wrist_cam_left", np.zeros((48, 64, 3), np.uint8), until=event.over)
    result = event.result()[1]
    assert result.error_code == Outcome.NO_OBSERVATION
    assert "wrist_cam_left was refused: size must be 192x192 as calibrated; found 64x48" in result.error_text
    bench.mute("")
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED


def test_a_whole_task_is_refused_as_long_as_the_bundle_has_events_only(bench):
    handle = bench.wait(send_goal(bench.node, bench.tasks, ExecuteTask.Goal(instruction="tidy up")))
    result = bench.wait(handle.get_result_async()).result
    assert result.error_code == Outcome.REFUSED
    assert "needs a bundle with unified mode; this one has: event" in result.error_text


def test_mode_is_settable_but_only_to_what_the_bundle_has(bench):
    assert "needs a bundle with unified mode; this one has: event" in bench.set("policy_node", mode="unified")
    assert "one of event, unified; found 'dance'" in bench.set("policy_node", mode="dance")
    assert bench.set("policy_node", mode="event") == ""
    assert "only while the node is unconfigured" in bench.set("policy_node", seed=3)


def test_deactivating_ends_events_and_activating_again_serves_again(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    waiting = Event(bench, RETRACT, policy=QUEUE)
    assert bench.change("policy_node", Transition.TRANSITION_DEACTIVATE)
    assert event.result()[1].error_code == waiting.result()[1].error_code == Outcome.DEACTIVATED
    refused = Event(bench, REACH).result()[1]
    assert refused.error_code == Outcome.REFUSED and "not active: activate it first" in refused.error_text
    assert bench.change("policy_node", Transition.TRANSITION_ACTIVATE)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ("swapped_joints", "column 0 is left_shoulder"),
        ("two_cameras", "cameras must be the 2 of model tiny; found 3"),
        ("other_robot", "trained for robot 'quanta_x1'; found robot 'sim'"),
        ("corrupt", "must have SHA-256"),
    ],
)
def test_a_bundle_that_does_not_belong_is_refused_and_another_can_be_configured(bench, bundle, words):
    bench.take_down("policy_node")
    assert bench.set("policy_node", model=f"{bench.folder}/{bundle}") == ""
    assert not bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    assert bench.state("policy_node") == UNCONFIGURED
    bench.until(lambda: any(words in text for text in bench.errors("policy_node")))
    assert bench.set("policy_node", model=f"{bench.folder}/sound") == ""
    assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE)


def test_a_control_process_that_falls_silent_ends_the_event_and_is_used_again_when_it_is_back(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    bench.processes["control_node"].send_signal(signal.SIGSTOP)
    try:
        result = event.result()[1]
        assert result.error_code == Outcome.CONTROL_LOST and "silent" in result.error_text
        assert "has been silent" in Event(bench, RETRACT).result()[1].error_text
    finally:
        bench.processes["control_node"].send_signal(signal.SIGCONT)
    bench.heard(5)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED


def test_a_stop_goes_out_soon_after_a_cancel(bench):
    times = []
    for _ in range(9):
        event = Event(bench, REACH, duration_s=LONG_S)
        event.reach(Stage.EXECUTING, step=2)
        sent, asked = len(bench.chunks), time.monotonic()
        event.cancel_soon()
        bench.until(lambda sent=sent: len(bench.chunks) > sent, pause_s=0.001)
        times.append(time.monotonic() - asked)
        assert bench.chunks[-1].steps == 0 and event.result()[1].error_code == Outcome.CANCELLED
    assert np.median(times) < 0.1, times


def test_an_event_that_is_inferred_again_goes_on_as_long_as_the_model_says_and_cameras_see(bench):
    assert bench.set("policy_node", event_replan_s=0.2) == ""
    try:
        event = Event(bench, REACH, timeout_s=2.5)  # the tiny model always says: twelve steps more
        result = event.result()[1]
        assert result.error_code == Outcome.TIMED_OUT and result.steps_executed > STEPS
        chunks = [chunk for chunk in bench.chunks if chunk.caption == REACH]
        plan = [chunk for chunk in chunks if chunk.generation == chunks[-1].generation]
        assert [chunk.sequence for chunk in plan] == list(range(len(plan))) and len(plan) > 3
        assert all(chunk.final for chunk in plan)
        steps = [f.step for f in event.feedback]
        assert steps == sorted(steps) and event.stages == [Stage.WAITING, Stage.INFERRING, Stage.EXECUTING]

        event = Event(bench, REACH)
        event.reach(Stage.EXECUTING, step=STEPS + 2)
        bench.mute("wrist_cam_left")
        result = event.result()[1]
        assert result.error_code == Outcome.NO_OBSERVATION and "wrist_cam_left" in result.error_text
        bench.until(lambda: bench.chunks[-1].steps == 0 and bench.status.state == ControlState.HOLD)
    finally:
        bench.mute("")
        assert bench.set("policy_node", event_replan_s=0.0) == ""


def test_an_emergency_stop_ends_every_goal_and_after_the_reset_new_ones_work_at_once(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    waiting = Event(bench, RETRACT, policy=QUEUE)
    assert bench.call(Trigger, "/control_node/estop", Trigger.Request()).success
    for ended in (event, waiting):
        status, result = ended.result()
        assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Outcome.ESTOPPED)
        assert "must be reset" in result.error_text
    refused = Event(bench, REACH).result()[1]
    assert refused.error_code == Outcome.REFUSED and "emergency stop" in refused.error_text
    assert bench.call(Trigger, "/control_node/reset_estop", Trigger.Request()).success
    bench.until(lambda: bench.status.state == ControlState.HOLD)  # reports of before may still come
    bench.heard(5)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED


def test_every_stage_of_a_goal_is_one_line_of_the_log(bench):
    event = Event(bench, RETRACT, duration_s=0.3)
    event.result()

    def lines():
        said = [m.msg for m in list(bench.log) if m.name == "policy_node" and m.msg.startswith("goal stage=")]
        return [line for line in said if event.identity in line]

    bench.until(lambda: any("stage=succeeded" in line for line in lines()))
    own = lines()
    assert [line.split()[1] for line in own] == [
        f"stage={stage}" for stage in ("waiting", "inferring", "executing", "settling", "succeeded")
    ]
    assert all("kind=event" in line and f"goal={RETRACT!r} reason=" in line for line in own)


def test_told_to_stop_the_node_ends_its_event_stops_the_arm_and_leaves(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    assert bench.stop("policy_node") == 0
    assert event.result()[1].error_code == Outcome.DEACTIVATED
    bench.until(lambda: bench.chunks[-1].steps == 0 and bench.status.state == ControlState.HOLD)
    assert "Traceback" not in bench.output("policy_node")
