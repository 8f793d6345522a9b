"""Listens to what a film and a plot of an episode are made from: camera pictures and control status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.stamps import to_ns


def listen_to_cameras(
    node: Node, cameras: Sequence[str], on_picture: Callable[[str, np.ndarray, int], None]
) -> None:
    """Call `on_picture(camera, (H, W, 3) uint8 RGB, stamp_ns)` for every raw picture of the cameras."""

    def listener(camera: str) -> Callable[[Image], None]:
        def heard(message: Image) -> None:
            picture = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
            on_picture(camera, picture, to_ns(message.header.stamp))

        return heard

    for camera in cameras:
        node.create_subscription(Image, f"/{camera}/image_raw", listener(camera), qos.IMAGE)


def listen_to_control(
    node: Node, on_status: Callable[[int, tuple[str, ...], np.ndarray, np.ndarray, tuple[int, int]], None]
) -> None:
    """Call `on_status` for each report: stamp [ns], joints, command and measured (D,), chunk."""

    def heard(message: ControlStatus) -> None:
        if len(message.command) == len(message.joint_names) == len(message.measured):
            on_status(
                to_ns(message.header.stamp),
                tuple(message.joint_names),
                np.array(message.command),
                np.array(message.measured),
                (message.generation, message.sequence),
            )

    node.create_subscription(ControlStatus, "/control_status", heard, qos.STATUS)
