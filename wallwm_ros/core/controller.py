"""The control state machine: one tick per control period, from chunks and measured joints to a command."""

from __future__ import annotations

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import ControlConfig
from wallwm_ros.core.control_state import ControlState, Measured, Status
from wallwm_ros.core.estop import Estop
from wallwm_ros.core.intake import Intake
from wallwm_ros.core.mover import Mover
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.takeover import Takeover
from wallwm_ros.core.timeline import Timeline
from wallwm_ros.core.vetoes import in_words
from wallwm_ros.core.watchdogs import Heartbeat, StateWatchdog
from wallwm_ros.core.workspace import Workspace

SECOND = 1_000_000_000  # nanoseconds
# Time that one tick may make up for when ticks were missed: a command never leaps further than this.
MOST_PERIODS = 2
_STOPPED = "stopped: "
_TAKEN = "an operator has taken over"
_TOLD_NS = SECOND // 2  # what comes and goes with every tick is told for this long


class Controller:
    """Follows chunks inside the robot's limits, and holds still whenever it has no sound reason to move.

    An emergency stop comes before an operator who has taken over, and an operator before every plan.
    `submit`, `reject`, `halt`, and what `takeover` and `heartbeat` allow may be called from any thread; the
    rest belongs to the thread that ticks.

    Args:
        estop: outlives this controller.
        workspace: boxes for links, if the robot has any.

    Attributes:
        takeover: an operator's command stream.
        heartbeat: of the policy.
    """

    def __init__(
        self,
        profile: RobotProfile,
        config: ControlConfig,
        estop: Estop | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        self._config, self._workspace = config, workspace
        self._period_ns = round(SECOND / config.rate_hz)
        self._mover = Mover(profile, workspace)
        self._timeline = Timeline(profile, round(config.max_start_ahead_s * SECOND))
        self._intake = Intake(self._timeline)
        self._states = StateWatchdog(round(config.joint_state_timeout_s * SECOND))
        self._estop = estop or Estop()
        self.heartbeat = Heartbeat(round(config.heartbeat_timeout_s * SECOND))
        self.takeover = Takeover(profile, round(config.takeover_timeout_s * SECOND))
        self._state, self._why = ControlState.INACTIVE, "not activated"
        self._halt_reason, self._blind = "", ""
        self._settled = self._anchored = False
        self._last_ns: int | None = None
        self._measured: Measured | None = None
        self._missed = self._edge_ns = 0

    @property
    def state(self) -> ControlState:
        """Present state."""
        return self._state

    def activate(self) -> None:
        """Begin: hold where the first joint state finds the arm. Plans heard of before stay outdated."""
        self._intake.clear()
        self.heartbeat.clear()
        self._missed, self._last_ns = 0, None
        self._let_go("no joint state received yet")

    def deactivate(self) -> None:
        """Send nothing more."""
        self._let_go("not activated")
        self._state = ControlState.INACTIVE

    def submit(self, chunk: Chunk, start_ns: int = 0) -> None:
        """Hand over a chunk for the next tick; `start_ns`: its start in the control clock, or 0."""
        fault = "" if self._workspace is None else self._workspace.chunk_fault(chunk, self._mover.position)
        self._intake.put(chunk, start_ns, fault)

    def reject(self, reason: str) -> None:
        """Count, with the next tick, a chunk or an operator's command that cannot be used."""
        self._intake.put(None, fault=reason)

    def halt(self, reason: str) -> None:
        """Ask for a shaped stop with the next tick; nothing moves the arm before the next activation."""
        self._halt_reason = reason

    def reset_estop(self) -> str:
        """End a latched emergency stop and hold; why it cannot be, empty if it is done. Not beside a tick."""
        if self._estop.latched and self._state not in (ControlState.ESTOPPED, ControlState.INACTIVE):
            return "the arm has not come to rest yet"
        self._estop.reset()
        if self._state == ControlState.ESTOPPED:
            self._state = ControlState.HOLD
            self._hold_here("the emergency stop was reset; waiting for a new plan")
        return ""

    def tick(self, now_ns: int, measured: Measured | None, jump: str = "") -> Status:
        """One control period that ends at `now_ns` (control clock, ns).

        Args:
            jump: how the control clock has jumped, if it has; it is seen here that it went back.
        """
        elapsed_ns = 0 if self._last_ns is None else now_ns - self._last_ns
        if elapsed_ns < 0 and not jump:
            jump = f"time went back by {in_words(-elapsed_ns)}"
        if jump:
            self._time_jumped(jump, elapsed_ns < 0, measured)
        # Whatever the clock says after a jump, one command follows the other after one period.
        spent_ns = self._period_ns if jump else elapsed_ns
        command_ns = now_ns - min(spent_ns, MOST_PERIODS * self._period_ns)
        self._last_ns, self._measured = now_ns, measured
        if self._state == ControlState.INACTIVE:
            self._intake.clear()
            return self._status(now_ns, self._estop.reason)
        self._missed += max(0, spent_ns // self._period_ns - 1)
        self._blind = self._states.trouble(now_ns, measured)
        trouble = jump or self._blind or self.heartbeat.trouble()
        if not self._anchored and not self._blind:
            self._anchor(measured)
        self._choose(trouble)
        self._take_chunks(now_ns, command_ns, trouble)
        if self._anchored and command_ns < now_ns:
            self._advance(command_ns, now_ns)
        return self._status(now_ns, trouble)

    def _time_jumped(self, jump: str, back: bool, measured: Measured | None) -> None:
        """What was planned for the time before is over."""
        if self._state == ControlState.INACTIVE:
            return
        if back or self._state == ControlState.TRACKING:
            self._end_plan(_STOPPED + jump)
        if not back:
            return
        self.takeover.forget()
        before = self._measured
        if before and measured and self._mover.put_elsewhere(before.positions, measured.positions):
            self._let_go(self._why)  # a simulation that began anew: there is no motion to be stopped

    def _let_go(self, why: str) -> None:
        """Forget plan and command; the next joint state is the new beginning."""
        self._end_plan(why)
        self._state, self._halt_reason, self._anchored = ControlState.HOLD, "", False

    def _anchor(self, measured: Measured) -> None:
        self._mover.anchor(measured.positions)
        self._anchored = True
        if self._state == ControlState.HOLD and not self._why.startswith(_STOPPED):
            self._why = "ready"

    def _hold_here(self, why: str) -> None:
        """Hold the present command; where the arm was moved meanwhile, where it is now."""
        self._why, self._intake.refused = why, ""
        if self._anchored and not self._blind:
            self._mover.anchor_if_moved(self._measured.positions, self._last_ns)

    def _choose(self, trouble: str) -> None:
        """Who moves the arm: nobody after an emergency stop or a halt, an operator, or the plan."""
        imposed = self._estop.reason or self._halt_reason
        if self._estop.latched:
            self.takeover.release()
        if imposed:
            if self._why != imposed:
                self._end_plan(imposed)
        elif self.takeover.engaged:
            if self._state in (ControlState.HOLD, ControlState.TRACKING):
                self._end_plan(_TAKEN)
                self._state, self._intake.refused = ControlState.TAKEOVER, ""
        elif self._state == ControlState.TAKEOVER:
            self._end_plan("")
            self._hold_here("handed back by the operator; waiting for a new plan")
        elif trouble and self._state == ControlState.TRACKING:
            self._end_plan(f"{_STOPPED}{trouble}")
        elif not trouble and self._state == ControlState.HOLD and self._why.startswith(_STOPPED):
            self._why = f"ready again; {self._why}"

    def _end_plan(self, why: str) -> None:
        """Come to a stop; what comes after it follows from who is in charge then."""
        self._timeline.end(self._last_ns or 0)
        self._intake.drop()
        self.takeover.pause()
        self._settled, self._why = False, why
        self._state = ControlState.STOPPING if self._anchored else self._rest_state()

    def _rest_state(self) -> ControlState:
        if self._estop.latched:
            return ControlState.ESTOPPED
        engaged = self.takeover.engaged and not self._halt_reason
        return ControlState.TAKEOVER if engaged else ControlState.HOLD

    def _take_chunks(self, now_ns: int, command_ns: int, trouble: str) -> None:
        """Act on what has arrived; `command_ns` is the time of the present command."""
        ban = self._estop.reason or self._halt_reason or (_TAKEN if self.takeover.engaged else "")
        for chunk, start_ns in self._intake.take(now_ns, command_ns, ban, trouble):
            if not chunk.is_stop:
                self._begin(chunk, start_ns, command_ns)
                continue
            self._timeline.end(now_ns, chunk.generation)
            if not ban:
                self._end_plan(f"stopped on request of plan {chunk.generation}")

    def _begin(self, chunk: Chunk, start_ns: int, command_ns: int) -> None:
        self._timeline.accept(chunk, command_ns, start_ns, self._mover.position, self._mover.velocity)
        self._mover.join()
        self._state, self._settled = ControlState.TRACKING, False
        what = f": {chunk.caption}" if chunk.caption else ""
        self._why = f"executing chunk {chunk.generation}/{chunk.sequence}{what}"

    def _advance(self, command_ns: int, now_ns: int) -> None:
        """The next command."""
        if self._state == ControlState.TAKEOVER:
            self._follow_operator(command_ns, now_ns)
        elif self._state == ControlState.STOPPING:
            self._mover.stop(command_ns, now_ns)
            if self._mover.standing:
                self._state = self._rest_state()
        elif self._timeline.active:
            objection = self._mover.track(self._timeline.target, command_ns, now_ns)
            if objection:
                self._end_plan(_STOPPED + objection)
            elif self._state == ControlState.TRACKING and self._timeline.ran_out(now_ns):
                self._finish(now_ns)
        else:
            self._mover.hold(command_ns, now_ns)

    def _follow_operator(self, command_ns: int, now_ns: int) -> None:
        mover, stream = self._mover, self.takeover
        if not stream.listen(now_ns, mover.position, mover.standing) or self._blind:
            stream.pause()
            mover.stop(command_ns, now_ns)
            self._why = f"{_TAKEN}: no command within {stream.timeout_ms:.0f} ms, holding"
            return
        if mover.track(stream.target, command_ns, now_ns):
            self._edge_ns = now_ns
        near = 0 <= now_ns - self._edge_ns < _TOLD_NS
        self._why = f"{_TAKEN}: {'held at the edge of the workspace' if near else 'following the commands'}"

    def _finish(self, now_ns: int) -> None:
        """The last row is due: is it reached?"""
        last, config = self._timeline.target(now_ns)[0], self._config
        if self._mover.arrived(last, config.settle_position, config.settle_velocity):
            self._state, self._settled = ControlState.HOLD, True
            done, short = "the event's last row is reached", "the chunk ran out: no next one"
            self._why = done if self._timeline.final else short

    def _status(self, now_ns: int, trouble: str) -> Status:
        reasons = [self._why, "" if trouble in self._why else trouble, self._intake.refused]
        sending = self._anchored and self._state != ControlState.INACTIVE
        timeline, seam = self._timeline, self._mover.seam
        return Status(
            time_ns=now_ns,
            state=self._state,
            reason="; ".join(text for text in reasons if text),
            generation=timeline.generation,
            sequence=timeline.sequence,
            step=timeline.step(now_ns),
            steps=timeline.steps,
            settled=self._settled,
            command=self._mover.position if sending else None,
            velocity=self._mover.velocity,
            measured=None if self._measured is None else self._measured.positions,
            rejected=self._intake.rejected,
            dropped_steps=timeline.dropped,
            seam_velocity=seam[0],
            seam_acceleration=seam[1],
            missed_periods=self._missed,
        )
