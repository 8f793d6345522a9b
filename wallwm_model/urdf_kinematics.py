"""Forward kinematics of a robot description in URDF, by Pinocchio."""

from __future__ import annotations

import difflib
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from wallwm_model.errors import ConfigError

WORLD = "world"


class UrdfKinematics:
    """A robot description in URDF.

    Mimic joints follow their masters and are not asked for. Links on fixed joints are links of their own.

    Raises:
        ConfigError: not a URDF, or Pinocchio is not installed.
    """

    def __init__(self, urdf: str, where: str = "the robot description") -> None:
        self._pin = pin = _pinocchio()
        self._where = where
        root = _parse(urdf, where)
        self._model = model = _build(pin, urdf, where)
        self._data = model.createData()
        self._joint_ids = {model.names[i]: i for i in range(1, model.njoints)}
        # Pinocchio's own mimic joints must come after their masters in its tree, which URDF does not ask for.
        self._mimics = _mimics(root, self._joint_ids, where)
        self.joints = tuple(name for name in self._joint_ids if name not in self._mimics)
        self._frames = {
            frame.name: index
            for index, frame in enumerate(model.frames)
            if frame.type == pin.FrameType.BODY and frame.name != "universe"
        }
        self.links = tuple(self._frames)
        # A link's frame hangs on its joint's frame, and that on the link before.
        above = {
            name: model.frames[model.frames[i].parentFrame].parentFrame for name, i in self._frames.items()
        }
        self.parents = {
            name: model.frames[i].name for name, i in above.items() if model.frames[i].name in self._frames
        }
        self._last: np.ndarray | None = None

    @classmethod
    def from_file(cls, path: Path) -> UrdfKinematics:
        """Read a URDF file; meshes are not needed.

        Raises:
            ConfigError: no such file, or not a URDF.
        """
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"robot description {path} cannot be read: {error}") from None

    def pose(self, link: str, joints: Mapping[str, float]) -> np.ndarray:
        """See `ForwardKinematics.pose`."""
        if link == WORLD and link not in self._frames:
            return np.eye(4)
        known(link, self._frames, self._where)
        frame = self._model.frames[self._frames[link]]
        configuration = self._configuration(link, frame.parentJoint, joints)
        if self._last is None or not np.array_equal(configuration, self._last):
            self._pin.forwardKinematics(self._model, self._data, configuration)
            self._last = configuration
        return np.array((self._data.oMi[frame.parentJoint] * frame.placement).homogeneous)

    def _configuration(self, link: str, end: int, joints: Mapping[str, float]) -> np.ndarray:
        """Pinocchio's configuration vector; joints off the way to `link` may be unknown and stay neutral."""
        model = self._model
        way = [model.names[i] for i in model.supports[end] if i]
        needed = dict.fromkeys(self._mimics[name][0] if name in self._mimics else name for name in way)
        missing = [name for name in needed if name not in joints]
        if missing:
            raise ConfigError(lacking(link, missing, joints))
        values = self._pin.neutral(model)
        for name, index in self._joint_ids.items():
            master, multiplier, offset = self._mimics.get(name, (name, 1.0, 0.0))
            if master in joints:
                joint, value = model.joints[index], multiplier * finite(master, joints[master]) + offset
                # A continuous joint is kept as cosine and sine.
                turn = (math.cos(value), math.sin(value))
                values[joint.idx_q : joint.idx_q + joint.nq] = turn if joint.nq == 2 else value
        return values


def _pinocchio():
    try:
        import pinocchio
    except ImportError:
        raise ConfigError("a URDF needs the Python package pin; found it not installed") from None
    return pinocchio


def _parse(urdf: str, where: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(urdf)
    except ElementTree.ParseError as error:
        raise ConfigError(f"{where} must be a URDF; found no XML: {error}") from None
    if root.tag != "robot":
        raise ConfigError(f"{where} must be a URDF with <robot>; found <{root.tag}>")
    return root


def _mimics(
    root: ElementTree.Element, names: Iterable[str], where: str
) -> dict[str, tuple[str, float, float]]:
    """Mimic joint -> the joint that moves by itself, multiplier and offset; chains are followed."""
    direct = {}
    for joint in root.iter("joint"):
        mimic = joint.find("mimic")
        if mimic is not None and joint.get("name") in names:
            factors = float(mimic.get("multiplier", "1")), float(mimic.get("offset", "0"))
            direct[joint.get("name")] = (mimic.get("joint"), *factors)
    found = {}
    for name in direct:
        master, multiplier, offset = name, 1.0, 0.0
        for _ in range(len(direct) + 1):
            if master in direct:
                master, factor, shift = direct[master]
                multiplier, offset = multiplier * factor, offset + multiplier * shift
        if master in direct or master not in names:
            raise ConfigError(
                f"{where}: joint {name} must mimic a joint that moves by itself; found {master!r}"
            )
        found[name] = (master, multiplier, offset)
    return found


def _build(pin, urdf: str, where: str):
    try:
        return pin.buildModelFromXML(urdf)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{where} must be a URDF; {' '.join(str(error).split())}") from None


def finite(name: str, value: float) -> float:
    """A joint position that can be used; raises `ConfigError`."""
    if not math.isfinite(value):
        raise ConfigError(f"joint {name} must have a finite position; found {value}")
    return float(value)


def known(link: str, links: Iterable[str], where: str) -> None:
    """Refuse a link that a description does not have; raises `ConfigError`."""
    links = list(links)
    if link not in links:
        near = difflib.get_close_matches(link, links, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(f"{where} must have the link {link!r}{hint}; found {', '.join(links)}")


def lacking(link: str, missing: Iterable[str], joints: Mapping[str, float]) -> str:
    """The sentence for a pose that cannot be computed."""
    found = ", ".join(joints) or "none"
    return f"the pose of {link} needs the joints {', '.join(missing)}; found positions of {found}"
