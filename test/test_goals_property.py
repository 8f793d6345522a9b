"""Whatever comes in whatever order: every goal has exactly one result, and chunks keep to their sequence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from task_bench import HOME, PACE, SECOND, STEP, STEPS, TaskBench

from wallwm_model.errors import WallWMError
from wallwm_ros.core.events import ControlState, EventGoal, EventResult, EventTuning, Outcome
from wallwm_ros.core.synchronizer import Unsound
from wallwm_ros.core.tasks import TaskGoal, TaskResult, TaskTuning

BLIND = Unsound("head_cam", "missing", "no picture from head_cam has arrived")
TURNS = 160


class Storm(TaskBench):
    """Goals, cancels, faults and recoveries at random, with engines that contradict themselves."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.accepted: list[bytes] = []
        self.sent: list[tuple[str, int, int]] = []  # what, generation, sequence
        prefix, latency = bool(seed % 2), self._latencies()
        super().__init__(prefix=prefix, latency=latency, replan_s=float(self.rng.choice((0.0, 0.2, 0.8))))
        self.engine, self.event_engine = self._chunk, self._event
        self.deaf, reported = False, self.modes.control_reported
        self.modes.control_reported = lambda report: None if self.deaf else reported(report)

    def _latencies(self):
        while True:
            yield float(self.rng.choice((0.0, 0.05, 0.2, 0.6, 2.0, 6.0), p=(0.2, 0.3, 0.3, 0.1, 0.06, 0.04)))

    def _walk(self, match, question, steps: int) -> np.ndarray:
        if self.rng.random() < 0.05:
            raise RuntimeError("the engine raised RuntimeError: out of memory")
        pace = self.rng.uniform(-PACE, PACE, len(HOME)) * (np.arange(len(HOME)) % 7 < 6)
        rows = match.states["arm"] + np.arange(1, steps + 1)[:, None] * pace * (self.rng.random() < 0.8)
        if question.committed is not None:
            rows[: len(question.committed)] = question.committed[:steps]
        return rows

    def _chunk(self, now, match, question) -> np.ndarray:
        return self._walk(match, question, STEPS)

    def _event(self, match, question) -> tuple[np.ndarray, float]:
        known = 0 if question.committed is None else len(question.committed)
        steps = int(self.rng.integers(4, 40)) + known
        return self._walk(match, question, steps), float(self.rng.uniform(0, 3))

    def publish(self, place, plan, goal, wait_ms) -> None:
        assert self.modes.current is not None and goal.key not in self.results
        self.sent.append(("chunk", place.generation, place.sequence))
        super().publish(place, plan, goal, wait_ms)

    def stop(self, generation: int) -> None:
        self.sent.append(("stop", generation, 0))
        super().stop(generation)

    # What may happen.

    def submit(self) -> None:
        key = len(self.accepted).to_bytes(2, "big")
        timeout_s = float(self.rng.choice((0.0, 0.6, 5.0)))
        if self.modes.mode == "event":
            goal = EventGoal(key, "reach", timeout_s=timeout_s, queue=bool(self.rng.random() < 0.4))
        else:
            goal = TaskGoal(key, "tidy up", timeout_s)
        self.accepted.append(key)
        try:
            self.modes.submit(goal)
        except WallWMError as error:  # as the node does
            self.finish(goal, self.refused(goal, error))

    def refused(self, goal, error):
        return (EventResult if isinstance(goal, EventGoal) else TaskResult)(Outcome.REFUSED, str(error))

    def cancel(self) -> None:
        if self.accepted:
            self.modes.cancel(self.accepted[int(self.rng.integers(len(self.accepted)))])

    def cancel_current(self) -> None:
        if self.modes.current is not None:
            self.modes.cancel(self.modes.current.goal.key)

    def switch(self) -> None:
        self.modes.set("event" if self.modes.mode == "unified" else "unified")

    def tune(self) -> None:
        self.events.tuning = EventTuning(int(self.rng.choice((0, 4, 16))) * STEP, int(self.rng.integers(5)))
        self.tasks.tuning = TaskTuning(
            replan_steps=int(self.rng.integers(STEPS)), blend_steps=int(self.rng.integers(5))
        )

    def press(self) -> None:
        self.estop.latch("button")

    def reset(self) -> None:
        self.controller.reset_estop()

    def take_over(self) -> None:
        self.controller.takeover.engage()

    def hand_back(self) -> None:
        self.controller.takeover.release()

    def blind(self) -> None:
        self.sight = BLIND

    def see(self) -> None:
        self.sight = None

    def distrust(self) -> None:
        self.modes.distrust("head_cam has another lens")

    def sleep(self) -> None:
        """The policy process gets no turn."""
        self.control = False

    def deafen(self) -> None:
        """The control process's reports do not come."""
        self.deaf = True

    def wake(self) -> None:
        self.control, self.deaf = True, False

    def unseen(self) -> None:
        """A picture that cannot be decoded."""
        for runner in (self.events, self.tasks):
            if self._due and self._due[0][3] is runner:
                runner.unseen(self._due.pop(0)[4], "head_cam: jpeg data must be whole")

    def close(self) -> None:
        self.modes.close("policy_node was deactivated")


OFTEN = ("submit",) * 10 + ("cancel", "cancel_current", "switch", "tune", "unseen")
SELDOM = ("press", "take_over", "blind", "distrust", "sleep", "deafen", "close")
RECOVERY = ("see", "reset", "hand_back", "wake") * 3


@pytest.mark.parametrize("seed", range(12))
def test_every_goal_has_exactly_one_result_and_every_chunk_its_place(seed):
    storm = Storm(seed)
    for _ in range(TURNS):
        for name in storm.rng.choice(OFTEN + SELDOM + RECOVERY, size=int(storm.rng.integers(0, 3))):
            getattr(storm, str(name))()
        storm.run(float(storm.rng.choice((0.01, 0.05, 0.2, 0.6))))
    # `finish` has seen to it that none has two; now everything is put right, and all others end as well.
    storm.control, storm.sight, storm.deaf = True, None, False
    storm.controller.takeover.release()
    storm.run(1.0)
    storm.reset()
    storm.modes.close("policy_node was deactivated")
    assert set(storm.results) == set(storm.accepted) and len(storm.accepted) > 20
    assert len({result.outcome for result in storm.results.values()}) >= 4
    assert all(result.text for result in storm.results.values()) and storm.modes.idle
    newest, stopped, sequences = 0, -1, {}
    for what, generation, sequence in storm.sent:
        if what == "stop":
            assert generation > newest, "a stop is newer than every plan before it"
            stopped = generation
        else:
            assert generation > stopped and generation >= newest, "nothing is sent for a stopped plan"
            assert sequence == sequences.get(generation, -1) + 1, "no chunk is left out or sent twice"
            sequences[generation] = sequence
        newest = max(newest, generation)
    assert max(storm.motion().values()) <= 1.0 + 1e-6
    moved = [s for s in storm.statuses if s.state == ControlState.TRACKING]
    assert moved and newest
    for _, plan in itertools.groupby(storm.statuses, lambda status: status.generation):
        steps = np.diff([status.step for status in plan if status.state == ControlState.TRACKING])
        assert ((steps == 0) | (steps == 1)).all(), "no step is left out or carried out twice"
    storm.run(1.0)
    storm.modes.set("event")
    storm.latency = 0.1
    storm.event_engine = lambda match, question: (match.states["arm"][None].repeat(8, 0), 0.4)
    storm.modes.submit(EventGoal(b"last", "reach"))
    storm.run(3.0)
    assert storm.results[b"last"].outcome == Outcome.SUCCEEDED, storm.results[b"last"]
    assert storm.clock.now_ns() > 20 * SECOND
