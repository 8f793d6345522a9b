"""`./wallwm up`: what launch/bringup.launch.py starts, for machines that have no `ros2 launch`."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import typer

from wallwm_model.errors import ConfigError
from wallwm_ros.bringup import ARGUMENTS, MODES, PARAMETER_FILE, NodeSpec, nodes
from wallwm_ros.cli.processes import NodeGroup, NodeProcess, interruptible

DEFAULT = {argument.name: argument.default for argument in ARGUMENTS}
HELP = {argument.name: argument.description for argument in ARGUMENTS}
POLL_S = 0.1


def command(
    robot: Annotated[str, typer.Option(help=HELP["robot"])] = DEFAULT["robot"],
    model: Annotated[str, typer.Option(help=HELP["model"])] = DEFAULT["model"],
    mode: Annotated[str, typer.Option(help=HELP["mode"])] = DEFAULT["mode"],
    sim: Annotated[bool, typer.Option(help=HELP["sim"])] = DEFAULT["sim"] == "true",
    autostart: Annotated[bool, typer.Option(help=HELP["autostart"])] = DEFAULT["autostart"] == "true",
    params: Annotated[Path | None, typer.Option(help="Default: config/runtime.yaml.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for logs; default: runs/up-<time>.")] = None,
) -> None:
    """Start the nodes, bring them to active, and wait; Ctrl-C stops them all."""
    file = _checked(robot, mode, params)
    listed = nodes(robot, model, mode, sim=sim)
    folder = out or Path("runs") / datetime.datetime.now().strftime("up-%Y-%m-%d_%H-%M-%S")
    try:
        with interruptible(), NodeGroup(folder) as group:
            group.start({node.name: node.parameters for node in listed}, [file])
            follower = Follower(group.nodes)
            typer.echo(f"{', '.join(node.name for node in listed)}: started, logs in {folder}/logs")
            _wait(group, follower, _bring_up(group, listed) if autostart else None)
    except KeyboardInterrupt:
        typer.echo("every node was stopped")


def _checked(robot: str, mode: str, params: Path | None) -> Path:
    """The parameter file, after everything that can be checked without a node was.

    Raises:
        ConfigError: what is wrong, in one sentence.
    """
    from wallwm_ros.core.config import load_robot
    from wallwm_ros.core.paths import data_path
    from wallwm_ros.core.runtime_config import RuntimeConfig

    if mode not in MODES:
        raise ConfigError(f"--mode must be one of {', '.join(MODES)}; found {mode!r}")
    load_robot(robot)
    file = params if params is not None else data_path(str(PARAMETER_FILE))
    if not file.is_file():
        raise ConfigError(f"--params must name a ROS parameter file; found no file {file}")
    RuntimeConfig.load(file)
    return file


def _bring_up(group: NodeGroup, listed: tuple[NodeSpec, ...]) -> Generator[str, None, None]:
    """Configure and activate the lifecycle nodes, one step per item; yields what to tell the user."""
    import rclpy
    from lifecycle_msgs.msg import Transition
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from wallwm_ros.bridge.planner import Planner

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("wallwm_up", namespace=f"_{os.getpid()}")
    planner = Planner(node, group.check)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=spin, name="up", daemon=True)
    spinner.start()
    try:
        for spec in listed:
            if spec.lifecycle:
                planner.transition(spec.name, Transition.TRANSITION_CONFIGURE)
                planner.transition(spec.name, Transition.TRANSITION_ACTIVATE)
                yield f"{spec.name}: active"
    finally:
        # An interpreter that ends while the thread is still inside ROS aborts.
        executor.shutdown(timeout_sec=1.0)
        spinner.join(timeout=1.0)
        rclpy.try_shutdown()
    yield f"ready in ROS domain {os.environ.get('ROS_DOMAIN_ID', '0')}; Ctrl-C stops every node"


def _wait(group: NodeGroup, follower: Follower, steps: Generator[str, None, None] | None) -> None:
    """Bring up, then watch until interrupted.

    Raises:
        WallWMError: a node refused a transition, or has ended.
    """
    try:
        for line in steps or ():
            follower.show()
            typer.secho(line, fg=typer.colors.GREEN)
        while True:
            group.check()
            follower.show()
            time.sleep(POLL_S)
    finally:
        if steps is not None:
            steps.close()
        follower.show()


class Follower:
    """Shows what the nodes print."""

    def __init__(self, followed: list[NodeProcess]) -> None:
        self._positions = {node.log: 0 for node in followed}

    def show(self) -> None:
        """Print every whole line that is new."""
        for log, position in self._positions.items():
            with log.open("rb") as file:
                file.seek(position)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._positions[log] = position + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                typer.echo(f"{log.stem}: {line}")
