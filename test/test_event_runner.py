"""The event state machine, its clock turned by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_ros.core.clock import ManualClock
from wallwm_ros.core.control_link import ControlLink
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.events import ControlReport, ControlState, EventGoal, EventTuning, Outcome, Plan, Stage
from wallwm_ros.core.plans import ChunkShape
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.synchronizer import Match, Unsound

HOLD, TRACKING, STOPPING, INACTIVE, ESTOPPED, TAKEOVER = ControlState
SECOND = 1_000_000_000
LIMITS = RunnerLimits(
    timeout_ns=30 * SECOND, observation_ns=2 * SECOND, control_ns=SECOND, inference_ns=4 * SECOND
)
STEP = 50_000_000
MATCH = Match({}, {}, 0, 0)
MISSING = Unsound("head_cam", "missing", "no picture from head_cam has arrived")


class Port:
    """Records what the runner asks of the outside."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.sight = clock, MATCH
        self.looks, self.inferences, self.published, self.stops = [], [], [], []
        self.results, self.progress, self.staging = {}, [], []

    def message_now_ns(self):
        return self.clock.now_ns()

    def look(self, not_before_ns, rested_ns=None):
        self.looks.append(not_before_ns)
        return self.sight

    def infer(self, match, question):
        self.inferences.append(question.ticket)

    def publish(self, place, plan, goal, wait_ms):
        assert place.final and wait_ms >= 0
        self.published.append(place.generation)

    def stop(self, generation):
        self.stops.append(generation)

    def feedback(self, goal, progress):
        self.progress.append((goal.key, progress))

    def staged(self, goal, stage, reason):
        self.staging.append((goal.key, stage))

    def finish(self, goal, result):
        assert goal.key not in self.results, "a goal must end exactly once"
        self.results[goal.key] = result


def runner(port, limits=LIMITS):
    """A runner that has heard nothing yet, and its link to the control process."""
    link = ControlLink(limits.control_ns, RestDetector(0.05, SECOND), port.clock.now_ns() // 1000)
    return EventRunner(port, port.clock, limits, link, ChunkShape(32, STEP, True), EventTuning()), link


class Bench:
    """A runner, its outside, and a control process played by the test."""

    def __init__(self, limits: RunnerLimits = LIMITS) -> None:
        self.clock = ManualClock(5 * SECOND)
        self.port = Port(self.clock)
        self.runner, self.link = runner(self.port, limits)
        self.generation = self.rejected = 0
        self.report(HOLD)

    def report(self, state, step=0, settled=True, measured=(0.0,), reason=""):
        now = self.clock.now_ns()
        position = np.array(measured)
        report = ControlReport(state, reason, self.generation, step, settled, self.rejected, now, position)
        self.link.hear(report, now)
        self.runner.follow()

    def run(self, seconds, state=HOLD, **report):
        """Let time pass with a status every 20 ms."""
        for _ in range(round(seconds / 0.02)):
            self.clock.advance(0.02)
            if state is not None:
                self.report(state, **report)
            self.runner.tick()

    def submit(self, key=b"a", state=HOLD, **goal):
        self.runner.submit(EventGoal(key, "reach the red cube", **goal))
        self.run(0.1, state, settled=state == HOLD)

    def answer(self, steps=10):
        plan = Plan(np.zeros((steps, 2)), 0.05, steps * 0.05, 0, {"observe": 30.0, "act": 20.0})
        self.runner.inferred(self.port.inferences[-1], plan)
        self.generation = self.port.published[-1]

    def outcome(self, key=b"a"):
        return self.port.results[key].outcome

    def stages(self, key=b"a"):
        """The stages reported, in order, without repetition."""
        found = [p.stage for k, p in self.port.progress if k == key]
        return [stage for i, stage in enumerate(found) if i == 0 or found[i - 1] != stage]


@pytest.fixture
def bench():
    return Bench()


def test_an_event_passes_through_every_stage_and_reports_what_was_done(bench):
    bench.submit()
    bench.answer(steps=10)
    for step in range(10):
        bench.run(0.06, TRACKING, step=step, settled=False)
    bench.run(0.1, TRACKING, step=10, settled=False)
    bench.run(0.02, HOLD, step=10)
    assert bench.stages() == [Stage.WAITING, Stage.INFERRING, Stage.EXECUTING, Stage.SETTLING]
    result = bench.port.results[b"a"]
    assert (result.outcome, result.steps_executed, result.steps_planned) == (Outcome.SUCCEEDED, 10, 10)
    assert result.inference_s == pytest.approx(0.05)
    assert result.duration_s == pytest.approx(0.1 + 0.6 + 0.1 + 0.02)
    assert bench.port.stops == [] and bench.runner.idle


def test_progress_and_remaining_time_follow_the_steps_really_executed(bench):
    bench.submit()
    bench.answer(steps=20)
    bench.run(0.2, TRACKING, step=5, settled=False)
    last = bench.port.progress[-1][1]
    assert (last.step, last.progress, last.remaining_s) == (5, 0.25, pytest.approx(0.75))


def test_feedback_comes_ten_times_a_second_even_while_nothing_happens(bench):
    bench.port.sight = MISSING
    bench.submit()
    before = len(bench.port.progress)
    bench.run(1.0)
    assert 10 <= len(bench.port.progress) - before <= 11


def test_only_pictures_taken_after_the_goal_came_are_asked_for(bench):
    bench.run(1.0)
    came = bench.clock.now_ns()
    bench.submit()
    assert set(bench.port.looks) == {came}


def test_an_arm_still_swinging_delays_both_the_end_and_the_next_look(bench):
    bench.submit()
    bench.answer(steps=2)
    for i in range(10):
        bench.run(0.02, TRACKING, step=2, settled=i > 5, measured=(0.01 * i,))
    assert b"a" not in bench.port.results
    bench.run(0.1, HOLD, step=2, measured=(0.1,))
    assert bench.outcome() == Outcome.SUCCEEDED


def test_an_arm_that_never_stands_still_ends_the_event_when_patience_is_over(bench):
    bench.submit()
    bench.answer(steps=2)
    for i in range(60):
        bench.run(0.02, HOLD, step=2, measured=(0.1 * (i % 2) + 0.01 * i,))
    assert bench.outcome() == Outcome.SUCCEEDED


def test_generations_rise_and_a_restarted_runner_is_newer(bench):
    bench.submit()
    bench.answer()
    bench.runner.cancel(b"a")
    assert bench.port.stops[0] > bench.port.published[0]
    later = ManualClock(bench.clock.now_ns() + SECOND)
    port = Port(later)
    assert runner(port)[1].next_generation() > bench.port.stops[0]


def test_a_generation_outruns_the_one_that_the_control_process_knows(bench):
    bench.generation = 10**15
    bench.report(HOLD)
    bench.submit()
    bench.answer()
    assert bench.port.published[0] > 10**15


def test_cancel_while_moving_asks_for_a_stop_at_once(bench):
    bench.submit()
    bench.answer()
    bench.run(0.2, TRACKING, step=3, settled=False)
    bench.runner.cancel(b"a")
    assert bench.outcome() == Outcome.CANCELLED and len(bench.port.stops) == 1
    assert bench.port.results[b"a"].steps_executed == 3


def test_cancel_before_anything_moved_needs_no_stop_and_drops_the_late_answer(bench):
    bench.submit()
    ticket = bench.port.inferences[-1]
    bench.runner.cancel(b"a")
    bench.runner.inferred(ticket, Plan(np.zeros((3, 2)), 0.05, 0.15, 0, {}))
    assert bench.outcome() == Outcome.CANCELLED
    assert bench.port.stops == [] and bench.port.published == []


def test_replace_ends_the_old_event_and_looks_only_once_the_arm_has_stopped(bench):
    bench.submit(b"a")
    bench.answer()
    bench.run(0.2, TRACKING, step=3, settled=False)
    looked = len(bench.port.looks)
    bench.runner.submit(EventGoal(b"b", "retract the left arm"))
    assert bench.outcome(b"a") == Outcome.PREEMPTED and "retract" in bench.port.results[b"a"].text
    bench.run(0.1, TRACKING, step=3, settled=False)  # has not heard of the stop yet
    bench.generation = bench.port.stops[-1]
    bench.run(0.2, STOPPING, step=3, settled=False)
    assert len(bench.port.looks) == looked
    stood = bench.clock.now_ns()
    bench.run(0.2, HOLD)
    assert len(bench.port.inferences) == 2 and bench.port.looks[-1] > stood
    bench.answer(steps=1)
    bench.run(0.2, HOLD, step=1)
    assert bench.outcome(b"b") == Outcome.SUCCEEDED


def test_replace_also_ends_the_events_that_wait(bench):
    bench.submit(b"a")
    bench.submit(b"b", queue=True)
    bench.submit(b"c")
    assert bench.outcome(b"a") == bench.outcome(b"b") == Outcome.PREEMPTED
    assert b"c" not in bench.port.results


def test_queued_events_run_in_order_and_keep_their_own_timeouts(bench):
    bench.submit(b"a")
    bench.submit(b"b", queue=True, timeout_s=1.0)
    bench.run(1.5)
    assert bench.port.results == {}
    bench.answer(steps=1)
    bench.run(0.1, HOLD, step=1)
    assert bench.outcome(b"a") == Outcome.SUCCEEDED
    bench.run(1.2)  # the engine never answers for b
    assert bench.outcome(b"b") == Outcome.TIMED_OUT


def test_a_queued_event_can_be_cancelled_without_a_stop(bench):
    bench.submit(b"a")
    bench.answer()
    bench.submit(b"b", TRACKING, queue=True)
    bench.runner.cancel(b"b")
    assert bench.outcome(b"b") == Outcome.CANCELLED
    assert bench.port.stops == [] and b"a" not in bench.port.results


def test_a_full_queue_refuses(bench):
    small = Bench(dataclasses.replace(LIMITS, queue_length=1))
    for key in (b"a", b"b", b"c"):
        small.submit(key, queue=True)
    assert small.outcome(b"c") == Outcome.REFUSED and "at most 1" in small.port.results[b"c"].text


def test_timeout_while_moving_stops_the_arm(bench):
    bench.submit(timeout_s=1.0)
    bench.answer(steps=100)
    bench.run(1.2, TRACKING, step=7, settled=False)
    assert bench.outcome() == Outcome.TIMED_OUT and len(bench.port.stops) == 1
    assert "step 7 of 100" in bench.port.results[b"a"].text


def test_no_observation_in_time_ends_with_the_synchronisers_reason(bench):
    bench.port.sight = MISSING
    bench.submit()
    bench.run(1.8)
    assert bench.port.results == {}
    bench.run(0.3)
    assert bench.outcome() == Outcome.NO_OBSERVATION
    assert MISSING.text in bench.port.results[b"a"].text and "2.0 s" in bench.port.results[b"a"].text


def test_pictures_that_cannot_be_decoded_are_looked_for_again_until_the_deadline(bench):
    bench.submit()
    bench.runner.unseen(bench.port.inferences[-1], "head_cam: jpeg data must be whole")
    bench.run(0.1)
    assert len(bench.port.inferences) == 2
    bench.port.sight = Unsound("head_cam", "early", "head_cam has sent no picture since")
    bench.runner.unseen(bench.port.inferences[-1], "head_cam: jpeg data must be whole")
    bench.run(2.2)
    assert bench.outcome() == Outcome.NO_OBSERVATION and "jpeg" in bench.port.results[b"a"].text


def test_an_engine_that_fails_publishes_nothing(bench):
    bench.submit()
    bench.runner.inference_failed(bench.port.inferences[-1], "the engine must give finite actions")
    assert bench.outcome() == Outcome.ENGINE_FAILED
    assert bench.port.published == [] and bench.port.stops == []


def test_a_control_process_never_heard_of_is_named():
    bench = Bench()
    bench.runner, _ = runner(bench.port)
    bench.runner.submit(EventGoal(b"a", "x"))
    bench.run(1.1, None)
    assert bench.outcome() == Outcome.CONTROL_LOST and "never been heard" in bench.port.results[b"a"].text


@pytest.mark.parametrize(
    ("state", "report", "words"),
    [
        (None, {}, "silent for"),
        (INACTIVE, {"reason": "deactivated"}, "stopped at step 0 of 10: deactivated"),
        (STOPPING, {"reason": "joint states are stale"}, "joint states are stale"),
    ],
)
def test_a_control_process_that_gives_up_is_named(bench, state, report, words):
    bench.submit()
    bench.answer()
    bench.run(0.1, TRACKING, settled=False)
    bench.run(1.1, state, settled=False, **report)
    assert bench.outcome() == Outcome.CONTROL_LOST and words in bench.port.results[b"a"].text
    assert len(bench.port.stops) == 1


@pytest.mark.parametrize(
    ("state", "outcome"),
    [(HOLD, Outcome.CONTROL_LOST), (ESTOPPED, Outcome.ESTOPPED), (TAKEOVER, Outcome.TAKEN_OVER)],
)
def test_while_the_control_process_stops_the_arm_nothing_is_sent_and_then_it_is_known_for_whom(
    bench, state, outcome
):
    bench.runner.tuning = EventTuning(replan_ns=4 * STEP)
    bench.submit()
    bench.answer(steps=40)
    bench.run(0.1, TRACKING, step=8, settled=False)
    assert len(bench.port.inferences) == 2
    bench.run(0.1, STOPPING, step=9, settled=False, reason="a stop")
    bench.answer(steps=40)
    bench.run(0.3, STOPPING, step=9, settled=False, reason="a stop")
    assert len(bench.port.published) == 1 and len(bench.port.inferences) == 2
    assert bench.port.results == {}
    bench.run(0.02, state, step=9, settled=False, reason="the reason")
    assert bench.outcome() == outcome and "the reason" in bench.port.results[b"a"].text
    assert len(bench.port.stops) == (state == HOLD), "who has taken the arm needs no stop"


def test_a_refused_chunk_is_told_with_the_control_processes_reason(bench):
    bench.submit()
    bench.answer()
    bench.generation, bench.rejected = 0, 1
    bench.report(HOLD, reason="chunk refused: joints differ")
    assert bench.outcome() == Outcome.CONTROL_LOST and "joints differ" in bench.port.results[b"a"].text


def test_a_chunk_never_taken_up_ends_the_event(bench):
    bench.submit()
    bench.answer()
    bench.generation = 0
    bench.run(1.1, HOLD, reason="waiting")
    assert bench.outcome() == Outcome.CONTROL_LOST and "not taken up" in bench.port.results[b"a"].text


def test_a_newer_plan_of_another_sender_is_left_alone(bench):
    bench.submit()
    bench.answer()
    bench.generation += 100
    bench.run(0.02, TRACKING, settled=False)
    assert bench.outcome() == Outcome.CONTROL_LOST and bench.port.stops == []


def test_a_control_process_restarted_after_a_stop_does_not_block_the_next_event(bench):
    bench.submit()
    bench.answer()
    bench.run(0.1, TRACKING, settled=False)
    bench.runner.cancel(b"a")
    bench.generation = 0
    bench.run(1.1, HOLD)
    bench.submit(b"b")
    assert len(bench.port.inferences) == 2


def test_an_inactive_control_process_is_waited_for_a_little(bench):
    bench.report(INACTIVE, reason="not activated")
    bench.runner.submit(EventGoal(b"a", "x"))
    bench.run(0.5, INACTIVE, reason="not activated")
    assert bench.port.results == {}
    bench.run(0.6, INACTIVE, reason="not activated")
    assert bench.outcome() == Outcome.CONTROL_LOST and "not activated" in bench.port.results[b"a"].text


def test_closing_ends_every_event_as_deactivated(bench):
    bench.submit(b"a")
    bench.answer()
    bench.submit(b"b", TRACKING, queue=True)
    bench.runner.close("policy_node was deactivated")
    assert bench.outcome(b"a") == bench.outcome(b"b") == Outcome.DEACTIVATED
    assert len(bench.port.stops) == 1 and bench.runner.idle


@pytest.mark.parametrize("stage", [Stage.INFERRING, Stage.EXECUTING, Stage.SETTLING])
def test_distrust_ends_what_was_planned_with_a_shaped_stop_and_its_reason(bench, stage):
    bench.submit()
    if stage >= Stage.EXECUTING:
        bench.answer(steps=10)
        bench.run(0.1, TRACKING, step=3, settled=False)
    if stage == Stage.SETTLING:
        bench.run(0.1, TRACKING, step=10, settled=False)
    assert bench.stages()[-1] == stage
    bench.runner.distrust("head_cam has another lens")
    result = bench.port.results[b"a"]
    assert (result.outcome, result.text) == (Outcome.NO_OBSERVATION, "head_cam has another lens")
    assert len(bench.port.stops) == (stage != Stage.INFERRING)
    before = list(bench.port.published)
    bench.runner.inferred(bench.port.inferences[-1], Plan(np.zeros((4, 2)), 0.05, 0.2, 0, {}))
    assert bench.port.published == before, "an answer that comes after the distrust must not move the arm"


def test_distrust_leaves_an_event_that_waits_to_its_own_deadline(bench):
    bench.port.sight = Unsound("head_cam", "camera_info", "head_cam has another lens")
    bench.submit()
    bench.runner.distrust("head_cam has another lens")
    assert not bench.port.results
    bench.port.sight = MATCH
    bench.run(0.1)
    assert bench.stages()[-1] == Stage.INFERRING
    bench.port.sight = Unsound("head_cam", "camera_info", "head_cam has another lens")
    bench.submit(b"b")
    bench.run(2.1)
    assert bench.outcome(b"b") == Outcome.NO_OBSERVATION
    assert "head_cam has another lens" in bench.port.results[b"b"].text and bench.port.stops == []


def test_distrust_of_nothing_under_way_is_nothing(bench):
    bench.runner.distrust("head_cam has another lens")
    assert bench.port.stops == [] and not bench.port.results
