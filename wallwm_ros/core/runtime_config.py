"""All nodes' parameters from one file in ROS parameter format."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from wallwm_model.errors import ConfigError
from wallwm_ros.core.config import ControlConfig, PolicyConfig, SimConfig
from wallwm_ros.core.options import build, unknown
from wallwm_ros.core.yaml_files import read_yaml


@dataclass(frozen=True)
class RuntimeConfig:
    """All parameters together; `load` reads overrides from a ROS parameter file."""

    policy_node: PolicyConfig = field(default_factory=PolicyConfig)
    control_node: ControlConfig = field(default_factory=ControlConfig)
    sim_robot_node: SimConfig = field(default_factory=SimConfig)

    @classmethod
    def load(cls, path: Path) -> RuntimeConfig:
        """Defaults, overridden by the ROS parameter file at `path`.

        Raises:
            ConfigError: unknown node or parameter, or a wrong value; names the file.
        """
        kinds = {f.name: f.default_factory for f in dataclasses.fields(cls)}
        sections = read_yaml(path)
        common = _parameters(sections.pop("/**", None), "/**", path)
        if common.keys() - {"use_sim_time", "robot"}:
            raise ConfigError(
                f"{path}: /**: only robot and use_sim_time belong to all nodes; found {sorted(common)}"
            )
        shared = {"robot": common["robot"]} if "robot" in common else {}
        for name in sections:
            if name.strip("/") not in kinds:
                raise ConfigError(f"{path}: {unknown('node', name, kinds)}")
        values = {name.strip("/"): _parameters(body, name, path) for name, body in sections.items()}
        for own in values.values():
            own.pop("use_sim_time", None)
        return cls(
            **{
                name: build(kind, shared | values.get(name, {}), f"{path}: {name}")
                for name, kind in kinds.items()
            }
        )


def _parameters(body: object, name: str, path: Path) -> dict:
    """The `ros__parameters` mapping of one node section."""
    if body is None:
        return {}
    if not isinstance(body, dict) or list(body) != ["ros__parameters"]:
        raise ConfigError(f"{path}: {name}: must hold one key, ros__parameters; found {body!r}")
    inner = body["ros__parameters"] or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"{path}: {name}: ros__parameters must hold a mapping; found {inner!r}")
    return dict(inner)
