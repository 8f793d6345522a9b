"""Events that are inferred again while they move the arm; the real controller, the clock turned by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from task_bench import HOME, PACE, SECOND, STEP, TaskBench

from wallwm_ros.core.events import EventGoal, Outcome, Stage
from wallwm_ros.core.synchronizer import Unsound

REACH, GRASP = EventGoal(b"r", "reach the red cube"), EventGoal(b"g", "grasp the red cube")
STEP_S = STEP / SECOND
LATENCIES = {
    "instant": lambda: itertools.repeat(0.0),
    "100 to 600 ms": lambda: iter(np.random.default_rng(0).uniform(0.1, 0.6, 1000).tolist()),
    "spikes": lambda: itertools.cycle([0.1, 0.15, 0.1, 1.8]),
    "cold start": lambda: itertools.chain([3.0, 0.9], itertools.repeat(0.2)),
    "starvation": lambda: itertools.repeat(2.2),
}


def until(end, horizon=32):
    """An engine that knows at which step the event is over, and can plan so many steps at most."""

    def engine(match, question):
        left = end - question.first_step
        steps = int(np.clip(left, 4, horizon))
        rows = np.repeat(HOME[None], steps, axis=0)
        rows[:, 0] += PACE * np.minimum(question.first_step + np.arange(1, steps + 1), end)
        return rows, max(left, 0) * STEP_S

    return engine


def make(end=60, horizon=32, **more):
    bench = TaskBench(**{"replan_s": 0.4, "blend_steps": 0, **more})
    bench.modes.set("event")
    bench.event_engine = until(end, horizon)
    return bench


def carry_out(bench, goal=REACH, limit_s=60.0):
    bench.modes.submit(goal)
    bench.until(lambda: goal.key in bench.results, limit_s)
    return bench.results[goal.key]


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("latency", LATENCIES)
def test_an_event_longer_than_one_chunk_is_extended_without_a_step_lost_or_repeated(latency, prefix):
    bench = make(prefix=prefix, latency=LATENCIES[latency]())
    result = carry_out(bench)
    assert result.outcome == Outcome.SUCCEEDED, result.text
    # The end is known to within a rounded step, from reports that are 20 ms apart.
    assert 58 <= result.steps_executed <= 64 and result.steps_executed == result.steps_planned
    visits = bench.visits()
    assert len(visits) in (59, 60) and (visits[:-1] == 1).all(), visits
    assert bench.steps() == (0, 0) and bench.stops == []
    places = [place for place, _ in bench.published]
    assert {place.generation for place in places} == {places[0].generation}
    assert [place.sequence for place in places] == list(range(len(places)))
    assert all(place.final for place in places), "an arm that hears no more comes to rest"
    assert all(share <= 1.0 + 1e-6 for share in bench.motion().values())
    assert bench.arm[0] == pytest.approx(HOME[0] + 60 * PACE, abs=1e-3)
    assert bench.statuses[-1].state.name == "HOLD"


def test_without_the_parameter_an_event_is_one_chunk_from_rest_to_rest():
    bench = make(replan_s=0.0)
    result = carry_out(bench)
    assert (result.outcome, result.steps_executed) == (Outcome.SUCCEEDED, 32)
    assert len(bench.questions) == len(bench.published) == 1


def test_the_model_is_asked_on_the_period_and_once_more_before_the_end():
    bench = make(end=30, replan_s=0.5, latency=0.1)
    result = carry_out(bench)
    firsts = [q.first_step for q in bench.questions]
    assert result.steps_executed in range(29, 32) and firsts[0] == 0
    assert all(9 <= b - a <= 12 for a, b in itertools.pairwise(firsts[:3])), firsts
    bench = make(end=30, replan_s=30.0, latency=0.1)
    carry_out(bench)
    assert len(bench.questions) == 2 and 18 <= bench.questions[1].first_step <= 24


def test_an_estimate_that_never_ends_is_followed_up_to_the_timeout():
    bench = make(end=10**6, latency=0.1)
    bench.modes.submit(EventGoal(b"r", "reach", timeout_s=6.0))
    bench.run(6.5)
    result = bench.results[b"r"]
    assert result.outcome == Outcome.TIMED_OUT and result.steps_executed > 100
    assert len(bench.stops) == 1 and bench.steps() == (0, 0)


def test_an_estimate_that_always_says_a_little_more_does_not_extend_for_ever():
    for left in (0, 1, 3, 4):
        bench = make(end=20, latency=0.1, replan_s=0.1)
        plain = bench.event_engine

        def engine(match, question, plain=plain, left=left):
            rows, remaining_s = plain(match, question)
            return rows, max(remaining_s, left * STEP_S)

        bench.event_engine = engine
        result = carry_out(bench, limit_s=10.0)
        assert result.outcome == Outcome.SUCCEEDED and result.steps_executed <= 32


def test_an_event_that_is_over_sooner_than_planned_ends_sooner():
    bench = make(end=30, latency=0.1)
    bench.modes.submit(REACH)
    bench.run(0.6)
    bench.event_engine = until(16)
    bench.until(lambda: b"r" in bench.results, 5.0)
    result = bench.results[b"r"]
    assert result.outcome == Outcome.SUCCEEDED and result.steps_executed <= 24
    assert max(bench.motion().values()) <= 1.0 + 1e-6 and bench.steps() == (0, 0)


def test_an_expected_duration_sizes_the_event_and_the_estimate_extends_it():
    bench = make(end=40, latency=0.1)
    plain = bench.event_engine

    def engine(match, question):
        rows, remaining_s = plain(match, question)
        steps = round(question.duration_s / STEP_S) or len(rows)
        return rows[:steps], remaining_s

    bench.event_engine = engine
    result = carry_out(bench, EventGoal(b"r", "reach", duration_s=1.0))
    asked = [round(q.duration_s / STEP_S) for q in bench.questions]
    assert asked[0] == 20 and [a for a in asked if a] == sorted((a for a in asked if a), reverse=True)
    assert asked[-1] == 0 and all(
        a in (0, 20 - q.first_step) for a, q in zip(asked, bench.questions, strict=True)
    )
    assert result.steps_executed in range(39, 46)


def test_the_committed_steps_are_those_executed_meanwhile():
    bench = make(prefix=True, latency=0.3)
    carry_out(bench)
    asked = [q for q in bench.questions if q.committed is not None]
    assert len(asked) >= 4
    for question in asked:
        first = question.first_step + np.arange(1, len(question.committed) + 1)
        expected = HOME[0] + PACE * np.minimum(first, 60)
        assert question.committed[:, 0] == pytest.approx(expected, abs=1e-6)


def test_feedback_follows_the_extension():
    bench = make(latency=0.1, horizon=24)
    bench.modes.submit(REACH)
    bench.until(lambda: b"r" in bench.results)
    told = [p for key, p in bench.progress if key == b"r" and p.stage == Stage.EXECUTING]
    progress = np.array([p.progress for p in told])
    assert (np.diff(progress) > -0.06).all() and progress[-1] > 0.9
    whole = np.array([p.step * STEP_S + p.remaining_s for p in told])
    assert whole[1:] == pytest.approx(60 * STEP_S, abs=0.2), "the estimate, not the end of the chunk"
    times = (bench.statuses[-1].time_ns - bench.statuses[0].time_ns) / SECOND
    assert len(bench.progress) >= 9.5 * (times - 1.0)


def test_an_arm_that_waits_at_the_end_for_the_last_answer_goes_on_without_a_jump():
    bench = make(latency=iter([0.1, *[2.5] * 9]), end=50)
    bench.modes.submit(REACH)
    bench.until(lambda: bench.statuses[-1].state.name == "HOLD" and bench.statuses[-1].step == 32)
    bench.run(0.3)
    assert b"r" not in bench.results, "a question is open"
    bench.until(lambda: b"r" in bench.results)
    assert bench.results[b"r"].outcome == Outcome.SUCCEEDED and bench.steps() == (0, 0)
    assert (bench.visits()[:-1] == 1).all() and max(bench.motion().values()) <= 1.0 + 1e-6


def test_an_answer_whose_rows_are_all_due_is_thrown_away_and_the_model_asked_anew():
    bench = make(end=60, horizon=60, latency=iter([0.1, 0.6, *[0.1] * 9]), replan_s=1.0)
    plain = bench.event_engine
    bench.event_engine = lambda match, question: tuple(
        part[:4] if question.ticket == 2 and i == 0 else part for i, part in enumerate(plain(match, question))
    )
    result = carry_out(bench)
    firsts = [q.first_step for q in bench.questions]
    assert 19 <= firsts[1] <= 21 and 11 <= firsts[2] - firsts[1] <= 14, firsts
    assert all(len(rows) > 4 for _, rows in bench.published) and result.outcome == Outcome.SUCCEEDED
    assert bench.steps() == (0, 0) and (bench.visits()[:-1] == 1).all()


def test_an_event_is_not_over_while_a_question_is_due_that_cannot_be_asked():
    bench = make(end=30, latency=0.1)
    bench.modes.submit(REACH)
    bench.until(lambda: bench.statuses[-1].step >= 20)
    bench.sight = Unsound("head_cam", "stale", "head_cam is stale")
    bench.run(1.5)
    assert bench.results == {} and bench.statuses[-1].state.name == "HOLD"
    bench.until(lambda: b"r" in bench.results, 2.0)
    assert bench.results[b"r"].outcome == Outcome.NO_OBSERVATION


def test_a_newer_event_takes_the_plan_over_where_the_model_takes_a_prefix():
    bench = make(prefix=True, latency=0.2, end=200)
    bench.modes.submit(REACH)
    bench.run(1.5)
    bench.modes.submit(EventGoal(b"q", "lift", queue=True))
    bench.modes.submit(GRASP)
    assert bench.results[b"q"].outcome == Outcome.PREEMPTED and b"r" not in bench.results
    asked = len(bench.questions)
    bench.run(0.5)
    assert GRASP.caption in {q.text for q in bench.questions[asked - 1 :]}
    bench.until(lambda: b"r" in bench.results, 1.0)
    old = bench.results[b"r"]
    assert old.outcome == Outcome.PREEMPTED and "grasp" in old.text and old.steps_executed > 25
    began = bench.modes.current.began_step
    bench.event_engine = until(began + 40)
    bench.until(lambda: b"g" in bench.results)
    new = bench.results[b"g"]
    assert new.outcome == Outcome.SUCCEEDED and new.steps_executed in range(38, 46)
    assert bench.stops == [] and bench.steps() == (0, 0) and (bench.visits()[:-1] == 1).all()
    assert len({place.generation for place, _ in bench.published}) == 1


def test_without_a_prefix_a_newer_event_stops_the_arm_and_begins_from_rest():
    bench = make(latency=0.2)
    bench.modes.submit(REACH)
    bench.run(1.0)
    bench.modes.submit(GRASP)
    assert bench.results[b"r"].outcome == Outcome.PREEMPTED and len(bench.stops) == 1
    bench.run(2.0)
    generations = {place.generation for place, _ in bench.published}
    assert len(generations) == 2 and max(generations) > bench.stops[0]


def test_a_successor_shorter_than_what_is_committed_is_sized_by_the_model():
    bench = make(prefix=True, latency=0.5, end=200)
    bench.modes.submit(REACH)
    bench.run(2.0)
    bench.modes.submit(EventGoal(b"g", "grasp", duration_s=0.3))
    bench.until(lambda: bench.questions[-1].text == "grasp", 2.0)
    assert len(bench.questions[-1].committed) > 6 and bench.questions[-1].duration_s == 0.0


def test_a_successor_that_is_cancelled_leaves_the_event_alone():
    bench = make(prefix=True, latency=0.5)
    bench.modes.submit(REACH)
    bench.run(1.5)
    bench.modes.submit(GRASP)
    bench.run(0.1)
    bench.modes.cancel(b"g")
    assert bench.results[b"g"].outcome == Outcome.CANCELLED
    bench.until(lambda: b"r" in bench.results)
    assert bench.results[b"r"].outcome == Outcome.SUCCEEDED and bench.stops == []


def test_the_period_may_be_set_while_the_arm_moves():
    bench = make(replan_s=0.0, latency=0.1)
    bench.modes.submit(REACH)
    bench.run(0.6)
    assert len(bench.questions) == 1
    bench.events.tuning = type(bench.events.tuning)(replan_ns=STEP * 8)
    bench.until(lambda: b"r" in bench.results)
    assert len(bench.questions) > 3 and bench.results[b"r"].steps_executed > 55
