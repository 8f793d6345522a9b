"""Tasks in overlapping chunks, through the real controller, with the clock turned by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from task_bench import HOME, MS, PACE, SECOND, STEP, STEPS, TaskBench, hold, ramp

from wallwm_ros.core.events import Outcome
from wallwm_ros.core.synchronizer import Unsound
from wallwm_ros.core.tasks import TaskGoal

BLIND = Unsound("head_cam", "stale", "head_cam is stale: its newest picture is 900 ms old")
TIDY, SORT = TaskGoal(b"a", "tidy up"), TaskGoal(b"b", "sort the cubes")


def uniform(low, high, seed=0):
    rng = np.random.default_rng(seed)
    return iter(lambda: float(rng.uniform(low, high)), None)


LATENCIES = {
    "instant": lambda: itertools.repeat(0.0),
    "100 to 600 ms": lambda: uniform(0.1, 0.6),
    "spikes": lambda: itertools.cycle([0.1, 0.15, 0.1, 1.8]),
    "cold start": lambda: itertools.chain([3.0, 0.9], uniform(0.1, 0.3)),
    "starvation": lambda: itertools.repeat(2.2),
}


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("latency", LATENCIES)
def test_every_step_is_executed_once_and_motion_keeps_to_the_limits(latency, prefix):
    # Nothing is led over: rows stay their steps' own, so that they can be counted.
    bench = TaskBench(prefix=prefix, latency=LATENCIES[latency](), blend_steps=0)
    bench.modes.submit(TIDY)
    bench.run(12.0)
    visits = bench.visits()
    assert len(visits) > 60 and (visits == 1).all(), visits
    assert bench.steps() == (0, 0)
    assert len(bench.published) >= 4 and bench.results == {} and bench.stops == []
    places = [place for place, _ in bench.published]
    assert {place.generation for place in places} == {places[0].generation}
    assert [place.sequence for place in places] == list(range(len(places)))
    assert all(share <= 1.0 + 1e-6 for share in bench.motion().values())
    starved = any("ran out" in s.reason for s in bench.statuses)
    assert starved == (latency in ("spikes", "cold start", "starvation"))


@pytest.mark.parametrize("latency", LATENCIES)
def test_rows_belong_to_the_step_at_which_the_arm_was_seen(latency):
    bench = TaskBench(latency=LATENCIES[latency]())
    bench.modes.submit(TIDY)
    bench.run(12.0)
    wrong = np.array([q.first_step for q in bench.questions]) - bench.seen
    assert np.abs(wrong).max() <= 0.7, "a rounded step, known from reports that are 20 ms apart"


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("latency", LATENCIES)
def test_chunks_that_contradict_each_other_join_inside_the_limits(latency, prefix):
    rng = np.random.default_rng(3)

    def engine(now, match, question):
        rows = match.states["arm"] + np.arange(1, STEPS + 1)[:, None] * rng.uniform(-0.03, 0.03, len(HOME))
        rows[:, [6, 13]] = 0.04
        if question.committed is not None:
            rows[: len(question.committed)] = question.committed
        return rows

    bench = TaskBench(prefix=prefix, latency=LATENCIES[latency]())
    bench.engine = engine
    bench.modes.submit(TIDY)
    bench.run(12.0)
    assert len(bench.published) > 4 and bench.steps() == (0, 0)
    assert all(share <= 1.0 + 1e-6 for share in bench.motion().values()), bench.motion()


def test_without_a_prefix_the_first_rows_lead_over_from_the_chunk_before():
    bench = TaskBench(latency=0.3, blend_steps=4)
    bench.engine = lambda *given: ramp(*given) + (0.1 if given[2].ticket > 1 else 0)
    bench.modes.submit(TIDY)
    bench.until(lambda: len(bench.published) == 2)
    (_, old), (place, new) = bench.published
    away = (new - HOME)[:, 1]
    join = int(np.argmax(away > 1e-9))
    assert bench.statuses[-1].step - place.first_step - join in (0, 1)  # known from reports 20 ms apart
    assert join > 2 and new[:join] == pytest.approx(old[place.first_step : place.first_step + join])
    assert away[join : join + 5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


def test_the_committed_steps_are_those_executed_meanwhile():
    bench = TaskBench(prefix=True, latency=0.3)
    bench.modes.submit(TIDY)
    bench.run(6.0)
    asked = [q for q in bench.questions if q.committed is not None]
    assert len(asked) == len(bench.questions) - 1 >= 5
    for question in asked:
        first = question.first_step
        expected = HOME[0] + PACE * (first + np.arange(1, len(question.committed) + 1))
        assert question.committed[:, 0] == pytest.approx(expected, abs=1e-6)
        assert 6 <= len(question.committed) <= 8  # 300 ms, and the pictures' own age
    joined = {place.sequence: rows for place, rows in bench.published}
    assert joined[1][: len(asked[0].committed)] == pytest.approx(asked[0].committed)


def test_the_next_chunk_is_asked_for_at_the_step_that_is_set():
    bench = TaskBench(latency=0.1, replan_steps=8)
    bench.modes.submit(TIDY)
    bench.run(4.0)
    firsts = [q.first_step for q in bench.questions]
    assert all(7 <= b - a <= 9 for a, b in itertools.pairwise(firsts[1:]))
    bench.tasks.tuning = type(bench.tasks.tuning)(replan_steps=24, source="atomic")
    asked = len(bench.questions)
    bench.run(4.0)
    later = bench.questions[asked + 1 :]
    assert all(23 <= b.first_step - a.first_step <= 25 for a, b in itertools.pairwise(later))
    assert {(q.source, q.chunk) for q in later} == {("atomic", 0)}  # its whole task's beginning is unknown


def test_chunks_are_numbered_and_pictures_of_the_past_reach_back_to_the_beginning():
    bench = TaskBench()
    bench.run(1.0)
    came = bench.clock.now_ns()
    bench.modes.submit(TIDY)
    bench.run(3.0)
    assert [q.chunk for q in bench.questions] == [1 + q.first_step // STEPS for q in bench.questions]
    assert bench.questions[-1].chunk == 2, "counted in time, not in questions"
    assert {q.text for q in bench.questions} == {"tidy up"}
    first = bench.questions[0].stamp_ns
    assert first >= came and {rested for _, rested in bench.looks} == {None, first}
    stamps = [q.stamp_ns for q in bench.questions]
    assert stamps == sorted(set(stamps)), "no picture is used twice"


def test_a_model_that_holds_still_for_a_whole_chunk_has_done_its_task():
    bench = TaskBench()
    goal = HOME[0] + 40 * PACE

    def engine(now, match, question):
        rows = ramp(now, match, question)
        rows[:, 0] = np.minimum(rows[:, 0], goal)
        return rows

    bench.engine = engine
    bench.modes.submit(TIDY)
    bench.until(lambda: b"a" in bench.results)
    result = bench.results[b"a"]
    assert result.outcome == Outcome.SUCCEEDED and "held still for a whole chunk" in result.text
    last = bench.published[-1][0]
    assert last.final and not any(place.final for place, _ in bench.published[:-1])
    assert result.chunks == len(bench.published) - 1
    assert last.first_step + STEPS >= 40 + STEPS and bench.stops == []
    assert bench.arm[0] == pytest.approx(goal, abs=1e-3)
    bench.run(1.0)
    assert bench.steps() == (0, 0) and bench.statuses[-1].settled


def test_a_pause_shorter_than_a_chunk_is_no_end():
    bench = TaskBench(latency=0.1)
    bench.engine = lambda *given: (hold if given[2].ticket % 3 == 2 else ramp)(*given)
    bench.modes.submit(TIDY)
    bench.run(12.0)
    assert bench.results == {} and len(bench.questions) > 9


def test_cancelling_stops_the_arm_and_drops_the_late_answer():
    bench = TaskBench(latency=0.5)
    bench.modes.submit(TIDY)
    bench.until(lambda: len(bench.questions) == 2)
    published = len(bench.published)
    bench.modes.cancel(b"a")
    assert bench.results[b"a"].outcome == Outcome.CANCELLED and bench.results[b"a"].chunks == 1
    bench.run(1.5)
    assert len(bench.stops) == 1 and len(bench.published) == published
    assert bench.statuses[-1].state.name == "HOLD" and bench.statuses[-1].generation == bench.stops[0]
    bench.modes.submit(SORT)
    bench.run(2.0)
    assert bench.published[-1][0].generation > bench.stops[0]


def test_a_task_that_takes_too_long_is_stopped():
    bench = TaskBench()
    bench.modes.submit(TaskGoal(b"a", "tidy up", timeout_s=3.0))
    bench.run(3.5)
    assert bench.results[b"a"].outcome == Outcome.TIMED_OUT and len(bench.stops) == 1
    assert "not done after 3.0 s: executing step" in bench.results[b"a"].text


def test_lost_cameras_let_the_arm_hold_and_end_the_task_with_the_reason():
    bench = TaskBench()
    bench.modes.submit(TIDY)
    bench.run(2.0)
    bench.sight = BLIND
    bench.run(1.5)
    assert bench.results == {}
    bench.until(lambda: b"a" in bench.results, 3.0)
    result = bench.results[b"a"]
    assert result.outcome == Outcome.NO_OBSERVATION
    assert BLIND.text in result.text and "within 2.0 s" in result.text
    bench.run(0.5)
    assert bench.statuses[-1].state.name == "HOLD"
    assert bench.steps() == (0, 0)


def test_cameras_that_come_back_in_time_let_the_task_go_on_where_it_held():
    bench = TaskBench(blend_steps=0)
    bench.modes.submit(TIDY)
    bench.run(2.0)
    bench.sight = BLIND
    bench.until(lambda: "ran out" in bench.statuses[-1].reason, 3.0)
    bench.sight = None
    bench.run(3.0)
    assert bench.results == {} and (bench.visits() == 1).all() and bench.steps() == (0, 0)


def test_pictures_that_cannot_be_decoded_are_looked_for_again():
    bench = TaskBench()
    bench.modes.submit(TIDY)
    bench.until(lambda: len(bench.questions) == 2)
    bad = bench.questions[1]
    bench._due.clear()
    bench.tasks.unseen(bad.ticket, "head_cam: jpeg data must be whole")
    bench.run(3.0)
    assert bench.questions[2].stamp_ns > bad.stamp_ns and bench.results == {}
    assert (bench.visits() == 1).all()


@pytest.mark.parametrize("chunk", [1, 2])
def test_an_engine_that_fails_ends_the_task(chunk):
    def engine(now, match, question):
        if question.ticket == chunk:
            raise RuntimeError("the engine must give finite actions")
        return ramp(now, match, question)

    bench = TaskBench()
    bench.engine = engine
    bench.modes.submit(TIDY)
    bench.run(3.0)
    assert bench.results[b"a"].outcome == Outcome.ENGINE_FAILED and "finite" in bench.results[b"a"].text
    assert len(bench.stops) == chunk - 1 and bench.statuses[-1].state.name == "HOLD"


def test_a_control_process_that_falls_silent_or_stops_is_named():
    bench = TaskBench()
    bench.modes.submit(TIDY)
    bench.run(2.0)
    bench.control = False
    bench.run(1.2)
    bench.modes.tick()
    assert bench.results[b"a"].outcome == Outcome.CONTROL_LOST and "silent" in bench.results[b"a"].text
    bench.control = True
    bench.run(1.0)
    bench.modes.submit(SORT)
    bench.run(2.0)
    bench.controller.halt("emergency stop")
    bench.run(1.0)
    result = bench.results[b"b"]
    assert result.outcome == Outcome.CONTROL_LOST and "emergency stop" in result.text


def test_a_chunk_that_the_control_process_refuses_is_named():
    bench = TaskBench()
    bench.modes.submit(TIDY)
    bench.until(lambda: len(bench.questions) == 2)
    send, bench._send = bench._send, lambda *_: bench.controller.reject("chunk refused: its joints differ")
    bench.run(1.0)
    result = bench.results[b"a"]
    assert result.outcome == Outcome.CONTROL_LOST and "its joints differ" in result.text and send
    assert "refused chunk 1 of the plan" in result.text


def test_closing_and_distrust_end_the_task_with_their_reasons():
    for end, outcome in (("close", Outcome.DEACTIVATED), ("distrust", Outcome.NO_OBSERVATION)):
        bench = TaskBench()
        bench.modes.submit(TIDY)
        bench.run(2.0)
        getattr(bench.modes, end)("head_cam has another lens")
        result = bench.results[b"a"]
        assert (result.outcome, result.text) == (outcome, "head_cam has another lens")
        bench.run(1.0)
        assert len(bench.stops) == 1 and bench.statuses[-1].state.name == "HOLD" and bench.modes.idle


def test_feedback_comes_ten_times_a_second_with_what_is_being_done():
    bench = TaskBench()
    bench.modes.submit(TIDY)
    bench.run(1.0)
    before = len(bench.progress)
    bench.run(2.0)
    assert 20 <= len(bench.progress) - before <= 25  # one more with each chunk
    last = bench.progress[-1][1]
    assert (last.caption, last.reasoning) == ("tidy up", "") and last.chunk >= 3
    assert 0.0 <= last.remaining_s <= 1.0


def test_a_newer_task_takes_over_at_the_next_chunk_without_a_stop():
    bench = TaskBench(latency=0.3)
    bench.modes.submit(TIDY)
    bench.run(2.05)
    bench.modes.submit(SORT)
    assert b"a" not in bench.results
    bench.until(lambda: b"a" in bench.results, 1.0)
    assert bench.results[b"a"].outcome == Outcome.PREEMPTED and "sort the cubes" in bench.results[b"a"].text
    bench.run(3.0)
    assert bench.stops == [] and (bench.visits() == 1).all() and bench.steps() == (0, 0)
    assert len({place.generation for place, _ in bench.published}) == 1
    own = [q for q in bench.questions if q.text == "sort the cubes"]
    began = own[0].first_step
    assert began > 0 and [q.chunk for q in own] == [1 + (q.first_step - began) // STEPS for q in own]


def test_of_newer_tasks_the_newest_takes_over_and_one_that_is_cancelled_does_not():
    bench = TaskBench(latency=0.3)
    bench.modes.submit(TIDY)
    bench.run(2.0)
    bench.modes.submit(SORT)
    bench.modes.submit(TaskGoal(b"c", "stack the cubes"))
    assert bench.results[b"b"].outcome == Outcome.PREEMPTED and b"a" not in bench.results
    bench.run(0.05)
    bench.modes.cancel(b"c")
    assert bench.results[b"c"].outcome == Outcome.CANCELLED
    bench.run(2.0)
    assert b"a" not in bench.results and (bench.visits() == 1).all() and bench.stops == []


def test_a_newer_task_whose_inference_fails_ends_both():
    def engine(now, match, question):
        if question.text == "sort the cubes":
            raise RuntimeError("unknown word")
        return ramp(now, match, question)

    bench = TaskBench()
    bench.engine = engine
    bench.modes.submit(TIDY)
    bench.run(2.0)
    bench.modes.submit(SORT)
    bench.run(1.5)
    assert bench.results[b"a"].outcome == Outcome.PREEMPTED
    assert bench.results[b"b"].outcome == Outcome.ENGINE_FAILED and len(bench.stops) == 1


def test_the_next_chunk_is_inferred_from_pictures_taken_since_it_became_due_while_there_is_time():
    bench = TaskBench(latency=0.1, prefix=True)
    bench.modes.submit(TIDY)
    bench.run(12.0)
    assert len(bench.ages) > 8 and max(bench.ages[1:]) <= 40 * MS, "a picture is 15 ms old when it comes, a turn 20"
    starved = TaskBench(latency=2.03)
    starved.modes.submit(TIDY)
    starved.run(20.0)
    assert max(starved.ages[1:]) > 40 * MS, "nothing is waited for when the plan runs dry"


def test_an_answer_that_comes_too_late_to_be_used_is_asked_for_again():
    bench = TaskBench(latency=iter([0.1, 2.6, 0.1, 0.1, 0.1]), blend_steps=0)
    bench.modes.submit(TIDY)
    bench.until(lambda: len(bench.published) == 1)
    bench.modes.submit(SORT)
    bench.run(4.2)
    own = [q for q in bench.questions if q.text == "sort the cubes"]
    assert own[0].first_step == 0 and own[1].first_step == STEPS and own[1].chunk == 1
    assert bench.results[b"a"].outcome == Outcome.PREEMPTED and b"b" not in bench.results
    assert (bench.visits() == 1).all() and bench.steps() == (0, 0) and bench.stops == []


def test_before_anything_moves_a_newer_task_replaces_at_once():
    bench = TaskBench(latency=0.5)
    bench.modes.submit(TIDY)
    bench.run(0.2)
    bench.modes.submit(SORT)
    assert bench.results[b"a"].outcome == Outcome.PREEMPTED
    bench.run(2.0)
    assert bench.published[0][0].sequence == 0 and bench.questions[-1].text == "sort the cubes"
    assert STEP == 50 * MS and SECOND == 20 * STEP
