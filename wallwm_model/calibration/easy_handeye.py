"""Results of easy_handeye (ROS 1, `.yaml`) and easy_handeye2 (ROS 2, `.calib`).

Both give the pose of the tracking frame (the camera) in the effector (eye in hand) or in the robot's base.
easy_handeye and the first easy_handeye2: `parameters.eye_on_hand` and `transformation` with x ... qw, the
oldest without `parameters`. Today's easy_handeye2: `parameters.calibration_type` and `transform` with
translation and rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wallwm_model.errors import ConfigError
from wallwm_model.transforms import from_quaternion
from wallwm_model.yaml_files import parse_yaml

_TYPES = {"eye_in_hand": True, "eye_on_base": False}


@dataclass(frozen=True)
class Mount:
    """Where a camera is mounted.

    Attributes:
        link: frame that carries it: the effector's (eye in hand) or the robot's base.
        frame: the camera's own frame, as the tracking system calls it.
        in_hand: whether the effector carries it.
        T_link_camera: (4, 4) pose of `frame` in `link` [m].
    """

    link: str
    frame: str
    in_hand: bool
    T_link_camera: np.ndarray


def read_easy_handeye(text: str, where: str) -> Mount:
    """The text of such a file -> its content; `where` names it in messages.

    Raises:
        ConfigError: a field missing, of the wrong kind, or in contradiction to another.
    """
    body = parse_yaml(text, where)
    parameters = body.get("parameters", body)
    if not isinstance(parameters, dict):
        raise ConfigError(f"{where}: parameters must be a mapping; found {parameters!r}")
    in_hand = _in_hand(parameters, where)
    key = "robot_effector_frame" if in_hand else "robot_base_frame"
    link, frame = (_name(parameters, name, where) for name in (key, "tracking_base_frame"))
    if link == frame:
        raise ConfigError(
            f"{where}: {key} and tracking_base_frame must be different frames; found {link!r} twice"
        )
    pose = _pose(body, where)
    if np.array_equal(pose, np.eye(4)):
        raise ConfigError(
            f"{where}: the transform must have been computed; found no translation and no rotation"
        )
    return Mount(link, frame, in_hand, pose)


def _in_hand(parameters: dict[str, Any], where: str) -> bool:
    found = [key for key in ("eye_on_hand", "calibration_type") if key in parameters]
    if not found:
        raise ConfigError(f"{where} must have eye_on_hand or calibration_type; found neither")
    answers = set()
    for key in found:
        value = parameters[key]
        if key == "eye_on_hand" and not isinstance(value, bool):
            raise ConfigError(f"{where}: eye_on_hand must be true or false; found {value!r}")
        if key == "calibration_type" and value not in _TYPES:
            raise ConfigError(
                f"{where}: calibration_type must be one of {', '.join(_TYPES)}; found {value!r}"
            )
        answers.add(value if key == "eye_on_hand" else _TYPES[value])
    if len(answers) > 1:
        raise ConfigError(
            f"{where}: eye_on_hand and calibration_type must say the same; found a contradiction"
        )
    return answers.pop()


def _name(parameters: dict[str, Any], key: str, where: str) -> str:
    value = parameters.get(key)
    if not isinstance(value, str) or not value.strip("/ "):
        raise ConfigError(f"{where}: {key} must be the name of a frame; found {value!r}")
    return value.lstrip("/")


def _pose(body: dict[str, Any], where: str) -> np.ndarray:
    given = [key for key in ("transform", "transformation") if key in body]
    if len(given) != 1:
        found = " and ".join(given) or "neither"
        raise ConfigError(f"{where} must have one of transform and transformation; found {found}")
    if given == ["transformation"]:
        numbers = _numbers(body["transformation"], "x y z qx qy qz qw", f"{where}: transformation")
    else:
        parts = body["transform"]
        if not isinstance(parts, dict) or set(parts) != {"translation", "rotation"}:
            raise ConfigError(f"{where}: transform must have translation and rotation; found {parts!r}")
        numbers = _numbers(parts["translation"], "x y z", f"{where}: transform.translation")
        numbers += _numbers(parts["rotation"], "x y z w", f"{where}: transform.rotation")
    try:
        return from_quaternion(numbers[:3], numbers[3:])
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _numbers(entry: Any, names: str, where: str) -> list[float]:
    keys = names.split()
    sound = isinstance(entry, dict) and set(entry) == set(keys)
    if not sound or not all(type(v) in (int, float) and math.isfinite(v) for v in entry.values()):
        raise ConfigError(f"{where} must have the finite numbers {', '.join(keys)}; found {entry!r}")
    return [float(entry[key]) for key in keys]
