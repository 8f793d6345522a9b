"""sensor_msgs/CameraInfo -> what the core compares."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo as Message

from wallwm_ros.core.camera_contract import CameraInfo


def from_message(message: Message) -> CameraInfo:
    """The message without its stamp: two of the same camera compare equal."""
    roi = message.roi
    return CameraInfo(
        width=message.width,
        height=message.height,
        distortion_model=message.distortion_model,
        D=tuple(float(v) for v in message.d),
        K=tuple(float(v) for v in message.k),
        R=tuple(float(v) for v in message.r),
        P=tuple(float(v) for v in message.p),
        frame=message.header.frame_id,
        binning=(message.binning_x, message.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        do_rectify=roi.do_rectify,
    )
