"""What people have to say to the control process: emergency stop, its reset, and takeover with commands."""

from __future__ import annotations

from typing import Protocol

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from wallwm_ros.bridge import qos
from wallwm_ros.core.estop import Estop

NOT_CONFIGURED = "control_node is not configured"


class Operated(Protocol):
    """A configured control process."""

    def reset_estop(self) -> str:
        """End a latched emergency stop; why that cannot be, empty if it is done."""

    def take_over(self, on: bool) -> None:
        """Hand the arm to the operator, or take it back."""

    def hear_operator(self, message: JointState) -> None:
        """A command of the operator."""


class OperatorInputs:
    """Topics and services; the emergency stop works in every state of the node.

    Attributes:
        operated: who is taken over; None: nobody is configured.
    """

    def __init__(self, node: Node, estop: Estop) -> None:
        self._node, self._estop = node, estop
        self.operated: Operated | None = None
        node.create_subscription(Bool, "estop", self._stop_heard, qos.STATUS)
        node.create_subscription(Bool, "takeover", self._takeover_heard, qos.STATUS)
        node.create_subscription(JointState, "takeover_command", self._commanded, qos.STATE)
        node.create_service(Trigger, "~/estop", self._stop)
        node.create_service(Trigger, "~/reset_estop", self._reset)
        node.create_service(SetBool, "~/takeover", self._takeover)

    def _stop_heard(self, message: Bool) -> None:
        if message.data:
            self._latch("on topic estop")

    def _stop(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        self._latch("by service estop")
        answer.success, answer.message = True, self._estop.reason
        return answer

    def _latch(self, how: str) -> None:
        if not self._estop.latched:
            self._node.get_logger().warning(f"emergency stop latched {how}")
        self._estop.latch(how)

    def _reset(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        if not self._estop.latched:
            answer.success, answer.message = True, "no emergency stop is latched"
            return answer
        if self.operated is None:
            self._estop.reset()
            refusal = ""
        else:
            refusal = self.operated.reset_estop()
        answer.success = not refusal
        answer.message = f"not reset: {refusal}" if refusal else "reset; a new plan is needed"
        self._node.get_logger().warning(f"emergency stop {answer.message}")
        return answer

    def _takeover(self, request: SetBool.Request, answer: SetBool.Response) -> SetBool.Response:
        refusal = self._take_over(request.data)
        done = "an operator has taken over" if request.data else "handed back; a new plan is needed"
        answer.success, answer.message = not refusal, refusal or done
        return answer

    def _takeover_heard(self, message: Bool) -> None:
        refusal = self._take_over(message.data)
        if refusal and message.data:
            self._node.get_logger().warning(f"takeover refused: {refusal}", throttle_duration_sec=5.0)

    def _take_over(self, on: bool) -> str:
        """Why it cannot be done; empty if it is."""
        if self.operated is None:
            return NOT_CONFIGURED
        if on and self._estop.latched:
            return self._estop.reason
        self.operated.take_over(on)
        return ""

    def _commanded(self, message: JointState) -> None:
        if self.operated is not None:
            self.operated.hear_operator(message)
