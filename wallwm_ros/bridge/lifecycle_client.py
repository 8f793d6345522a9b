"""Moves another node through its lifecycle, also one that has just taken the place of a dead one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

from wallwm_model.errors import WallWMError
from wallwm_ros.core.clock import Clock, SteadyClock

SECOND = 1_000_000_000
SILENCE_S = 1.0  # without an answer for so long, the request may have gone to a node that is dead
_POLL_S = 0.02
_LEADS_TO = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
    Transition.TRANSITION_INACTIVE_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
    Transition.TRANSITION_ACTIVE_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}
# A node in any other state is under way from one of these to one of these.
_RESTING = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
    State.PRIMARY_STATE_FINALIZED,
)


class LifecycleError(WallWMError):
    """A node was not found, or did not answer."""


class LifecycleClient:
    """Blocking calls; an executor must spin `node` in another thread.

    A node that was killed stays in sight for a while, and a request that went to it is never answered, not
    even by the node that takes its place. So the state is asked for after a short silence: a transition that
    has happened is done, whatever became of its answer, and one that has not even begun is requested again.
    A node that is busy with one does not answer, or names a state in between, and is let alone.

    Args:
        node: whose clients these are.
        name: of the other node.
        alive: called while waiting; raises when waiting has become pointless, e.g. a process has ended.
        clock, pause: for tests; the second lets time pass [s].
    """

    def __init__(
        self,
        node: Node,
        name: str,
        alive: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._alive, self._clock, self._pause = name, alive, clock or SteadyClock(), pause
        self._moves = node.create_client(ChangeState, f"/{name}/change_state")
        self._states = node.create_client(GetState, f"/{name}/get_state")

    def change(self, transition: int, timeout_s: float = 60.0) -> bool:
        """Move the node; `transition` is one of lifecycle_msgs/Transition's numbers.

        Returns:
            it did so; false: it refused.

        Raises:
            LifecycleError: it was not found within `timeout_s`, or then did not answer for as long.
        """
        what = f"expected the {self._name} change_state; found"
        if not self._until(self._moves.service_is_ready, timeout_s):
            raise LifecycleError(f"{what} no server within {timeout_s:.0f} s")
        request = ChangeState.Request(transition=Transition(id=transition))
        deadline_ns = self._clock.now_ns() + round(timeout_s * SECOND)
        asked = [self._moves.call_async(request)]
        try:
            while self._clock.now_ns() < deadline_ns:
                self._until(lambda: _answer(asked) is not None, SILENCE_S)
                answer = _answer(asked)
                if answer or (answer is False and len(asked) == 1):
                    return answer
                state = self.state()
                if state == _LEADS_TO[transition]:
                    return True
                if state in _RESTING and answer is False:
                    return False
                if state in _RESTING and _answer(asked) is None:
                    asked.append(self._moves.call_async(request))
        finally:
            for future in asked:
                self._moves.remove_pending_request(future)
        raise LifecycleError(f"{what} silence for {timeout_s:.0f} s")

    def state(self) -> int | None:
        """The node's state, one of lifecycle_msgs/State's numbers; None: it does not answer soon."""
        future = self._states.call_async(GetState.Request())
        if self._until(future.done, SILENCE_S):
            return future.result().current_state.id
        self._states.remove_pending_request(future)
        return None

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition; whether it came true in time."""
        deadline_ns = self._clock.now_ns() + round(timeout_s * SECOND)
        while not condition():
            self._alive()
            if self._clock.now_ns() >= deadline_ns:
                return False
            self._pause(_POLL_S)
        return True


def _answer(asked: list[Any]) -> bool | None:
    """What was said to any of the requests: it has happened, or (false) was refused; None: nothing."""
    said = [future.result().success for future in asked if future.done()]
    return any(said) if said else None
