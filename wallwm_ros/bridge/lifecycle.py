"""Lifecycle nodes whose transitions are refused in one sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from wallwm_model.errors import WallWMError

SUCCESS, FAILURE, ERROR = (
    getattr(TransitionCallbackReturn, name) for name in ("SUCCESS", "FAILURE", "ERROR")
)


class ManagedNode(LifecycleNode, ABC):
    """Leaves to its subclasses what each transition does.

    A transition that raises a `WallWMError` is refused with its sentence in the log; whatever else is raised
    brings the node back to unconfigured.
    """

    @abstractmethod
    def _configure(self) -> None:
        """Load and check; on refusal, `close` is called."""

    @abstractmethod
    def _activate(self) -> None:
        """Begin to work."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Stop working; what was configured stays."""

    @abstractmethod
    def close(self) -> None:
        """Stop working and let go of everything, in any state."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """unconfigured -> inactive."""
        result = self._attempt("configure", self._configure)
        if result == FAILURE:
            self.close()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """inactive -> active."""
        return self._attempt("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """active -> inactive."""
        self._deactivate()
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """inactive -> unconfigured."""
        self.close()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self.close()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self.close()
        return SUCCESS

    def _attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except WallWMError as error:
            self.get_logger().error(f"{name} refused: {error}")
            return FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self.get_logger().error(f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())}")
            return ERROR
        return SUCCESS
