"""The nodes and their parameters: the one description behind `wallwm up` and the launch file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "wallwm_ros"
PARAMETER_FILE = Path("config") / "runtime.yaml"
MODES = ("event", "unified")


@dataclass(frozen=True)
class NodeSpec:
    """One node: executable and name are the same; `parameters` win over the parameter file."""

    name: str
    lifecycle: bool
    parameters: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Argument:
    """One argument of the bring-up, as both fronts offer it."""

    name: str
    default: str
    description: str


ARGUMENTS = (
    Argument("robot", "sim", "robot profile: a name in config/robots, or a YAML file"),
    Argument("model", "models/nano", "engine bundle: a directory, or a path inside the package's share"),
    Argument("mode", "event", "how chunks are made: " + " or ".join(MODES)),
    Argument("sim", "true", "start the simulated robot"),
    Argument("autostart", "true", "configure and activate the lifecycle nodes"),
)


def nodes(robot: object, model: object, mode: object, *, sim: bool = True) -> tuple[NodeSpec, ...]:
    """The nodes in the order of their start; values may be a launch file's substitutions."""
    listed = [
        NodeSpec("sim_robot_node", False, {"robot": robot}),
        NodeSpec("control_node", True, {"robot": robot}),
        NodeSpec("policy_node", True, {"robot": robot, "model": model, "mode": mode}),
    ]
    return tuple(listed if sim else listed[1:])
