"""Postures out of a recording or a folder of pictures, for `calibrate check`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.snapshot import Snapshot
from wallwm_model.calibration_tools.frames import Frame, folder_frames
from wallwm_model.errors import CalibrationError, ConfigError
from wallwm_ros.calibrate.check_session import Order, Say
from wallwm_ros.calibrate.sources import Source, joint_topics, named_frames
from wallwm_ros.core.joint_names import joint_names
from wallwm_ros.core.postures import PostureGate
from wallwm_ros.core.robot import RobotProfile

if TYPE_CHECKING:
    from wallwm_model.forward_kinematics import ForwardKinematics

MOST = 30  # postures of one camera that are used


def stored(
    order: Order,
    profile: RobotProfile,
    calibrations: Mapping[str, CameraCalibration],
    kinematics: ForwardKinematics,
    say: Say,
) -> Iterator[Snapshot]:
    """Postures from a folder or a recording, camera by camera: each picture comes with its own joints.

    Pictures without the joints that the cameras' links need, as at a recording's begin, are passed over, and
    counted to the user.

    Raises:
        CalibrationError: nothing there, or no picture of a camera with joints.
    """
    links = {calibration.link for calibration in calibrations.values()}
    for camera in profile.cameras:
        if order.images:
            frames = named_frames(folder_frames(order.images / camera.name), profile)
        else:
            from wallwm_ros.bridge.recording import recorded_frames

            topics = joint_topics(profile, Source(recording=order.recording))
            names = {name: joint_names(profile, name) for name in topics}
            frames = recorded_frames(order.recording, camera.topic, topics, names)
        for frame in _postures(_placed(frames, camera.name, links, kinematics, say)):
            picture = frame.picture
            if picture.ndim == 2:
                picture = np.repeat(picture[..., None], 3, axis=2)
            yield Snapshot({camera.name: picture}, frame.joints)


def _placed(
    frames: Iterator[Frame], camera: str, links: Collection[str], kinematics: ForwardKinematics, say: Say
) -> Iterator[Frame]:
    """The frames at which all links can be placed, all with the joints of the first of them."""
    passed, fault, names = 0, "", None
    try:
        for frame in frames:
            joints = {name: x for name, x in (frame.joints or {}).items() if name in kinematics.joints}
            lacking = _lacking(joints, names or (), links, kinematics)
            if lacking:
                passed, fault = passed + 1, lacking
                continue
            names = tuple(joints) if names is None else names
            yield dataclasses.replace(frame, joints={name: joints[name] for name in names})
    finally:
        if passed and names is not None:
            say(f"{camera}: {passed} pictures passed over, for want of joint positions: {fault}")
    if passed and names is None:
        raise CalibrationError(
            f"{camera}: pictures must come with joints; in none of {passed} they do: {fault}"
        )


def _lacking(
    joints: Mapping[str, float], names: Collection[str], links: Collection[str], kinematics: ForwardKinematics
) -> str:
    """What is missing among the joints of a frame; empty: nothing."""
    missing = [name for name in names if name not in joints]
    if missing:
        return f"no position of {', '.join(missing)}"
    try:
        for link in links:
            kinematics.pose(link, joints)
    except ConfigError as error:
        return str(error)
    return ""


def _postures(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The first picture of each posture."""
    gate, found = PostureGate(still_ns=0), 0
    for frame in frames:
        joints = np.array([frame.joints[name] for name in sorted(frame.joints)])
        if not frame.moving and gate.offer(frame.stamp_ns, joints) == "new":
            gate.take(joints)
            found += 1
            yield frame
        if found == MOST:
            return
