"""The system that faults are put into, ready to be used, and how each fault is put in."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from std_msgs.msg import String

from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge import qos
from wallwm_ros.cli.bench import part
from wallwm_ros.core.config import ControlConfig, load_robot

processes, seat = part("faults_processes"), part("faults_seat")
ROBOT = "faults_robot"


class Stage:
    """Context manager: on entering, everything runs and is active; on leaving, nothing is left.

    Args:
        folder: for logs and the record of commands; must exist.
        simulated: nodes take their time from the robot's /clock.

    Attributes:
        processes, seat: the nodes, and the bench's own side in ROS.
        chunks: a publisher of chunks that nobody asked for.
        profile, period_ns: of the robot and of its commands [ns].
    """

    def __init__(self, folder: Path, *, simulated: bool = False) -> None:
        self.folder, self._simulated = folder, simulated
        self.period_ns = round(1e9 / ControlConfig().rate_hz)
        self._file = processes.noisy_profile(folder)
        self.profile = load_robot(self._file)
        self.processes = self.seat = None
        self._told, self._done = 0, {}

    def __enter__(self) -> Stage:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every process, then this one's part in ROS; may be called at any time."""
        for thing in (self.processes, self.seat):
            if thing is not None:
                thing.close()
        self.processes = self.seat = None

    def _open(self) -> None:
        processes.enter_domain()
        command = processes.script(ROBOT, str(self._file), "simulated" if self._simulated else "wall")
        self.processes = processes.Processes(
            self.folder, self._file, (ROBOT, command), simulated=self._simulated
        )
        self.seat = seat.Seat(self.processes.check)
        node = self.seat.node
        node.create_subscription(String, "/faults/robot_did", self._robot_did, 10)
        node.create_subscription(String, "/faults/engine_did", self._engine_did, 10)
        self._robot = node.create_publisher(String, "/faults/robot", 10)
        self._engine = node.create_publisher(String, "/faults/engine", 10)
        self.chunks = node.create_publisher(ActionChunk, "/action_chunk", qos.CHUNK)
        for name in seat.NODES:
            self.seat.bring_up(name)
        record = self.processes.record
        self.seat.until(lambda: self._robot.get_subscription_count() > 0, "the robot")
        self.seat.until(lambda: self.chunks.get_subscription_count() > 0, "control_node")
        self.seat.until(lambda: record.exists() and record.stat().st_size > 0, "a recorded command")

    def revive_policy(self) -> None:
        """Start policy_node again and bring it up, as a supervisor would."""
        self.processes.start_policy()
        self.seat.bring_up(processes.POLICY)

    def robot(self, **wrong: Any) -> int:
        """Tell the robot what is wrong with it (`Wrong`) -> when it took effect [ns, wall clock]."""
        self._told += 1
        number = self._told
        self.seat.until(lambda: self._robot.get_subscription_count() > 0, "the robot")
        self._robot.publish(String(data=json.dumps({"id": number, **wrong})))
        self.seat.until(lambda: number in self._done, "the robot's acknowledgement")
        return self._done.pop(number)

    def engine(self, misdeed: str) -> None:
        """Tell the engine what it does wrong from its next inference on; empty: nothing."""
        self._done.pop("engine", None)
        self.seat.until(lambda: self._engine.get_subscription_count() > 0, "policy_node")
        self._engine.publish(String(data=misdeed))

    def engine_struck(self) -> int:
        """Wait until the engine has done it -> when [ns, wall clock]."""
        self.seat.until(lambda: "engine" in self._done, "an inference of the engine that misbehaves")
        return self._done["engine"]

    def _robot_did(self, message: String) -> None:
        body = json.loads(message.data)
        self._done[body["id"]] = body["time_ns"]

    def _engine_did(self, message: String) -> None:
        self._done["engine"] = int(message.data.split()[1])
