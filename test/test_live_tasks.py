"""Unified mode as real processes: tasks in overlapping chunks, and switching the mode while the arm moves."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from action_msgs.msg import GoalStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from live_bench import Event  # noqa: E402
from live_stage import REACH, RETRACT, ready, serve  # noqa: E402

from wallwm_msgs.action import ExecuteTask  # noqa: E402
from wallwm_ros.bridge.goal_client import send_goal  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402
from wallwm_ros.core.events import ControlState, Outcome, Stage  # noqa: E402

STEPS = 32  # of every chunk
MIDDLE = sum((load_robot("sim").joints[0].low, load_robot("sim").joints[0].high)) / 2


class Task(Event):
    """One task sent."""

    def __init__(self, bench, instruction, **fields):
        self.bench, self.feedback = bench, []
        goal = ExecuteTask.Goal(instruction=instruction, **fields)
        heard = self.feedback.append
        self.handle = bench.wait(send_goal(bench.node, bench.tasks, goal, lambda m: heard(m.feedback)))
        self._result = self.handle.get_result_async()

    def reach(self, chunk):
        """Wait until it is at that chunk."""
        self.bench.until(lambda: any(f.chunk >= chunk for f in list(self.feedback)))


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("tasks"), "unified", mode="unified")


@pytest.fixture
def bench(processes):
    processes = ready(processes, "unified")
    assert processes.set("policy_node", mode="unified") == ""
    processes.until(lambda: processes.status is not None and processes.status.state == ControlState.HOLD)
    processes.chunks.clear()
    return processes


def side(bench):
    """Which way the waist has room: the words that send it there, and where it will end [rad]."""
    away = bench.status.measured[0] > MIDDLE
    return (RETRACT, MIDDLE - 0.25) if away else (REACH, MIDDLE + 0.25)


def stops(bench):
    return [chunk for chunk in bench.chunks if chunk.steps == 0]


def test_a_task_is_carried_out_in_chunks_of_one_plan_until_the_model_holds_still(bench):
    words, end = side(bench)
    task = Task(bench, words)
    status, result = task.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, Outcome.SUCCEEDED), result.error_text
    assert "held still for a whole chunk" in result.error_text
    bench.until(lambda: bench.chunks[-1].final)  # the result comes another way than chunks and feedback
    bench.until(lambda: task.feedback[-1].chunk == result.chunks_executed)
    chunks = list(bench.chunks)
    assert len({chunk.generation for chunk in chunks}) == 1 and not stops(bench)
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert result.chunks_executed == len(chunks) - 1 >= 3
    assert {chunk.steps for chunk in chunks[:-1]} == {STEPS} and chunks[0].first_step == 0
    firsts = [chunk.first_step for chunk in chunks]
    assert firsts == sorted(firsts) and firsts[1] > 0
    assert bench.status.measured[0] == pytest.approx(end, abs=2e-3)
    assert [f.chunk for f in task.feedback] == sorted(f.chunk for f in task.feedback)
    assert {f.caption for f in task.feedback} == {words} and {f.reasoning for f in task.feedback} == {""}


def test_cancelling_stops_the_arm_and_reports_how_far_it_came(bench):
    task = Task(bench, side(bench)[0])
    task.reach(2)
    task.cancel()
    status, result = task.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, Outcome.CANCELLED)
    assert result.chunks_executed >= 2
    bench.until(lambda: stops(bench) and bench.status.generation == stops(bench)[-1].generation)
    bench.until(lambda: bench.status.state == ControlState.HOLD)


def test_a_newer_task_takes_over_without_a_stop(bench):
    first = Task(bench, RETRACT)
    first.reach(1)
    second = Task(bench, REACH)
    result = first.result()[1]
    assert result.error_code == Outcome.PREEMPTED and REACH in result.error_text
    assert second.result()[1].error_code == Outcome.SUCCEEDED
    assert len({chunk.generation for chunk in bench.chunks}) == 1 and not stops(bench)
    captions = [chunk.caption for chunk in bench.chunks]
    assert captions == sorted(captions, reverse=True), "first the one, then the other"


def test_the_mode_changes_while_the_arm_moves(bench):
    task = Task(bench, side(bench)[0])
    task.reach(1)
    assert bench.set("policy_node", mode="event") == ""
    event = Event(bench, RETRACT, duration_s=0.5)
    result = task.result()[1]
    assert (result.error_code, result.error_text) == (Outcome.PREEMPTED, "mode was set to 'event'")
    assert event.result()[1].error_code == Outcome.SUCCEEDED
    assert not stops(bench) and bench.chunks[-1].caption == RETRACT

    event = Event(bench, REACH, duration_s=2.0)
    event.reach(Stage.EXECUTING, step=3)
    assert bench.set("policy_node", mode="unified") == ""
    task = Task(bench, side(bench)[0])
    assert event.result()[1].error_code == Outcome.SUCCEEDED
    task.reach(2)
    task.cancel()
    assert task.result()[1].error_code == Outcome.CANCELLED
    generations = [chunk.generation for chunk in bench.chunks]
    assert generations == sorted(generations)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"instruction": ""}, "an instruction must name a task; found an empty one"),
        ({"instruction": "tidy the rd cube"}, "unknown word 'tidy'"),
        ({"instruction": REACH, "timeout_s": -1.0}, "timeout_s must be 0 to 3600 s; found -1"),
    ],
)
def test_an_unsound_task_comes_back_with_the_reason(bench, goal, words):
    status, result = Task(bench, **goal).result()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Outcome.REFUSED)
    assert words in result.error_text and not bench.chunks


def test_goals_of_the_other_mode_and_wrong_parameters_are_refused(bench):
    result = Event(bench, REACH).result()[1]
    assert result.error_code == Outcome.REFUSED and "events need mode 'event'" in result.error_text
    assert bench.set("policy_node", mode="event") == ""
    result = Task(bench, REACH).result()[1]
    assert result.error_code == Outcome.REFUSED and "tasks need mode 'unified'" in result.error_text
    reason = bench.set("policy_node", text_source="staircase")
    assert "'staircase' needs a bundle that was trained for it; this one has: instruction, atomic" in reason
    assert "at most 32, the length of a chunk; found 40" in bench.set("policy_node", replan_steps=40)
    assert bench.set("policy_node", text_source="atomic", replan_steps=8) == ""
    assert bench.set("policy_node", text_source="instruction", replan_steps=0) == ""


def test_a_lost_camera_lets_the_arm_hold_and_names_itself(bench):
    task = Task(bench, side(bench)[0])
    task.reach(1)
    bench.mute("wrist_cam_left")
    result = task.result()[1]
    assert result.error_code == Outcome.NO_OBSERVATION and "wrist_cam_left" in result.error_text
    bench.until(lambda: bench.status.state == ControlState.HOLD)
    bench.mute("")
    task = Task(bench, side(bench)[0])
    task.reach(1)
    task.cancel()
    assert task.result()[1].error_code == Outcome.CANCELLED


@pytest.mark.parametrize("word", ["raise", "nan"])
def test_an_engine_that_fails_moves_nothing(bench, word):
    result = Task(bench, f"reach {word}").result()[1]
    assert result.error_code == Outcome.ENGINE_FAILED and not bench.chunks


def test_deactivating_ends_the_task_and_stops_the_arm(bench):
    task = Task(bench, side(bench)[0])
    task.reach(1)
    assert bench.change("policy_node", Transition.TRANSITION_DEACTIVATE)
    assert task.result()[1].error_code == Outcome.DEACTIVATED
    bench.until(lambda: stops(bench) and bench.status.state == ControlState.HOLD)
    refused = Task(bench, REACH).result()[1]
    assert refused.error_code == Outcome.REFUSED and "not active: activate it first" in refused.error_text
