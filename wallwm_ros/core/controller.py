"""The control state machine: one tick per control period, from chunks and measured joints to a command."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import ControlConfig
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.shaper import CommandShaper
from wallwm_ros.core.timeline import Timeline

SECOND = 1_000_000_000  # nanoseconds
# Time that one tick may make up for when ticks were missed: a command never leaps further than this.
MOST_PERIODS = 2
_STANDSTILL = 1e-6
_STOPPED = "stopped: "


class State(IntEnum):
    """What the controller is doing; the numbers of `ControlStatus`."""

    HOLD = 0
    TRACKING = 1
    STOPPING = 2
    INACTIVE = 3


@dataclass(frozen=True)
class Measured:
    """Measured values of all columns.

    Attributes:
        positions: (D,) [rad, m], finite.
        time_ns: when the oldest part was received, in the control clock [ns].
    """

    positions: np.ndarray
    time_ns: int


@dataclass(frozen=True)
class Status:
    """What the controller did in one tick; fields as in `ControlStatus`.

    Attributes:
        command: (D,) to be sent [rad, m]; None: nothing may be sent.
        velocity: (D,) of the command [unit/s].
        measured: (D,) [rad, m]; None: not known.
    """

    time_ns: int
    state: State
    reason: str
    generation: int
    sequence: int
    step: int
    steps: int
    settled: bool
    command: np.ndarray | None = field(repr=False)
    velocity: np.ndarray = field(repr=False)
    measured: np.ndarray | None = field(repr=False)
    rejected: int


class Controller:
    """Follows chunks inside the robot's limits, and holds still whenever it has no sound reason to move.

    `submit`, `reject` and `halt` may be called from any thread; the rest belongs to the thread that ticks.
    """

    def __init__(self, profile: RobotProfile, config: ControlConfig) -> None:
        self._config = config
        self._period_ns = round(SECOND / config.rate_hz)
        self._timeout_ns = round(config.joint_state_timeout_s * SECOND)
        self._shaper = CommandShaper(profile)
        self._timeline = Timeline(profile, round(config.max_start_ahead_s * SECOND))
        self._inbox: deque[tuple[Chunk | str, int]] = deque()
        self._waiting: tuple[Chunk, int] | None = None  # a sound chunk whose start lies ahead
        self._halt_reason = ""
        self._state, self._why, self._refused = State.INACTIVE, "not activated", ""
        self._rejected, self._settled, self._anchored = 0, False, False
        self._last_ns: int | None = None

    @property
    def state(self) -> State:
        """Present state."""
        return self._state

    def activate(self) -> None:
        """Begin: hold where the first joint state finds the arm. Plans heard of before stay outdated."""
        self._inbox.clear()
        self._rejected, self._refused, self._last_ns = 0, "", None
        self._let_go("no joint state received yet")

    def deactivate(self) -> None:
        """Send nothing more."""
        self._let_go("not activated")
        self._state = State.INACTIVE

    def submit(self, chunk: Chunk, start_ns: int = 0) -> None:
        """Hand over a chunk for the next tick; `start_ns`: its start in the control clock, or 0."""
        self._inbox.append((chunk, start_ns))

    def reject(self, reason: str) -> None:
        """Count, with the next tick, a chunk that could not even be read."""
        self._inbox.append((reason, 0))

    def halt(self, reason: str) -> None:
        """Ask for a shaped stop with the next tick; the plan is over then."""
        self._halt_reason = reason

    def tick(self, now_ns: int, measured: Measured | None) -> Status:
        """One control period that ends at `now_ns` (control clock, ns)."""
        elapsed_ns = 0 if self._last_ns is None else now_ns - self._last_ns
        if elapsed_ns < 0:
            self._let_go("time went back")
        period_ns = min(max(elapsed_ns, 0), MOST_PERIODS * self._period_ns)
        self._last_ns = now_ns
        if self._state == State.INACTIVE:
            self._inbox.clear()
            return self._status(now_ns, measured, "")
        trouble = self._trouble(now_ns, measured)
        if not self._anchored and measured is not None and not trouble:
            self._anchor(measured.positions)
        if trouble and self._state == State.TRACKING:
            self._end_plan(f"{_STOPPED}{trouble}")
        elif not trouble and self._state == State.HOLD and self._why.startswith(_STOPPED):
            self._why = f"ready again; {self._why}"
        if self._halt_reason:
            self._end_plan(self._halt_reason)
            self._halt_reason = ""
        self._take_chunks(now_ns, now_ns - period_ns, trouble)
        if self._anchored and period_ns:
            self._advance(now_ns, period_ns)
        return self._status(now_ns, measured, trouble)

    def _let_go(self, why: str) -> None:
        """Forget plan and command; the next joint state is the new beginning."""
        self._halt_reason, self._waiting = "", None
        self._timeline.end(self._last_ns or 0)
        self._state, self._why = State.HOLD, why
        self._settled = self._anchored = False

    def _anchor(self, positions: np.ndarray) -> None:
        self._shaper.reset(positions)
        self._hold = self._shaper.position
        self._anchored, self._why = True, "ready"

    def _trouble(self, now_ns: int, measured: Measured | None) -> str:
        """Why the arm must not move, empty if it may."""
        if measured is None:
            return "no joint state received yet"
        age_ns = now_ns - measured.time_ns
        if age_ns > self._timeout_ns:
            limit = f"{self._timeout_ns / 1e6:.0f} ms"
            return f"joint states are older than {limit}"
        return "" if np.isfinite(measured.positions).all() else "joint states hold a value that is not finite"

    def _end_plan(self, why: str) -> None:
        self._timeline.end(self._last_ns or 0)
        self._waiting = None
        self._settled, self._why = False, why
        if self._anchored:
            self._state = State.STOPPING

    def _take_chunks(self, now_ns: int, command_ns: int, trouble: str) -> None:
        """Judge what has arrived; `command_ns` is the time of the present command."""
        while self._inbox:
            chunk, start_ns = self._inbox.popleft()
            if isinstance(chunk, str):
                self._refuse(chunk)
                continue
            start_ns = start_ns or self._timeline.start_of(chunk, now_ns)
            refusal = self._refusal(chunk, command_ns, start_ns, trouble)
            if refusal:
                self._refuse(refusal)
            elif chunk.is_stop:
                self._timeline.end(now_ns, chunk.generation)
                self._end_plan(f"stopped on request of plan {chunk.generation}")
            else:
                self._waiting = (chunk, start_ns)
        if self._waiting is not None and self._waiting[1] <= now_ns:
            chunk, start_ns = self._waiting
            self._waiting = None
            if trouble:
                self._refuse(f"chunk {chunk.generation}/{chunk.sequence} refused: {trouble}")
            else:
                self._begin(chunk, start_ns, command_ns)

    def _refusal(self, chunk: Chunk, command_ns: int, start_ns: int, trouble: str) -> str:
        name = f"chunk {chunk.generation}/{chunk.sequence} refused: "
        if trouble and not chunk.is_stop:
            return name + trouble
        newest = (chunk.generation, np.inf if chunk.is_stop else chunk.sequence)
        if self._waiting is not None and newest <= (self._waiting[0].generation, self._waiting[0].sequence):
            return name + f"chunk {self._waiting[0].generation}/{self._waiting[0].sequence} is newer"
        return self._timeline.refusal(chunk, command_ns, start_ns)

    def _begin(self, chunk: Chunk, start_ns: int, command_ns: int) -> None:
        self._timeline.accept(chunk, command_ns, start_ns, self._shaper.position, self._shaper.velocity)
        self._state, self._settled, self._refused = State.TRACKING, False, ""
        what = f": {chunk.caption}" if chunk.caption else ""
        self._why = f"executing chunk {chunk.generation}/{chunk.sequence}{what}"

    def _refuse(self, reason: str) -> None:
        self._rejected += 1
        self._refused = reason

    def _advance(self, now_ns: int, period_ns: int) -> None:
        period_s = period_ns / SECOND
        if self._state == State.STOPPING:
            self._shaper.stop(period_s)
            if self._shaper.standing(_STANDSTILL):
                self._state, self._hold = State.HOLD, self._shaper.position
            return
        if self._timeline.active:
            command_ns = now_ns - period_ns
            self._shaper.track(
                lambda ahead_s: self._timeline.target(command_ns + round(ahead_s * SECOND)), period_s
            )
        else:
            still = np.zeros(len(self._hold))
            self._shaper.track(lambda ahead_s: (self._hold, still, still), period_s)
        if self._state == State.TRACKING and self._timeline.ran_out(now_ns) and self._arrived(now_ns):
            self._state, self._settled = State.HOLD, True
            self._why = (
                "the event's last row is reached"
                if self._timeline.final
                else "the chunk ran out: no next one"
            )

    def _arrived(self, now_ns: int) -> bool:
        last = self._timeline.target(now_ns)[0]
        near = self._shaper.distance(last) <= self._config.settle_position
        return near and self._shaper.standing(self._config.settle_velocity)

    def _status(self, now_ns: int, measured: Measured | None, trouble: str) -> Status:
        reasons = [self._why, "" if trouble in self._why else trouble, self._refused]
        sending = self._anchored and self._state != State.INACTIVE
        return Status(
            time_ns=now_ns,
            state=self._state,
            reason="; ".join(text for text in reasons if text),
            generation=self._timeline.generation,
            sequence=self._timeline.sequence,
            step=self._timeline.step(now_ns),
            steps=self._timeline.steps,
            settled=self._settled,
            command=self._shaper.position if sending else None,
            velocity=self._shaper.velocity,
            measured=None if measured is None else measured.positions,
            rejected=self._rejected,
        )
