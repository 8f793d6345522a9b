"""Who is next at the one engine."""

from __future__ import annotations

import threading

import pytest

from wallwm_model.engines.turns import Turns
from wallwm_model.errors import EngineError

PATIENCE_S = 60.0


class Held:
    """Turns whose first job runs until it is let go."""

    def __init__(self, **options) -> None:
        self.turns, self.go, began = Turns(**options), threading.Event(), threading.Event()
        self.first = self.turns.submit(lambda: (began.set(), self.go.wait(PATIENCE_S)))
        assert began.wait(PATIENCE_S)


def test_jobs_run_in_the_order_of_asking_and_tell_their_times():
    held, order = Held(waiting=8), []
    jobs = [held.turns.submit(lambda i=i: order.append(i) or i) for i in range(5)]
    assert held.turns.waiting == 5
    held.go.set()
    assert [job.future.result(PATIENCE_S) for job in jobs] == order == [0, 1, 2, 3, 4]
    for job in jobs:
        assert job.asked_s <= job.began_s <= job.ended_s
        assert set(job.timing) == {"queue_ms", "engine_ms", "infer_ms"} and min(job.timing.values()) >= 0
    assert held.turns.close(PATIENCE_S)


def test_who_asks_often_does_not_get_more_turns_than_who_asks_once():
    """A connection asks again when it was answered, so that its next job is behind all that wait."""
    held, order, done = Held(waiting=8), [], threading.Event()

    def busy(left: int) -> None:
        order.append("busy")
        if left:
            held.turns.submit(lambda: busy(left - 1))
        else:
            done.set()

    held.turns.submit(lambda: busy(3))
    for name in ("one", "two"):
        held.turns.submit(lambda name=name: order.append(name))
    held.go.set()
    assert done.wait(PATIENCE_S)
    assert order == ["busy", "one", "two", "busy", "busy", "busy"]
    held.turns.close()


def test_more_than_may_wait_are_refused_and_what_is_dropped_makes_room():
    held = Held(waiting=1)
    waiting = held.turns.submit(lambda: 1)
    with pytest.raises(EngineError, match="busy: 1 requests wait already"):
        held.turns.submit(lambda: 2)
    held.turns.drop(waiting)
    assert waiting.future.cancelled()
    last = held.turns.submit(lambda: 3)
    held.go.set()
    assert last.future.result(PATIENCE_S) == 3
    held.turns.close()


def test_what_a_job_raises_is_its_answer_and_the_next_one_runs():
    turns = Turns(4)
    with pytest.raises(ZeroDivisionError):
        turns.submit(lambda: 1 / 0).future.result(PATIENCE_S)
    assert turns.submit(lambda: 2).future.result(PATIENCE_S) == 2
    turns.close()


def test_closing_refuses_what_waits_and_what_comes():
    held = Held(waiting=4)
    waiting = held.turns.submit(lambda: 1)
    assert not held.turns.close(0.0)  # the first one is still at it
    assert waiting.future.cancelled()
    with pytest.raises(EngineError, match="shutting down"):
        held.turns.submit(lambda: 1)
    held.go.set()
    assert held.turns.close(PATIENCE_S)
