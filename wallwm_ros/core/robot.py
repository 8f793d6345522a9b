"""Robot profiles: joints with limits, cameras, state topics and command topics. `robot_file` reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wallwm_model.errors import ConfigError
from wallwm_ros.core.options import unknown

UNITS = ("rad", "m", "quaternion")
TRANSPORTS = ("raw", "compressed")
STATE_MESSAGES = ("JointState", "PoseStamped")
DESCRIPTIONS = ("mujoco", "topic")
INTERFACES = ("forward", "trajectory", "pose")
POSE_COLUMNS = 7  # x y z, then quaternion x y z w


@dataclass(frozen=True)
class Joint:
    """One column of state and action.

    Attributes:
        name: unique name of the column.
        unit: `rad`, `m`, or `quaternion` (four columns in a row, x y z w, make one orientation).
        low, high: position limits [rad, m]; for an end-effector coordinate, one side of the workspace box.
        velocity, acceleration, jerk: limits [unit/s, unit/s^2, unit/s^3]; a quaternion's: of the rotation.
        lead: its targets are due this much earlier, to make up for a slow drive [s].
    """

    name: str
    unit: str
    low: float
    high: float
    velocity: float
    acceleration: float
    jerk: float
    lead: float = 0.0


@dataclass(frozen=True)
class Camera:
    """One camera: where its pictures and its intrinsics come from.

    Attributes:
        name: as in the model's specification.
        topic: of the pictures.
        transport: `raw` (sensor_msgs/Image) or `compressed` (sensor_msgs/CompressedImage).
        info_topic: sensor_msgs/CameraInfo; empty: none is published.
        calibration: file in the calibration directory; empty: none.
        noise: live pictures differ by sensor noise, so that identical ones mean a frozen camera; false for a
            simulated camera, whose pictures of a still scene are identical.
    """

    name: str
    topic: str
    transport: str
    info_topic: str = ""
    calibration: str = ""
    noise: bool = True


@dataclass(frozen=True)
class StateSource:
    """One topic that carries measured values.

    Attributes:
        topic: its name.
        message: `JointState` or `PoseStamped`.
        columns: profile columns it fills; a pose fills seven.
        names: what a JointState calls these columns, in the same order.
    """

    topic: str
    message: str
    columns: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class CommandOutput:
    """One topic that carries commands.

    Attributes:
        topic: its name.
        interface: `forward` (Float64MultiArray), `trajectory` (JointTrajectory) or `pose` (PoseStamped).
        columns: profile columns it carries, in message order.
        frame: frame of a pose.
    """

    topic: str
    interface: str
    columns: tuple[str, ...]
    frame: str = ""


@dataclass(frozen=True)
class WorkspaceBox:
    """Where the origin of a link may be.

    Attributes:
        link: as in the robot's description.
        low, high: corners x y z, in the description's world [m].
    """

    link: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class RobotProfile:
    """What the runtime knows about one robot.

    Attributes:
        name: profile name, e.g. `sim`.
        joints: columns of state and action, in order (D of them).
        cameras: in the order of the model's view axis.
        states: topics with measured values; together they fill every column once.
        commands: for each command interface the robot has, its topics; together they carry every column once.
        interface: the one used unless a parameter says otherwise.
        description: where its links are: `mujoco` (the simulated robot), `topic` (/robot_description) or the
            path of a URDF file; empty: nowhere.
        workspace: boxes that links keep inside of, for a robot whose joints are commanded.
    """

    name: str
    joints: tuple[Joint, ...]
    cameras: tuple[Camera, ...]
    states: tuple[StateSource, ...]
    commands: dict[str, tuple[CommandOutput, ...]]
    interface: str
    description: str = ""
    workspace: tuple[WorkspaceBox, ...] = ()

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the D columns."""
        return tuple(joint.name for joint in self.joints)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in view order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def action_space(self) -> str:
        """`end_effector_pose` if a column is part of an orientation, else `joint_position`."""
        return "end_effector_pose" if self.quaternions else "joint_position"

    @property
    def quaternions(self) -> tuple[int, ...]:
        """First column of each quaternion (x y z w)."""
        columns = [i for i, joint in enumerate(self.joints) if joint.unit == "quaternion"]
        return tuple(columns[::4])

    def limit(self, name: str) -> np.ndarray:
        """(D,) of `low`, `high`, `velocity`, `acceleration`, `jerk` [unit of each joint] or `lead` [s]."""
        return np.array([getattr(joint, name) for joint in self.joints])

    def outputs(self, interface: str = "profile") -> tuple[CommandOutput, ...]:
        """Command topics of an interface (`profile`: the robot's own choice).

        Raises:
            ConfigError: the robot has no such interface.
        """
        chosen = self.interface if interface == "profile" else interface
        if chosen not in self.commands:
            raise ConfigError(f"robot {self.name}: {unknown('command interface', chosen, self.commands)}")
        return self.commands[chosen]

    def columns(self, names: tuple[str, ...]) -> list[int]:
        """Indices of named columns."""
        index = {name: i for i, name in enumerate(self.joint_names)}
        return [index[name] for name in names]
