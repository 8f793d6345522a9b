"""Synchroniser, clock guard, runners and controller, their clocks turned by hand, and faults in them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from task_bench import MS, SECOND, TaskBench

from benchmarks.faults_motion import Track, hold_ms, judge
from benchmarks.task_bench import PERIOD, ROBOT, _report
from wallwm_model.errors import EngineError
from wallwm_ros.core.clock_guard import ClockGuard, Reading
from wallwm_ros.core.controller import Measured
from wallwm_ros.core.events import ControlState, EventGoal
from wallwm_ros.core.inference import check_answer
from wallwm_ros.core.synchronizer import Match, Synchronizer, SyncLimits, Unsound
from wallwm_ros.core.tasks import TaskGoal

CAMERAS = ROBOT.camera_names
PICTURE_NS, LATE_NS = 50 * MS, 500 * MS
WORDS = "reach the red cube with the left arm"


class World(TaskBench):
    """A policy that moves the first joint, three noisy cameras, joint states; each of them may fail.

    Attributes:
        cameras: camera -> what is wrong with it.
        joints, policy: false: nothing comes from the robot's joints; the policy process does not run.
        paused: simulated time stands still.
        offset_ns: of the clock that stamps messages, against the steady one.
    """

    def __init__(self, **tuning) -> None:
        self.cameras: dict[str, str] = {}
        self.joints = self.policy = True
        self.paused = False
        self.offset_ns, self._count = 0, 0
        super().__init__(**tuning)

    @cached_property
    def sync(self) -> Synchronizer:
        limits = SyncLimits(60 * MS, 250 * MS, frozen=5)
        return Synchronizer(CAMERAS, {"arm": ()}, limits, noisy=CAMERAS, clock=self.clock)

    @cached_property
    def guard(self) -> ClockGuard:
        return ClockGuard(2 * SECOND)

    @cached_property
    def _felt(self) -> list:
        """Stamp of the last joint state, and the measurement that came with it."""
        return [-1, None]

    def run(self, seconds: float) -> None:
        """See `TaskBench`; what does not run misses its turn."""
        for _ in range(round(seconds / PERIOD)):
            now = self.clock.advance(PERIOD)
            self.offset_ns -= self.paused * round(PERIOD * SECOND)
            self._sense(now)
            status = self.controller.tick(now, self._felt[1])
            self.arm = self.arm if status.command is None else status.command
            self.statuses.append(status)
            if self.policy:
                self._answer(now)
                if now // (10 * MS) % 2 == 0:
                    self._watch_clock(now)
                    self.modes.control_reported(replace(_report(status), stamp_ns=self.message_now_ns()))
                    self.modes.tick()

    def _sense(self, now: int) -> None:
        """Joint states at every tick, pictures at every fifth."""
        stamp = self.message_now_ns()
        if self.joints:
            self.sync.add_state("arm", stamp, self.arm)
            if stamp != self._felt[0]:  # the same measurement sent again is not a newer one
                self._felt[:] = [stamp, Measured(self.arm, now)]
        if now % PICTURE_NS:
            return
        self._count += 1
        for name in CAMERAS:
            fault = self.cameras.get(name, "")
            if fault == "wrong_size":
                self.sync.refuse(name, "size must be 192x192 as calibrated; found 192x96")
            elif fault != "killed":
                late_ns = LATE_NS if fault == "delayed" else 0
                self.sync.add_picture(name, stamp - late_ns, "frozen" if fault == "frozen" else self._count)

    def _watch_clock(self, now: int) -> None:
        jump = self.guard.check(Reading(self.message_now_ns(), now, now, simulated=True))
        if jump:
            self.sync.clear(jump)
            self.modes.clock_jumped(jump)

    # What the runners ask of the outside.

    def message_now_ns(self) -> int:
        return self.clock.now_ns() + self.offset_ns

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        return self.guard.objection() or self.sync.newest(self.message_now_ns(), not_before_ns)

    # What a test does with it.

    def spoil(self, change) -> None:
        """From now on the engine's rows go through `change`, and through the check of answers."""
        before = self.engine

        def spoilt(*question):
            rows = change(before(*question))
            try:
                check_answer(rows, 1.0, _Spec)
            except EngineError as error:
                raise RuntimeError(str(error)) from error
            return rows

        self.engine = spoilt

    def begin(self, mode: str, key: bytes = b"a") -> None:
        """A long goal of a mode, until the arm moves."""
        self.modes.set(mode)
        goal = EventGoal(key, WORDS) if mode == "event" else TaskGoal(key, WORDS)
        self.modes.submit(goal)
        self.until(lambda: self.state == ControlState.TRACKING)
        self.run(0.3)

    def revive(self) -> None:
        """The policy process was killed; a new one begins with nothing known."""
        self._due.clear()
        self.make_runners()
        self.policy = True

    def break_off(self, fault, seconds: float) -> None:
        """Put a fault in, and see the arm hold."""
        self.broken_ns = self.clock.now_ns()
        fault(self)
        self.run(seconds)

    @property
    def state(self) -> ControlState:
        return self.statuses[-1].state

    @property
    def reasons(self) -> str:
        """Everything that the control process and the results have said since the fault."""
        said = dict.fromkeys(s.reason for s in self.statuses if s.time_ns > self.broken_ns)
        return " | ".join([*said, *(result.text for result in self.results.values())])

    @property
    def track(self) -> Track:
        sent = [s for s in self.statuses if s.command is not None]
        times = np.array([s.time_ns for s in sent])
        periods = np.diff([0, *(s.missed_periods for s in sent)]) + 1
        return Track(times, np.arange(len(sent)), np.array([s.command for s in sent]), periods)

    def hold_s(self) -> float:
        """From the fault to the last command that moved [s]."""
        return hold_ms(self.track, self.broken_ns) / 1000

    def violations(self) -> str:
        """The first command beyond a limit; empty if there is none."""
        return judge(self.track, ROBOT, round(PERIOD * SECOND)).first


class _Spec:
    """What the check of answers asks of a model's specification."""

    joints = ROBOT.joint_names
    horizon = 64
