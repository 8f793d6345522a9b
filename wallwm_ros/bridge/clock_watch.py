"""Reads the node's clock beside the steady one, and tells when it cannot be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_ros.core.clock_guard import ClockGuard, Reading
from wallwm_ros.core.vetoes import Unsound

TICK_S = 0.02


class ClockWatch:
    """Hands both clocks to a guard, 50 times a second and before every look; from the executor's thread only.

    Args:
        node: whose clock stamps the messages.
        still_ns: simulated time that stands still for this long is paused [ns].
        forget: called with the reason at once when the clock has jumped: earlier stamps are worthless.
        on_jump: called with the reason soon afterwards, never from inside `objection`.

    Attributes:
        guard: what is known of the clock.
    """

    def __init__(
        self, node: Node, still_ns: int, forget: Callable[[str], None], on_jump: Callable[[str], None]
    ) -> None:
        self._node, self._forget, self._on_jump = node, forget, on_jump
        self._untold: list[str] = []
        self.guard = ClockGuard(still_ns)
        self._read()
        self._timer = node.create_timer(TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def objection(self) -> Unsound | None:
        """Why nothing that is stamped by this clock may be used at present, if so."""
        self._read()
        return self.guard.objection()

    def close(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    def _read(self) -> None:
        clock = self._node.get_clock()
        before_ns = time.monotonic_ns()
        message_ns = clock.now().nanoseconds
        reading = Reading(message_ns, before_ns, time.monotonic_ns(), clock.ros_time_is_active)
        jump = self.guard.check(reading)
        if jump:
            self._forget(jump)
            self._untold.append(jump)

    def _tick(self) -> None:
        self._read()
        while self._untold:
            jump = self._untold.pop(0)
            self._node.get_logger().warning(f"clock: {jump}; everything stamped before is forgotten")
            self._on_jump(jump)
