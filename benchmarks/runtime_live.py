"""A robot, policy_node with the benchmarks' engine and control_node as processes, and a seat to ask from."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from wallwm_model.errors import WallWMError
from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_ros.bridge.goal_client import send_goal
from wallwm_ros.bridge.planner import Planner
from wallwm_ros.cli.processes import NodeGroup
from wallwm_ros.demo import domain

INSTRUCTION = "retract the left arm"  # the engine does not mind
PATIENCE_S = 60.0
# A starved process is told by its figures, not by a goal that ends.
PATIENT = {"observation_timeout_s": 10.0, "control_timeout_s": 5.0, "max_observation_age_ms": 1000.0}
CONTROL = {"joint_state_timeout_s": 2.0, "heartbeat_timeout_s": 5.0}


class Live:
    """Context manager around the processes.

    Args:
        folder: for logs and parameters.
        robot: module of the robot's process, and its arguments.
        model: name of the engine, see `runtime_engine`.
        policy: parameters of policy_node.

    Attributes:
        node: of this process; an executor spins it.
        group: the processes.
    """

    def __init__(self, folder: Path, robot: Sequence[str], model: str, **policy: object) -> None:
        self._folder = folder
        self._context = rclpy.Context()
        self._robot, self._policy = robot, {"model": str(folder / model), **PATIENT, **policy}

    def __enter__(self) -> Live:
        number = domain.choose()
        domain.enter(number)
        self.group = NodeGroup(self._folder)  # from here on: it hands the domain on
        self.group.start_command("robot", [sys.executable, "-m", *self._robot])
        arguments = [word for pair in self._policy.items() for word in ("-p", f"{pair[0]}:={pair[1]}")]
        command = [sys.executable, "-m", "benchmarks.runtime_engine", "--ros-args", *arguments]
        self.group.start_command("policy_node", command)
        self.group.start({"control_node": CONTROL})
        rclpy.init(context=self._context, domain_id=number, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("bench_runtime", context=self._context)
        self._goals = {
            ExecuteTask: ActionClient(self.node, ExecuteTask, "/execute_task"),
            ExecuteEvent: ActionClient(self.node, ExecuteEvent, "/execute_event"),
        }
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        try:
            planner = Planner(self.node, self.group.check)
            for name in ("control_node", "policy_node"):
                planner.transition(name, Transition.TRANSITION_CONFIGURE)
                planner.transition(name, Transition.TRANSITION_ACTIVATE)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.group.stop()
        self._done.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def task(self) -> Goal:
        """Begin a task that never ends by itself."""
        return self._send(ExecuteTask, ExecuteTask.Goal(instruction=INSTRUCTION, timeout_s=3600.0))

    def event(self, seconds: float) -> Goal:
        """Begin one event of this length [s]."""
        return self._send(ExecuteEvent, ExecuteEvent.Goal(caption=INSTRUCTION, duration_s=seconds))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
        """Wait for something.

        Raises:
            WallWMError: a process has ended, or it did not come.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.group.check()
            if time.monotonic() > deadline:
                raise WallWMError(f"expected {what} within {seconds:g} s; found none")
            time.sleep(0.005)

    def _send(self, kind: Any, goal: Any) -> Goal:
        client = self._goals[kind]
        self.until(client.server_is_ready, "policy_node's actions")
        sent = send_goal(self.node, client, goal)
        self.until(sent.done, "an answer to a goal")
        return Goal(sent.result())

    def _spin(self) -> None:
        """Until told to stop: shutting an executor down under a thread that spins it ends in errors."""
        while not self._done.is_set():
            self._executor.spin_once(timeout_sec=0.1)


class Goal:
    """A goal under way."""

    def __init__(self, handle: Any) -> None:
        self._result = handle.get_result_async()

    @property
    def over(self) -> bool:
        """It has ended."""
        return self._result.done()

    @property
    def text(self) -> str:
        """How it ended."""
        return self._result.result().result.error_text
