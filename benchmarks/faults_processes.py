"""The processes of a bench that maltreats them: control_node, policy_node, a robot, and an observer."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from wallwm_ros.cli.processes import NodeGroup, NodeProcess, node_command
from wallwm_ros.core.config import ControlConfig
from wallwm_ros.core.paths import data_path
from wallwm_ros.demo import domain

BENCHMARKS = Path(__file__).resolve().parent
OBSERVER, CONTROL, POLICY = "faults_observer", "control_node", "policy_node"

# Wide enough for what the scripted engine does, too narrow for what hostile chunks ask for [m].
WORKSPACE = [
    {"link": "left_gripper", "x": [-0.4, 1.0], "y": [-0.3, 1.2], "z": [0.0, 0.8]},
    {"link": "right_gripper", "x": [-0.4, 1.0], "y": [-1.2, 0.3], "z": [0.0, 0.8]},
]


class Processes:
    """Starts them; whoever made this calls `close`.

    Args:
        folder: for logs, parameters and the record of commands; must exist.
        profile: file of the robot profile.
        robot: name and command line of the robot's process.
        simulated: nodes take their time from /clock.
        scripted: policy_node has the scripted engine; else the shipped bundle.

    Attributes:
        record: file into which the observer writes every command.
    """

    def __init__(
        self,
        folder: Path,
        profile: Path,
        robot: tuple[str, Sequence[str]],
        *,
        simulated: bool = False,
        scripted: bool = True,
    ) -> None:
        self.folder, self.record = folder, folder / "commands"
        own = {"robot": str(profile), "use_sim_time": simulated}
        # A report of every period: the observer counts periods by them.
        self._values = {CONTROL: own | {"status_rate_hz": ControlConfig().rate_hz}, POLICY: own}
        self._lives, self._scripted = 0, scripted
        self._group = NodeGroup(folder, {"PYTHONPATH": _python_path(), "OMP_NUM_THREADS": "1"})
        self._group.start_command(OBSERVER, script(OBSERVER, str(profile), str(self.record)))
        self._group.start_command(*robot)
        self._group.start_command(CONTROL, node_command(CONTROL, [self._parameters(CONTROL)]))
        self.start_policy()

    def check(self) -> None:
        """Raises NodeError if a process has ended by itself."""
        self._group.check()

    def close(self) -> None:
        """Stop every process."""
        for node in self._group.nodes:  # one that was halted could not hear that it shall end
            _signal(node, signal.SIGCONT)
        self._group.stop()

    def pids(self) -> dict[str, int]:
        """Process ids by node."""
        return {_plain(node): node.process.pid for node in self._group.nodes}

    def signal(self, name: str, number: signal.Signals) -> int:
        """Signal a process -> when [ns, wall clock]."""
        _signal(self._process(name), number)
        return time.time_ns()

    def kill_policy(self) -> int:
        """SIGKILL -> when [ns, wall clock]."""
        process = self._process(POLICY)
        self._group.nodes.remove(process)
        _signal(process, signal.SIGKILL)
        at_ns = time.time_ns()
        process.process.wait()
        return at_ns

    def start_policy(self) -> None:
        """Start policy_node, its log in a file of its own."""
        self._lives += 1
        command = node_command(POLICY, [self._parameters(POLICY)])
        if self._scripted:
            command = script("faults_engine", *command[command.index("--ros-args") :])
        self._group.start_command(f"{POLICY}-{self._lives}", command)

    def limit_files(self, most: int) -> int:
        """No file of the nodes may grow beyond `most` bytes; -1: as large as it likes. -> when [ns]."""
        soft = resource.RLIM_INFINITY if most < 0 else most
        for name, pid in self.pids().items():
            if name != OBSERVER:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        return time.time_ns()

    def _process(self, name: str) -> NodeProcess:
        return next(node for node in self._group.nodes if _plain(node) == name)

    def _parameters(self, name: str) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({name: {"ros__parameters": self._values[name]}}), encoding="utf-8")
        return path


def script(name: str, *arguments: str) -> list[str]:
    """Command line of a file beside this one."""
    return [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]


def noisy_profile(folder: Path) -> Path:
    """The simulated robot's profile as a real one's may be: with noise in its cameras and with boxes."""
    body = yaml.safe_load(data_path("config/robots/sim.yaml").read_text(encoding="utf-8"))
    for camera in body["cameras"]:
        camera["noise"] = True
    body["workspace"] = WORKSPACE
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
    return path


def enter_domain() -> None:
    """A ROS domain of one's own, whose neighbour is free too: the robot leaves for it."""
    numbers = iter(domain.choose, None)
    domain.enter(next(n for n in numbers if n < domain.LAST and domain.is_free(n + 1)))


def _plain(node: NodeProcess) -> str:
    """The node's name, whatever its life."""
    return node.name.partition("-")[0]


def _signal(node: NodeProcess, number: signal.Signals) -> None:
    """To the process and its descendants."""
    try:
        os.killpg(node.process.pid, number)
    except ProcessLookupError:
        return


def _python_path() -> str:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(path for path in paths if path)
