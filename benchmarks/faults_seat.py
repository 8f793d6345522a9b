"""The bench's own side in ROS: what the control process reports, parameters, and waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter as ParameterMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.signals import SignalHandlerOptions

from wallwm_model.errors import WallWMError
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.lifecycle_client import LifecycleClient

PATIENCE_S = 20.0  # a hang ends the run; nothing is judged by it
STILL = 1e-6  # a command that moved less than this has not moved [rad or m]
STILL_S = 0.3  # without a changed command, the arm holds
BRING_UP_S = 60.0
NODES = ("control_node", "policy_node")


class SeatError(WallWMError):
    """Something did not come in time."""


class Seat:
    """A node that spins in a thread of its own; ROS is shut down by `close`.

    Args:
        check: called while waiting; raises when waiting has become pointless.

    Attributes:
        status: the control process's last report.
        changes: (wall time [ns], state, reason) of every change that it reported.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("bench_faults")
        self.status: ControlStatus | None = None
        self.changes: list[tuple[int, int, str]] = []
        self._check, self._moved_at, self._command = check, time.monotonic(), np.zeros(0)
        self._parameters = {name: AsyncParameterClient(self.node, name) for name in NODES}
        self._lifecycles: dict[str, LifecycleClient] = {}
        self.node.create_subscription(ControlStatus, "/control_status", self._heard, qos.STATUS)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._spinner = threading.Thread(target=self._spin, name="bench", daemon=True)
        self._spinner.start()

    def close(self) -> None:
        """End this process's part in ROS."""
        self._executor.shutdown(timeout_sec=1.0)
        self._spinner.join(timeout=1.0)
        rclpy.try_shutdown()

    def bring_up(self, name: str) -> None:
        """Configure and activate a lifecycle node, perhaps one that has just taken the place of a dead one.

        Raises:
            SeatError: it refused.
            LifecycleError: it did not answer.
        """
        if name not in self._lifecycles:
            self._lifecycles[name] = LifecycleClient(self.node, name, self._check)
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            if not self._lifecycles[name].change(transition, BRING_UP_S):
                raise SeatError(f"expected {name} active; found transition {transition} refused")

    def set(self, name: str, *parameters: Parameter) -> list[str]:
        """Set parameters of a node one by one -> why each was refused, empty where it was not."""
        found = self.wait(self._parameters[name].set_parameters(parameters), f"{name}'s parameter service")
        return ["" if result.successful else result.reason or "refused" for result in found.results]

    def parameters(self, name: str) -> list[Parameter]:
        """A node's parameters as they are."""
        client, what = self._parameters[name], f"{name}'s parameter service"
        names = self.wait(client.list_parameters(), what).result.names
        values = self.wait(client.get_parameters(names), what).values
        messages = [ParameterMessage(name=key, value=value) for key, value in zip(names, values, strict=True)]
        return [Parameter.from_parameter_msg(message) for message in messages]

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for a condition.

        Raises:
            SeatError: it did not come true in time; names `what` was waited for.
            NodeError: a process has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise SeatError(f"expected {what} within {timeout_s:g} s; found nothing")
            time.sleep(0.01)

    def wait(self, future: Any, what: str) -> Any:
        """A future's result."""
        self.until(future.done, what)
        return future.result()

    def still(self) -> bool:
        """The command has not changed for a while, or none has come."""
        return time.monotonic() - self._moved_at > STILL_S

    def _heard(self, message: ControlStatus) -> None:
        before, self.status = self.status, message
        if before is None or (before.state, before.reason) != (message.state, message.reason):
            self.changes.append((time.time_ns(), message.state, message.reason))
        command = np.array(message.command)
        if len(command) != len(self._command) or np.abs(command - self._command).max(initial=0.0) > STILL:
            self._command, self._moved_at = command, time.monotonic()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
