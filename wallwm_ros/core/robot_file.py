"""Robot profile files, read strictly: a mistake is named with file, key, what was found and what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wallwm_model.errors import ConfigError
from wallwm_ros.core import robot as profile
from wallwm_ros.core.options import unknown
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.yaml_files import read_yaml

_LIMITS = ("velocity", "acceleration", "jerk")


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


class _Section:
    """A mapping in the file, with its place for messages; every key must be asked for."""

    def __init__(self, body: Any, where: str, keys: tuple[str, ...]) -> None:
        if not isinstance(body, dict):
            raise ConfigError(f"{where}: must be a mapping with {', '.join(keys)}; found {body!r}")
        for key in body:
            if key not in keys:
                raise ConfigError(f"{where}: {unknown('key', key, keys)}")
        self.body, self.where = body, where

    def fail(self, key: str, expected: str, found: Any) -> ConfigError:
        """The error for one key."""
        return ConfigError(f"{self.where}: {key} must be {expected}; found {found!r}")

    def text(self, key: str, default: str | None = None, choices: Iterable[str] = ()) -> str:
        """Text under `key`; required if there is no default."""
        value = self.body.get(key, default)
        choices = tuple(choices)
        if (
            not isinstance(value, str)
            or (default is None and not value)
            or (choices and value not in choices)
        ):
            raise self.fail(key, f"one of {', '.join(choices)}" if choices else "text", value)
        return value

    def topic(self, key: str, required: bool = True) -> str:
        """An absolute topic name."""
        value = self.text(key, None if required else "")
        if value and not value.startswith("/"):
            raise self.fail(key, "a topic that starts with /", value)
        return value

    def number(self, key: str, positive: bool = False) -> float:
        """A finite number."""
        value = self.body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(key, "a finite number", value)
        if positive and value <= 0:
            raise self.fail(key, "greater than 0", value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.body.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false", value)
        return value

    def names(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """A list of unique names."""
        value = self.body.get(key, default)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self.fail(key, "a list of names", value)
        if len(set(value)) != len(value):
            raise self.fail(key, "a list of names without repetition", value)
        return tuple(value)

    def entries(self, key: str) -> list[Any]:
        """A list of mappings, not empty."""
        value = self.body.get(key)
        if not isinstance(value, list) or not value:
            raise self.fail(key, "a list with at least one entry", value)
        return value


def parse_robot(body: dict[str, Any], path: Path) -> profile.RobotProfile:
    """The profile in a file that was read as `body`.

    Raises:
        ConfigError: see `load_robot`.
    """
    keys = ("robot", "description", "limits", "joints", "cameras", "states", "command")
    top = _Section(body, str(path), keys)
    joints = _joints(top)
    names = [joint.name for joint in joints]
    cameras = tuple(_camera(entry, f"{path}: cameras[{i}]") for i, entry in enumerate(top.entries("cameras")))
    _all_different([camera.name for camera in cameras], f"{path}: cameras")
    states = tuple(
        _state(entry, f"{path}: states[{i}]", names) for i, entry in enumerate(top.entries("states"))
    )
    _every_column_once([c for s in states for c in s.columns], names, f"{path}: states")
    interface, commands = _commands(body.get("command"), f"{path}: command", names)
    description = _description(top, path.parent)
    return profile.RobotProfile(top.text("robot"), joints, cameras, states, commands, interface, description)


def _description(top: _Section, folder: Path) -> str:
    """`mujoco`, `topic`, or the absolute path of a URDF file, which is named relative to the profile's folder."""
    value = top.text("description", "")
    if value in ("", *profile.DESCRIPTIONS):
        return value
    file = folder / Path(value).expanduser()
    if not file.is_file():
        raise top.fail("description", f"{', '.join(profile.DESCRIPTIONS)}, or the path of a URDF file", value)
    return str(file.resolve())


def _joints(top: _Section) -> tuple[profile.Joint, ...]:
    kinds = top.body.get("limits")
    if not isinstance(kinds, dict) or not kinds:
        raise top.fail("limits", "a mapping from kinds of joint to their limits", kinds)
    limits = {}
    for kind, entry in kinds.items():
        section = _Section(entry, f"{top.where}: limits.{kind}", ("unit", *_LIMITS))
        limits[kind] = {name: section.number(name, positive=True) for name in _LIMITS}
        limits[kind]["unit"] = section.text("unit", choices=profile.UNITS)
    entries = top.body.get("joints")
    if not isinstance(entries, dict) or not entries:
        raise top.fail("joints", "a mapping from names to joints, in the order of state and action", entries)
    joints = tuple(
        _joint(str(name), entry, f"{top.where}: joints.{name}", limits) for name, entry in entries.items()
    )
    _check_quaternions(joints, f"{top.where}: joints")
    return joints


def _joint(name: str, entry: Any, where: str, limits: dict[str, dict[str, Any]]) -> profile.Joint:
    section = _Section(entry, where, ("kind", "position"))
    kind = section.text("kind", choices=limits)
    default = [-1.0, 1.0] if limits[kind]["unit"] == "quaternion" else None
    bounds = section.body.get("position", default)
    sound = (
        isinstance(bounds, list)
        and len(bounds) == 2
        and all(isinstance(b, int | float) and not isinstance(b, bool) and math.isfinite(b) for b in bounds)
    )
    if not sound or bounds[0] >= bounds[1]:
        raise section.fail("position", "[low, high] with low < high", bounds)
    return profile.Joint(name=name, low=float(bounds[0]), high=float(bounds[1]), **limits[kind])


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
    section = _Section(entry, where, ("name", "topic", "transport", "info_topic", "calibration", "noise"))
    return profile.Camera(
        name=section.text("name"),
        topic=section.topic("topic"),
        transport=section.text("transport", choices=profile.TRANSPORTS),
        info_topic=section.topic("info_topic", required=False),
        calibration=section.text("calibration", ""),
        noise=section.flag("noise", True),
    )


def _state(entry: Any, where: str, names: list[str]) -> profile.StateSource:
    section = _Section(entry, where, ("topic", "message", "columns", "names"))
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
    section = _Section(body, where, ("interface", *profile.INTERFACES))
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
    section = _Section(entry, where, ("topic", "interface", "columns", "frame"))
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
