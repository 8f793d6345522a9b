"""Runs a node in a process of its own until it is told to stop."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from wallwm_model.errors import WallWMError

AnyNode = TypeVar("AnyNode", bound=Node)
FAREWELL_S = 0.3  # to send last results and stop requests
# How long a thread may keep the interpreter while another waits for it. Python's own 5 ms are half a control
# period: beside a busy executor the control loop would miss its deadlines, whatever its priority [s].
SWITCH_S = 0.0005


def run_node(
    make: Callable[[], AnyNode], close: Callable[[AnyNode], None], args: list[str] | None = None
) -> int:
    """Spin the node that `make` gives until SIGINT or SIGTERM; `close` may still publish. -> exit code.

    ROS's own signal handling would end communication at once, and with it the last stop request.
    """
    told_to_stop: list[int] = []
    sys.setswitchinterval(SWITCH_S)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: told_to_stop.append(received))
        node = make()
    except (WallWMError, RuntimeError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    code = 0
    try:
        while not told_to_stop:
            executor.spin_once(timeout_sec=0.1)
    except Exception as error:  # whatever it is, the arm must be told to stop before the process ends
        node.get_logger().fatal(f"{type(error).__name__}: {' '.join(str(error).split())}")
        node.get_logger().debug(traceback.format_exc())
        code = 1
    close(node)
    until = time.monotonic() + FAREWELL_S
    while time.monotonic() < until:
        if code:
            time.sleep(FAREWELL_S)  # its callbacks cannot be trusted any more
        else:
            executor.spin_once(timeout_sec=0.02)
    node.destroy_node()
    rclpy.try_shutdown()
    return code
