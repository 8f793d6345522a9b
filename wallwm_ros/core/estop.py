"""The latched emergency stop."""

from __future__ import annotations


class Estop:
    """Latched by anyone at any time, ended by a reset only. For several threads.

    It outlives the controller that it stops: whatever is configured or activated while it is latched begins
    stopped.

    Attributes:
        reason: why it is latched; empty: it is not.
    """

    def __init__(self) -> None:
        self.reason = ""

    @property
    def latched(self) -> bool:
        """The arm must stand still."""
        return bool(self.reason)

    def latch(self, reason: str) -> None:
        """Stop; the first reason stays."""
        self.reason = self.reason or f"emergency stop: {reason}"

    def reset(self) -> None:
        """Let the arm be moved again. Whoever calls this has made sure that it stands still."""
        self.reason = ""
