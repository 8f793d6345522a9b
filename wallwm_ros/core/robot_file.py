"""Robot profile files, read strictly: a mistake is named with file, key, what was found and what is valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wallwm_model.errors import ConfigError
from wallwm_ros.core import robot as profile
from wallwm_ros.core.options import unknown
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.section import Section
from wallwm_ros.core.yaml_files import read_yaml

_LIMITS = ("velocity", "acceleration", "jerk")
_LONGEST_LEAD_S = 0.5
_AXES = ("x", "y", "z")


def available_robots() -> list[str]:
    """Names of the profiles in config/robots."""
    return sorted(path.stem for path in data_path("config/robots").glob("*.yaml"))


def load_robot(name_or_path: str | Path) -> profile.RobotProfile:
    """Profile of a robot, by name (config/robots/NAME.yaml) or by path.

    Raises:
        ConfigError: no such robot (the available ones are listed), or the file is not sound (file, key, what
            was found, and what is valid are named).
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(text).expanduser()
        if not path.is_file():
            raise ConfigError(f"expected a robot profile at {path}; found none")
    else:
        if text not in available_robots():
            raise ConfigError(unknown("robot", text, available_robots()) + ", or the path of a YAML file")
        path = data_path(f"config/robots/{text}.yaml")
    return parse_robot(read_yaml(path), path)


def parse_robot(body: dict[str, Any], path: Path) -> profile.RobotProfile:
    """The profile in a file that was read as `body`.

    Raises:
        ConfigError: see `load_robot`.
    """
    keys = ("robot", "description", "limits", "joints", "cameras", "states", "command", "workspace")
    top = Section(body, str(path), keys)
    joints = _joints(top)
    names = [joint.name for joint in joints]
    cameras = tuple(_camera(entry, f"{path}: cameras[{i}]") for i, entry in enumerate(top.entries("cameras")))
    _all_different([camera.name for camera in cameras], f"{path}: cameras")
    states = tuple(
        _state(entry, f"{path}: states[{i}]", names) for i, entry in enumerate(top.entries("states"))
    )
    _every_column_once([c for s in states for c in s.columns], names, f"{path}: states")
    interface, commands = _commands(body.get("command"), f"{path}: command", names)
    robot = profile.RobotProfile(
        top.text("robot"), joints, cameras, states, commands, interface, _description(top, path.parent)
    )
    return replace(robot, workspace=_workspace(top, robot)) if "workspace" in top.body else robot


def _description(top: Section, folder: Path) -> str:
    """`mujoco`, `topic`, or the absolute path of a URDF file, named relative to the profile's folder."""
    value = top.text("description", "")
    if value in ("", *profile.DESCRIPTIONS):
        return value
    file = folder / Path(value).expanduser()
    if not file.is_file():
        raise top.fail("description", f"{', '.join(profile.DESCRIPTIONS)}, or the path of a URDF file", value)
    return str(file.resolve())


def _joints(top: Section) -> tuple[profile.Joint, ...]:
    kinds = top.body.get("limits")
    if not isinstance(kinds, dict) or not kinds:
        raise top.fail("limits", "a mapping from kinds of joint to their limits", kinds)
    limits = {}
    for kind, entry in kinds.items():
        section = Section(entry, f"{top.where}: limits.{kind}", ("unit", *_LIMITS, "lead_s"))
        limits[kind] = {name: section.number(name, positive=True) for name in _LIMITS}
        limits[kind]["unit"] = section.text("unit", choices=profile.UNITS)
        limits[kind]["lead"] = _lead(section, limits[kind]["unit"], 0.0)
    entries = top.body.get("joints")
    if not isinstance(entries, dict) or not entries:
        raise top.fail("joints", "a mapping from names to joints, in the order of state and action", entries)
    joints = tuple(
        _joint(str(name), entry, f"{top.where}: joints.{name}", limits) for name, entry in entries.items()
    )
    _check_quaternions(joints, f"{top.where}: joints")
    return joints


def _joint(name: str, entry: Any, where: str, limits: dict[str, dict[str, Any]]) -> profile.Joint:
    section = Section(entry, where, ("kind", "position", "lead_s"))
    limit = limits[section.text("kind", choices=limits)]
    low, high = section.interval("position", [-1.0, 1.0] if limit["unit"] == "quaternion" else None)
    lead = _lead(section, limit["unit"], limit["lead"])
    return profile.Joint(name=name, low=low, high=high, **{**limit, "lead": lead})


def _lead(section: Section, unit: str, default: float) -> float:
    """`lead_s` [s]; what turns as a whole cannot be ahead of itself."""
    if "lead_s" not in section.body:
        return default
    lead = section.number("lead_s")
    if unit == "quaternion" and lead:
        raise section.fail("lead_s", "0 for a quaternion", lead)
    if not 0.0 <= lead <= _LONGEST_LEAD_S:
        raise section.fail("lead_s", f"0 to {_LONGEST_LEAD_S:g} s", lead)
    return lead


def _workspace(top: Section, robot: profile.RobotProfile) -> tuple[profile.WorkspaceBox, ...]:
    """Boxes for links of a robot whose joints are commanded; poses have theirs in `position`."""
    if robot.quaternions:
        raise top.fail("workspace", "left out: the positions of end-effector columns are the box", "a box")
    if not robot.description:
        raise top.fail("description", "given, so that workspace can be checked", "none")
    boxes = []
    for i, entry in enumerate(top.entries("workspace")):
        section = Section(entry, f"{top.where}: workspace[{i}]", ("link", *_AXES))
        low, high = zip(*(section.interval(axis) for axis in _AXES), strict=True)
        boxes.append(profile.WorkspaceBox(section.text("link"), low, high))
    _all_different([box.link for box in boxes], f"{top.where}: workspace")
    return tuple(boxes)


def _check_quaternions(joints: tuple[profile.Joint, ...], where: str) -> None:
    column = 0
    while column < len(joints):
        if joints[column].unit != "quaternion":
            column += 1
            continue
        group = joints[column : column + 4]
        if len(group) < 4 or any(joint.unit != "quaternion" for joint in group):
            raise ConfigError(
                f"{where}: a quaternion needs four columns in a row, x y z w; found a break at "
                f"{joints[column].name}"
            )
        column += 4


def _camera(entry: Any, where: str) -> profile.Camera:
    section = Section(entry, where, ("name", "topic", "transport", "info_topic", "calibration", "noise"))
    return profile.Camera(
        name=section.text("name"),
        topic=section.topic("topic"),
        transport=section.text("transport", choices=profile.TRANSPORTS),
        info_topic=section.topic("info_topic", required=False),
        calibration=section.text("calibration", ""),
        noise=section.flag("noise", True),
    )


def _state(entry: Any, where: str, names: list[str]) -> profile.StateSource:
    section = Section(entry, where, ("topic", "message", "columns", "names"))
    message = section.text("message", choices=profile.STATE_MESSAGES)
    columns = section.names("columns", names)
    _check_columns(columns, names, where)
    if message == "PoseStamped" and len(columns) != profile.POSE_COLUMNS:
        raise section.fail("columns", "seven names, x y z and quaternion x y z w", list(columns))
    called = section.names("names", list(columns))
    if len(called) != len(columns):
        raise section.fail("names", f"{len(columns)} names, one per column", list(called))
    return profile.StateSource(section.topic("topic"), message, columns, called)


def _commands(
    body: Any, where: str, names: list[str]
) -> tuple[str, dict[str, tuple[profile.CommandOutput, ...]]]:
    section = Section(body, where, ("interface", *profile.INTERFACES))
    commands = {}
    for interface in profile.INTERFACES:
        if interface in section.body:
            outputs = tuple(
                _output(entry, interface, f"{where}.{interface}[{i}]", names)
                for i, entry in enumerate(section.entries(interface))
            )
            _every_column_once([c for o in outputs for c in o.columns], names, f"{where}.{interface}")
            commands[interface] = outputs
    if not commands:
        raise ConfigError(f"{where}: must have at least one of {', '.join(profile.INTERFACES)}; found none")
    return section.text("interface", choices=commands), commands


def _output(entry: Any, interface: str, where: str, names: list[str]) -> profile.CommandOutput:
    section = Section(entry, where, ("topic", "interface", "columns", "frame"))
    own = section.text("interface", interface, choices=profile.INTERFACES)
    columns = section.names("columns", names)
    _check_columns(columns, names, where)
    if own == "pose" and len(columns) != profile.POSE_COLUMNS:
        raise section.fail("columns", "seven names, x y z and quaternion x y z w", list(columns))
    frame = section.text("frame", None if own == "pose" else "")
    return profile.CommandOutput(section.topic("topic"), own, columns, frame)


def _check_columns(columns: Iterable[str], names: list[str], where: str) -> None:
    for column in columns:
        if column not in names:
            raise ConfigError(f"{where}: {unknown('joint', column, names)}")


def _every_column_once(found: list[str], names: list[str], where: str) -> None:
    _all_different(found, where)
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(f"{where}: must cover every joint; missing {', '.join(missing)}")


def _all_different(found: list[str], where: str) -> None:
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: names must differ; found more than once: {', '.join(twice)}")
