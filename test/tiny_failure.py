"""A node whose first callback fails, as a process of its own."""

from __future__ import annotations

import sys

from rclpy.node import Node

from wallwm_ros.bridge.running import run_node


class Failing(Node):
    """Prints that it was closed."""

    def __init__(self) -> None:
        super().__init__("failing")
        self.create_timer(0.01, self._fail)

    def _fail(self) -> None:
        raise KeyError("left_waist")

    def close(self) -> None:
        """Told to by `run_node`, whatever went wrong."""
        print("closed", flush=True)


if __name__ == "__main__":
    sys.exit(run_node(Failing, Failing.close))
