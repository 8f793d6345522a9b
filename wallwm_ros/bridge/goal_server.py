"""Action servers whose goals live in the core: all are accepted, so that even a refusal has its reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from wallwm_ros.core.events import Outcome

Goal = TypeVar("Goal")


@dataclass
class _Open:
    handle: ServerGoalHandle
    done: Future


class GoalServer(ABC, Generic[Goal]):
    """Serves one action; subclasses turn its messages into the core's goals, progress and results, and back.

    Args:
        node: who serves.
        on_goal: told of a new goal; the goal is open until `finish`.
        on_cancel: told that a client wants the goal with this key to end.
    """

    action: type
    name: str

    def __init__(
        self, node: Node, on_goal: Callable[[Goal], None], on_cancel: Callable[[bytes], None]
    ) -> None:
        self._on_goal, self._on_cancel = on_goal, on_cancel
        self._open: dict[bytes, _Open] = {}
        self._server = ActionServer(
            node,
            self.action,
            self.name,
            self._execute,
            handle_accepted_callback=self._accepted,
            cancel_callback=self._cancel,
        )

    @abstractmethod
    def _goal(self, request: Any, key: bytes) -> Goal:
        """The core's goal."""

    @abstractmethod
    def _feedback(self, progress: Any) -> Any:
        """The action's feedback message."""

    @abstractmethod
    def _result(self, result: Any) -> Any:
        """The action's result message."""

    def _fault(self, request: Any) -> Any:
        """The core's result for a request that cannot even be read; nothing if it can."""
        return None

    @property
    def idle(self) -> bool:
        """No goal is open."""
        return not self._open

    def feedback(self, goal: Goal, progress: Any) -> None:
        """Publish the progress of an open goal."""
        if goal.key in self._open:
            self._open[goal.key].handle.publish_feedback(self._feedback(progress))

    def finish(self, goal: Goal, result: Any) -> None:
        """End an open goal."""
        self._open[goal.key].done.set_result(result)

    def _accepted(self, handle: ServerGoalHandle) -> None:
        key = bytes(handle.goal_id.uuid)
        goal = self._goal(handle.request, key)
        self._open[key] = _Open(handle, Future())
        handle.execute()
        fault = self._fault(handle.request)
        if fault is not None:
            self.finish(goal, fault)
        else:
            self._on_goal(goal)

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._on_cancel(bytes(handle.goal_id.uuid))
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        key = bytes(handle.goal_id.uuid)
        result = await self._open[key].done
        del self._open[key]
        if result.outcome == Outcome.SUCCEEDED:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return self._result(result)
