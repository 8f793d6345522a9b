"""Where a robot's links are: from a URDF by Pinocchio, or for the simulated robot by MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from wallwm_model.errors import ConfigError
from wallwm_model.urdf_kinematics import UrdfKinematics, finite, known, lacking

__all__ = ["ForwardKinematics", "MujocoKinematics", "UrdfKinematics", "load_kinematics"]


class ForwardKinematics(Protocol):
    """Joint positions -> poses of links. The world is the description's root link, or the simulator's world.

    Attributes:
        joints: names of the joints that it asks for.
        links: names of the links that it knows.
        parents: link -> the link that it hangs on; a root has none.
    """

    joints: tuple[str, ...]
    links: tuple[str, ...]
    parents: Mapping[str, str]

    def pose(self, link: str, joints: Mapping[str, float]) -> np.ndarray:
        """(4, 4) pose of `link` in the world [m].

        Args:
            joints: joint name -> position [rad, m]; those of the way to `link` must be there, others may.

        Raises:
            ConfigError: no such link, or a joint on the way to it missing or not finite.
        """


class MujocoKinematics:
    """A MuJoCo model, by default that of the simulated robot; `*_gripper` is the fingers' opening [m].

    Args:
        model: an `mujoco.MjModel`; None: the simulated robot's.
    """

    def __init__(self, model=None) -> None:
        import mujoco

        from wallwm_model.sim.robot import build_model

        self._mujoco = mujoco
        self._model = build_model() if model is None else model
        self._data = mujoco.MjData(self._model)
        self._bodies = {self._model.body(i).name: i for i in range(self._model.nbody)}
        self._address: dict[str, list[tuple[int, float]]] = {}
        one_value = {int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)}
        for index in range(self._model.njnt):
            if int(self._model.jnt_type[index]) in one_value:
                place = int(self._model.jnt_qposadr[index])
                self._address[self._model.joint(index).name] = [(place, 1.0)]
        for arm in ("left", "right"):
            fingers = [self._address.pop(f"{arm}_finger_{side}", None) for side in "lr"]
            if all(fingers):
                self._address[f"{arm}_gripper"] = [(finger[0][0], 0.5) for finger in fingers]
        self.joints, self.links = tuple(self._address), tuple(self._bodies)
        above = {
            name: self._model.body(int(self._model.body_parentid[i])).name for name, i in self._bodies.items()
        }
        self.parents = {name: parent for name, parent in above.items() if name != parent}
        self._needed = {name: self._on_the_way(index) for name, index in self._bodies.items()}
        mujoco.mj_kinematics(self._model, self._data)

    def pose(self, link: str, joints: Mapping[str, float]) -> np.ndarray:
        """See `ForwardKinematics.pose`."""
        known(link, self._bodies, "the MuJoCo model")
        missing = [name for name in self._needed[link] if name not in joints]
        if missing:
            raise ConfigError(lacking(link, missing, joints))
        values = self._data.qpos.copy()
        for name, address in self._address.items():
            if name in joints:
                for place, share in address:
                    values[place] = share * finite(name, joints[name])
        if not np.array_equal(values, self._data.qpos):
            self._data.qpos[:] = values
            self._mujoco.mj_kinematics(self._model, self._data)
        pose, body = np.eye(4), self._bodies[link]
        pose[:3, :3], pose[:3, 3] = self._data.xmat[body].reshape(3, 3), self._data.xpos[body]
        return pose

    def _on_the_way(self, body: int) -> list[str]:
        """Joints between the world and a body."""
        names = []
        while body:
            first, count = self._model.body_jntadr[body], self._model.body_jntnum[body]
            addresses = {int(self._model.jnt_qposadr[first + k]) for k in range(count)}
            names += [name for name, a in self._address.items() if addresses & {place for place, _ in a}]
            body = int(self._model.body_parentid[body])
        return names


class Described(Protocol):
    """A robot profile, as far as kinematics need it."""

    name: str
    description: str


def load_kinematics(robot: Described | Path, urdf: str | None = None) -> ForwardKinematics:
    """The kinematics of a robot.

    Args:
        robot: a robot profile, whose `description` is `mujoco` (the simulated robot), `topic` (then `urdf`
            must be given) or the path of a URDF file; or that path itself.
        urdf: the text that came from the topic.

    Raises:
        ConfigError: no description, or one that cannot be read.
    """
    if isinstance(robot, Path):
        return UrdfKinematics.from_file(robot)
    if robot.description == "mujoco":
        return MujocoKinematics()
    if robot.description == "topic":
        if urdf is None:
            raise ConfigError(
                f"robot {robot.name}: description 'topic' needs a URDF that was received; found none"
            )
        return UrdfKinematics(urdf, "the URDF from /robot_description")
    if not robot.description:
        raise ConfigError(
            f"robot {robot.name}: the profile's description must be mujoco, topic, or the path of a URDF "
            "file; found none"
        )
    return UrdfKinematics.from_file(Path(robot.description))
