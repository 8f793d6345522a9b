"""One run of one case: a goal under way, a fault, and what came of it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

from rclpy.parameter import Parameter

from wallwm_model.errors import WallWMError
from wallwm_ros.cli.bench import part
from wallwm_ros.core.events import ControlState

goals, motion = part("faults_goals"), part("faults_motion")
MODES = (goals.EVENT, goals.UNIFIED)
LONG_S, SHORT_S = 3.2, 0.5  # of an event [s]
EARLIEST_S, LATEST_S = 0.1, 0.5  # after the arm has begun to move, the fault comes
ENDING_S = 3.5  # so long a fault lasts on after the arm holds, for the goal to end
TRIES = 3  # a machine whose cores are all taken may spoil one by itself
GOING_ON_S = 4.0  # so long a goal may go on that need not end


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        mode: of the goal.
        hold_ms: from the fault to the last command that moved; None: the goal went on to its end.
        ending: how the goal ended, in a word.
        text: why, in the result's words.
        reason: what the control process said first when it no longer followed the plan.
        verdict: the commands from the end of the run before to the end of this one, against the limits.
        lost: the goal was accepted and has not got exactly one result.
        trouble: why the run could not be played to its end; empty if it could.
    """

    mode: str
    hold_ms: float | None = None
    ending: str = ""
    text: str = ""
    reason: str = ""
    verdict: Any = None
    lost: bool = False
    trouble: str = ""


class Player:
    """Plays runs on one stage, one after another."""

    def __init__(self, stage: Any, rng: random.Random) -> None:
        self._stage, self._rng = stage, rng
        self._goals = goals.Goals(stage.seat)
        self._judged = 0  # commands judged so far
        joint = stage.profile.joints[0]
        self._middle, self._mode = (joint.low + joint.high) / 2, ""

    def play(self, case: Any, index: int) -> Run:
        """Run `index` of a case; the mode alternates. What goes wrong with the bench itself is told."""
        mode, sent = MODES[index % len(MODES)], len(self._goals.sent)
        try:
            return self._play(case, mode)
        except WallWMError as error:
            lost = any(goal.accepted and not goal.answers for goal in self._goals.sent[sent:])
            return Run(mode, verdict=self._judge()[1], lost=lost, trouble=str(error))

    def recovers(self) -> str:
        """Whether a short event succeeds, if need be at another try; if not, why, in words."""
        for _ in range(TRIES):
            failure = self._try_event()
            if not failure:
                break
        return failure

    def _try_event(self) -> str:
        try:
            self._ready(goals.EVENT)
            goal = self._send(goals.EVENT, duration_s=SHORT_S)
            self._stage.seat.until(lambda: goal.over, "the end of a short event")
        except WallWMError as error:
            return str(error)
        ending, text = goal.answers[0] if goal.answers else ("not accepted", "")
        return "" if ending == "succeeded" else f"{ending}: {text}"

    def _play(self, case: Any, mode: str) -> Run:
        stage, seat = self._stage, self._stage.seat
        self._ready(mode)
        early = mode == goals.EVENT and case.arm is not None
        if early:
            case.arm(stage)
        goal = self._send(mode, **({"duration_s": LONG_S} if mode == goals.EVENT else {}))
        if not early:
            seat.until(lambda: self._moving() or goal.over, "the arm to move")
            time.sleep(self._rng.uniform(EARLIEST_S, LATEST_S))
            if case.arm is not None:
                case.arm(stage)
        since_ns = case.inject(stage, self._rng)
        went_on = False
        if case.ends:
            self._let_it_last(goal, case)
        else:
            since_ns, went_on = self._let_it_go_on(goal, since_ns)
        until_ns = time.time_ns()
        case.heal(stage)
        if case.orphans:
            goal.ask_again()
        seat.until(lambda: goal.over, "the result of the goal")
        seat.until(seat.still, "the arm to hold at the end")
        track, verdict = self._judge()
        hold_ms = None if went_on else motion.hold_ms(track.between(since_ns, until_ns), since_ns)
        ending, text = goal.answers[0] if goal.answers else ("not accepted", "")
        return Run(mode, hold_ms, ending, text, self._reason(since_ns), verdict, len(goal.answers) != 1)

    def _ready(self, mode: str) -> None:
        """The arm holds, and goals of the mode are taken."""
        seat = self._stage.seat
        seat.until(lambda: seat.status and seat.status.state == ControlState.HOLD, "the control to hold")
        seat.until(lambda: len(seat.status.measured) > 0 and seat.still(), "a still arm before the goal")
        (refused,) = seat.set("policy_node", Parameter("mode", value=mode))
        if refused:
            raise WallWMError(f"mode {mode} must be settable; found: {refused}")

    def _send(self, mode: str, **fields: Any) -> Any:
        return self._goals.send(mode, goals.words(self._stage.seat, self._middle), **fields)

    def _moving(self) -> bool:
        seat = self._stage.seat
        return seat.status.state == ControlState.TRACKING and not seat.still()

    def _let_it_last(self, goal: Any, case: Any) -> None:
        """Until the arm holds and, if it is to come, the result is there."""
        seat = self._stage.seat
        seat.until(seat.still, "the arm to hold after the fault")
        deadline = time.monotonic() + (0 if case.orphans else ENDING_S)
        while not goal.over and time.monotonic() < deadline:
            time.sleep(0.01)

    def _let_it_go_on(self, goal: Any, since_ns: int) -> tuple[int, bool]:
        """Until the goal has ended, or is cancelled after a while.

        Returns:
            Since when the arm has to hold [ns, wall clock], and whether the goal was carried out anyway.
        """
        deadline = time.monotonic() + GOING_ON_S
        while not goal.over and time.monotonic() < deadline:
            time.sleep(0.01)
        if not goal.over:
            since_ns = time.time_ns()
            goal.cancel()
        seat = self._stage.seat
        seat.until(lambda: goal.over and seat.still(), "the arm to hold")
        return since_ns, goal.answers[:1] and goal.answers[0][0] == "succeeded"

    def _judge(self) -> tuple[Any, Any]:
        """The commands since the last judgement, and their verdict."""
        stage = self._stage
        record = stage.processes.record
        track = motion.read(record, len(stage.profile.joints), max(self._judged - 3, 0))
        self._judged = max(self._judged - 3, 0) + len(track.commands)
        return track, motion.judge(track, stage.profile, stage.period_ns)

    def _reason(self, since_ns: int) -> str:
        for at_ns, state, reason in self._stage.seat.changes:
            if at_ns >= since_ns and state != ControlState.TRACKING:
                return reason
        return ""
