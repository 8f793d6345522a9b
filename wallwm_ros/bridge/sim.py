"""What the simulated robot says and hears: pictures, joint states and time out, commands in."""

from __future__ import annotations

import array
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from wallwm_model.errors import SimulationError
from wallwm_ros.bridge.images import image_message
from wallwm_ros.bridge.stamps import to_stamp

__all__ = [
    "camera_info_message",
    "image_message",
    "jpeg_message",
    "joint_state_message",
    "targets_from_array",
    "targets_from_trajectory",
]


def jpeg_message(picture: np.ndarray, frame: str, stamp_ns: int, quality: int) -> CompressedImage:
    """(H, W, 3) uint8 RGB -> sensor_msgs/CompressedImage with JPEG data; `quality` 0 to 100."""
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.frame_id, message.header.stamp = frame, to_stamp(stamp_ns)
    message.data = array.array("B", data.tobytes())
    return message


def camera_info_message(intrinsics: np.ndarray, width: int, height: int, frame: str) -> CameraInfo:
    """Pinhole camera without distortion; `intrinsics` = K (3, 3) [px]. The stamp is left to the sender."""
    k = np.asarray(intrinsics, dtype=float)
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob")
    message.header.frame_id = frame
    message.d = [0.0] * 5
    message.k = k.reshape(9).tolist()
    message.r = np.eye(3).reshape(9).tolist()
    message.p = np.hstack([k, np.zeros((3, 1))]).reshape(12).tolist()
    return message


def joint_state_message(
    names: Sequence[str], position: np.ndarray, velocity: np.ndarray, stamp_ns: int
) -> JointState:
    """Positions (D,) [rad or m] and velocities (D,) [rad/s or m/s] -> sensor_msgs/JointState."""
    message = JointState(name=list(names))
    message.header.stamp = to_stamp(stamp_ns)
    message.position = array.array("d", position.tobytes())
    message.velocity = array.array("d", velocity.tobytes())
    return message


def targets_from_array(message: Float64MultiArray, joints: Sequence[str]) -> np.ndarray:
    """Forward command -> targets (D,) [rad or m], as a ros2_control forward controller reads it.

    Raises:
        SimulationError: another number of values than joints, or a value that is not finite.
    """
    values = np.array(message.data, dtype=float)
    if values.shape != (len(joints),):
        raise SimulationError(f"a command must have {len(joints)} values; found {values.size}")
    return _finite(values, joints)


def targets_from_trajectory(message: JointTrajectory, joints: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Trajectory -> times from now (N,) [s] and targets (N, D) [rad or m] in the order of `joints`.

    Columns are matched by name. No points: an empty trajectory, which asks the controller to hold.

    Raises:
        SimulationError: a joint missing, unknown or named twice, a row of the wrong size, a value that is
            not finite, or times that do not increase.
    """
    names = list(message.joint_names)
    if not message.points and not names:
        return np.zeros(0), np.zeros((0, len(joints)))
    if sorted(names) != sorted(joints):
        wrong = sorted(set(names) ^ set(joints)) or [n for n in joints if names.count(n) > 1]
        raise SimulationError(
            f"a trajectory must name every joint once; missing or unknown: {', '.join(wrong)}"
        )
    columns = [names.index(name) for name in joints]
    times, rows = [], []
    for point in message.points:
        if len(point.positions) != len(joints):
            raise SimulationError(
                f"a trajectory point must have {len(joints)} positions; found {len(point.positions)}"
            )
        rows.append(_finite(np.array(point.positions, dtype=float)[columns], joints))
        times.append(point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec)
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise SimulationError(f"times of a trajectory must increase; found {times}")
    return np.array(times), np.array(rows).reshape(-1, len(joints))


def _finite(values: np.ndarray, joints: Sequence[str]) -> np.ndarray:
    if not np.isfinite(values).all():
        bad = [name for name, value in zip(joints, values, strict=True) if not np.isfinite(value)]
        raise SimulationError(f"a command must be finite; found a non-finite value for {', '.join(bad)}")
    return values
