"""Tasks on the real controller, the clock turned by hand: an engine of chosen slowness, an arm that obeys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.clock import ManualClock
from wallwm_ros.core.config import ControlConfig, load_robot
from wallwm_ros.core.control_link import ControlLink
from wallwm_ros.core.controller import Controller, Measured
from wallwm_ros.core.estop import Estop
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.events import ControlReport, ControlState, EventTuning, Plan
from wallwm_ros.core.modes import Modes
from wallwm_ros.core.plans import ChunkShape, Place
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.synchronizer import Match, Unsound
from wallwm_ros.core.task_runner import TaskRunner
from wallwm_ros.core.tasks import TaskTuning

ROBOT = load_robot("sim")
JOINTS = len(ROBOT.joints)
HOME = np.tile([0.1, -1.1, 0.5, 0.0, 1.1, 0.0, 0.06], 2)
MS, SECOND = 1_000_000, 1_000_000_000
STEP = 50 * MS
PERIOD = 0.01  # of control [s]
STEPS = 32
PACE = 0.006  # the first joint's way in one step [rad]
LIMITS = RunnerLimits(
    timeout_ns=120 * SECOND, observation_ns=2 * SECOND, control_ns=SECOND, inference_ns=4 * SECOND
)


def ramp(now: np.ndarray, match: Match, question) -> np.ndarray:
    """(STEPS, D) on from the step at which the arm was seen: each step's own target is `PACE` further."""
    rows = np.repeat(HOME[None], STEPS, axis=0)
    rows[:, 0] += PACE * (question.first_step + np.arange(1, STEPS + 1))
    return rows


def hold(now: np.ndarray, match: Match, question) -> np.ndarray:
    """(STEPS, D) where the arm was seen."""
    return np.repeat(match.states["arm"][None], STEPS, axis=0)


def back(match: Match, question) -> tuple[np.ndarray, float]:
    """An event's rows and remaining time [s]: twelve steps back from where the arm was seen."""
    rows = np.repeat(match.states["arm"][None], 12, axis=0)
    rows[:, 0] -= PACE * np.arange(1, 13)
    return rows, 12 * STEP / SECOND


class TaskBench:
    """A task runner and an event runner on one controller; pictures come at 20 Hz, reports at 50 Hz.

    Args:
        preempt_s: how long a goal that is replaced goes on [s]; by default as long as the next one takes.

    Attributes:
        engine: makes the rows of a chunk; may raise.
        event_engine: makes the rows of an event, and the estimate of its remaining time [s]; may raise.
        latency: of the next inference [s].
        sight: an `Unsound` blinds the cameras.
        control: false silences the control process.
        statuses: what the controller did, tick by tick.
        published: (place, rows) of every chunk.
        ages: of the pictures behind each question of a task [ns].
        seen: steps that the arm had really gone on the ramp when each question's picture was taken.
    """

    def __init__(
        self,
        *,
        prefix: bool = False,
        latency: float | Iterator[float] = 0.2,
        replan_s: float = 0.0,
        preempt_s: float = 10.0,
        **tuning,
    ) -> None:
        self.clock = ManualClock(5 * SECOND)
        self.engine: Callable = ramp
        self.event_engine: Callable = back
        self.latency, self.sight, self.control = latency, None, True
        self.statuses, self.published, self.results, self.questions = [], [], {}, []
        self.progress, self.stops, self.looks, self.seen, self.stages, self.ages = [], [], [], [], [], []
        self._due: list = []
        self.arm = HOME.copy()
        self._track = [(self.clock.now_ns(), self.arm)]
        self.estop = Estop()
        self.controller = Controller(ROBOT, ControlConfig(), self.estop)
        self.controller.activate()
        self._shape, self._tuning = ChunkShape(STEPS, STEP, prefix), TaskTuning(**tuning)
        self._event_tuning = EventTuning(round(replan_s * SECOND), self._tuning.blend_steps)
        self._limits = replace(LIMITS, preempt_ns=round(preempt_s * SECOND))
        self.make_runners()
        self.run(0.2)

    def make_runners(self) -> None:
        """A policy process that knows nothing yet."""
        link = ControlLink(LIMITS.control_ns, RestDetector(0.05, SECOND), self.clock.now_ns() // 1000)
        self.events = EventRunner(_Events(self), self.clock, self._limits, link, self._shape, self._event_tuning)
        self.tasks = TaskRunner(self, self.clock, self._limits, link, self._shape, self._tuning)
        self.modes = Modes(self.events, self.tasks, link, self.clock, "unified")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / PERIOD)):
            now = self.clock.advance(PERIOD)
            self._answer(now)
            status = self.controller.tick(now, Measured(self.arm, now))
            if status.command is not None:
                self.arm = status.command
            self._track.append((now, self.arm))
            self.statuses.append(status)
            if now // (10 * MS) % 2 == 0:
                if self.control:
                    self.modes.control_reported(_report(status))
                self.modes.tick()

    def until(self, condition, limit_s: float = 60.0) -> None:
        """Let time pass until something is so."""
        for _ in range(round(limit_s / PERIOD)):
            if condition():
                return
            self.run(PERIOD)
        raise AssertionError("nothing happened")

    # What the runners ask of the outside.

    def message_now_ns(self) -> int:
        return self.clock.now_ns()

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        self.looks.append((not_before_ns, rested_ns))
        if self.sight is not None:
            return self.sight
        stamp = (self.clock.now_ns() - 15 * MS) // STEP * STEP  # a picture every 50 ms, 15 ms old at least
        if stamp < not_before_ns:
            return Unsound("head_cam", "early", "head_cam has sent no picture since")
        times = [time for time, _ in self._track]
        arm = self._track[max(int(np.searchsorted(times, stamp, side="right")) - 1, 0)][1]
        return Match({}, {"arm": arm}, stamp, 0)

    def infer(self, match: Match, question) -> None:
        self.questions.append(question)
        self.seen.append((match.states["arm"][0] - HOME[0]) / PACE)
        self.ages.append(self.clock.now_ns() - match.stamp_ns)
        self._later(lambda: self.engine(self.arm, match, question), match, self.tasks, question.ticket)

    def publish(self, place: Place, plan: Plan, goal, wait_ms: float | None) -> None:
        self.published.append((place, plan.actions))
        self._send(place, plan, goal)

    def stop(self, generation: int) -> None:
        self.stops.append(generation)
        self.controller.submit(Chunk.stop(generation, ROBOT.joint_names))

    def feedback(self, goal, progress) -> None:
        self.progress.append((goal.key, progress))

    def staged(self, goal, stage, reason: str) -> None:
        self.stages.append((goal.key, stage))

    def finish(self, goal, result) -> None:
        assert goal.key not in self.results, "a goal must end exactly once"
        self.results[goal.key] = result

    def _send(self, place: Place, plan: Plan, goal) -> None:
        chunk = Chunk(
            place.generation,
            ROBOT.joint_names,
            plan.actions,
            STEP,
            sequence=place.sequence,
            first_step=place.first_step,
            final=place.final,
            caption=goal.caption,
        )
        self.controller.submit(chunk)

    def _later(self, make: Callable, match: Match, runner, ticket: int) -> None:
        wait = self.latency if isinstance(self.latency, float) else next(self.latency)
        self._due.append((self.clock.now_ns() + round(wait * SECOND), make, match, runner, ticket))

    def _answer(self, now: int) -> None:
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            _, make, match, runner, ticket = due
            try:
                made = make()
                rows, remaining_s = made if isinstance(made, tuple) else (made, 1.0)
                runner.inferred(ticket, Plan(rows, STEP / SECOND, remaining_s, match.stamp_ns, {}))
            except RuntimeError as error:
                runner.inference_failed(ticket, str(error))

    # What it comes to.

    @property
    def plan_statuses(self) -> list:
        """Statuses since the newest plan was begun."""
        generation = self.published[-1][0].generation
        return [s for s in self.statuses if s.generation == generation]

    def steps(self) -> tuple[int, int]:
        """(skipped, replayed) steps of the newest plan, as the control process counted them."""
        counted = np.diff([s.step for s in self.plan_statuses])
        return int(np.maximum(counted - 1, 0).sum()), int(np.maximum(-counted, 0).sum())

    def visits(self) -> np.ndarray:
        """How often the command stood at each step's own target, in the order of the steps.

        The ramp gives every step of the plan its own position, which is counted where the step was due.
        """
        due = [b for a, b in itertools.pairwise(self.plan_statuses) if b.step > a.step]
        reached = np.round((np.array([s.command[0] for s in due]) - HOME[0]) / PACE).astype(int)
        return np.bincount(reached, minlength=reached.max() + 1)[1:]

    def motion(self) -> dict[str, float]:
        """Largest share of its limit that any joint's commands used."""
        commands = np.array([s.command for s in self.statuses if s.command is not None])
        velocity = np.diff(commands, axis=0) / PERIOD
        acceleration = np.diff(velocity, axis=0) / PERIOD
        return {
            "velocity": float((np.abs(velocity) / ROBOT.limit("velocity")).max()),
            "acceleration": float((np.abs(acceleration) / ROBOT.limit("acceleration")).max()),
        }


class _Events:
    """The port of the event runner."""

    def __init__(self, bench: TaskBench) -> None:
        self._bench = bench
        for name in ("message_now_ns", "stop", "feedback", "staged", "finish"):
            setattr(self, name, getattr(bench, name))

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        return self._bench.look(not_before_ns, rested_ns)

    def infer(self, match: Match, question) -> None:
        bench = self._bench
        bench.questions.append(question)
        bench.seen.append((match.states["arm"][0] - HOME[0]) / PACE)
        bench._later(lambda: bench.event_engine(match, question), match, bench.events, question.ticket)

    def publish(self, place: Place, plan: Plan, goal, wait_ms: float | None) -> None:
        self._bench.publish(place, plan, goal, wait_ms)


def _report(status) -> ControlReport:
    return ControlReport(
        state=ControlState(status.state),
        reason=status.reason,
        generation=status.generation,
        step=status.step,
        settled=status.settled,
        rejected=status.rejected,
        stamp_ns=status.time_ns,
        measured=status.measured,
        sequence=status.sequence,
    )
