"""Where the pictures of a calibration come from: live topics, a recording, or a folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wallwm_model.calibration_tools.frames import Frame, folder_frames
from wallwm_model.errors import ConfigError
from wallwm_ros.core.joint_names import joint_names, renamed
from wallwm_ros.core.options import unknown
from wallwm_ros.core.robot import Camera, RobotProfile

if TYPE_CHECKING:
    from wallwm_model.forward_kinematics import ForwardKinematics


@dataclass(frozen=True)
class Source:
    """Where to read.

    Attributes:
        images: folder of pictures; joints: their joints, see `folder_frames`.
        recording: rosbag2 folder or file. With neither: live topics.
        topic: of the pictures; empty: the robot profile's.
        joint_topic: JointState topic; empty: the robot profile's.
    """

    images: Path | None = None
    joints: Path | None = None
    recording: Path | None = None
    topic: str = ""
    joint_topic: str = ""

    def __post_init__(self) -> None:
        if self.images and self.recording:
            raise ConfigError("pictures must come from --images or --recording; found both")
        if self.joints and not self.images:
            raise ConfigError(
                "--joints goes with --images; recordings and live topics bring their own joint states"
            )

    @property
    def live(self) -> bool:
        """From live topics."""
        return not self.images and not self.recording


def find_camera(profile: RobotProfile, name: str) -> Camera:
    """A camera of the profile.

    Raises:
        ConfigError: there is none of that name; lists those there are.
    """
    for camera in profile.cameras:
        if camera.name == name:
            return camera
    raise ConfigError(f"robot {profile.name}: {unknown('camera', name, profile.camera_names)}")


def joint_topics(profile: RobotProfile, source: Source) -> tuple[str, ...]:
    """Topics that carry joint positions.

    Raises:
        ConfigError: the profile has none and none was named.
    """
    if source.joint_topic:
        return (source.joint_topic,)
    topics = tuple(state.topic for state in profile.states if state.message == "JointState")
    if not topics:
        raise ConfigError(f"robot {profile.name} has no JointState topic; name one with --joint-topic")
    return topics


@contextlib.contextmanager
def open_frames(
    source: Source, profile: RobotProfile, camera: Camera, with_joints: bool
) -> Iterator[tuple[Iterator[Frame], ForwardKinematics | None]]:
    """The pictures, and with joints the robot's kinematics. Joints go by the profile's names.

    Raises:
        WallWMError: a source that is not there or cannot be read.
    """
    topics = joint_topics(profile, source) if with_joints and not source.images else ()
    names = {name: joint_names(profile, name) for name in topics}
    topic = source.topic or camera.topic
    if source.images:
        frames = named_frames(folder_frames(source.images, source.joints), profile)
        yield frames, _kinematics(profile, with_joints)
    elif source.recording:
        from wallwm_ros.bridge.recording import recorded_frames

        yield recorded_frames(source.recording, topic, topics, names), _kinematics(profile, with_joints)
    else:
        from wallwm_ros.bridge.camera_feed import CameraFeed
        from wallwm_ros.bridge.robot_description import kinematics_of

        with CameraFeed(topic, camera.transport == "compressed", topics, names) as feed:
            yield feed.frames(), kinematics_of(feed.node, profile) if with_joints else None


def named_frames(frames: Iterator[Frame], profile: RobotProfile) -> Iterator[Frame]:
    """Frames of a folder, whose table may call joints as the profile or as the robot's messages do."""
    names = joint_names(profile)
    for frame in frames:
        joints = None if frame.joints is None else renamed(frame.joints, names)
        yield dataclasses.replace(frame, joints=joints)


def _kinematics(profile: RobotProfile, wanted: bool) -> ForwardKinematics | None:
    """The robot's links without a running robot; a description on a topic must be in a file then."""
    if not wanted:
        return None
    from wallwm_model.forward_kinematics import load_kinematics

    return load_kinematics(profile)
