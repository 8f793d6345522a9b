"""Events or tasks: whose goals are taken, and that only one of both moves the arm at a time."""

from __future__ import annotations

from wallwm_model.errors import ConfigError, WallWMError
from wallwm_ros.core.clock import Clock
from wallwm_ros.core.control_link import ControlLink
from wallwm_ros.core.event_run import BaseRun
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.events import ControlReport, EventGoal
from wallwm_ros.core.task_runner import TaskRunner
from wallwm_ros.core.tasks import TaskGoal

EVENT, UNIFIED = "event", "unified"
_GOALS = {EVENT: "events", UNIFIED: "tasks"}


class NotReadyError(WallWMError):
    """No goal can be taken now."""


class Modes:
    """Both runners behind one mode, which may change while the arm moves.

    The goal under way comes to its end first: an event as it would have, a task after its present chunk.
    Goals of the new mode are taken at once and wait for that; waiting goals of the old mode end as preempted.

    Args:
        events, tasks: the runners of the modes `event` and `unified`.
        link: the control process, shared by both.
        clock: steady time.
        mode: to begin with.
    """

    def __init__(
        self, events: EventRunner, tasks: TaskRunner, link: ControlLink, clock: Clock, mode: str
    ) -> None:
        self._events, self._tasks, self._link, self._clock = events, tasks, link, clock
        self.mode = mode

    @property
    def idle(self) -> bool:
        """No goal is running or waiting."""
        return self._events.idle and self._tasks.idle

    @property
    def current(self) -> BaseRun | None:
        """The goal being carried out, of either kind."""
        return self._events.current or self._tasks.current

    @property
    def waiting(self) -> int:
        """How many goals wait for their turn."""
        return self._events.waiting + self._tasks.waiting

    def set(self, mode: str) -> None:
        """Take goals of another mode from now on."""
        if mode != self.mode:
            self.mode = mode
            retiring = self._tasks if mode == EVENT else self._events
            retiring.retire(f"mode was set to {mode!r}")

    def submit(self, goal: EventGoal | TaskGoal) -> None:
        """Take in a sound goal.

        Raises:
            ConfigError: goals of its kind belong to the other mode.
            NotReadyError: the control process is lost, or obeys an emergency stop or an operator.
        """
        wanted = UNIFIED if isinstance(goal, TaskGoal) else EVENT
        if wanted != self.mode:
            raise ConfigError(f"{_GOALS[wanted]} need mode {wanted!r}; found {self.mode!r}")
        refusal = self._link.refusal(self._clock.now_ns())
        if refusal:
            raise NotReadyError(refusal)
        both = (self._events, self._tasks)
        runner, other = both if wanted == EVENT else reversed(both)
        runner.held = other.running
        runner.submit(goal)

    def cancel(self, key: bytes) -> None:
        """End the goal `key`, with a shaped stop if the arm moves for it."""
        self._events.cancel(key)
        self._tasks.cancel(key)

    def close(self, text: str) -> None:
        """End every goal as DEACTIVATED."""
        self._events.close(text)
        self._tasks.close(text)

    def distrust(self, text: str) -> None:
        """The cameras can no longer be trusted."""
        self._events.distrust(text)
        self._tasks.distrust(text)

    def clock_jumped(self, text: str) -> None:
        """The clock that stamps the messages was set: what is known of times before says nothing any more."""
        self._link.clock_jumped()
        self.distrust(text)

    def control_reported(self, report: ControlReport) -> None:
        """The control process says what it does."""
        self._link.hear(report, self._clock.now_ns())
        self._events.follow()
        self._tasks.follow()

    def tick(self) -> None:
        """Turn both machines; call at 50 Hz or so, and whenever something came in."""
        self._link.awake(self._clock.now_ns())
        for runner, other in ((self._events, self._tasks), (self._tasks, self._events)):
            runner.held = other.running
            runner.tick()
