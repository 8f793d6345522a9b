"""Sight-cone masks as the parameters want them, and published for people to look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from wallwm_model.spec import ModelSpec
from wallwm_ros.bridge import images, qos
from wallwm_ros.core.config import PolicyConfig
from wallwm_ros.core.sight import ALWAYS, SightMaker, SightUse
from wallwm_ros.core.sight_picture import tinted


class SightOutput:
    """Turns parameters into a use of masks; publishes `~/sight` while that is wanted.

    Args:
        node: who publishes.
        sights: makes the masks.
        spec: order of the views, and their patches.
    """

    def __init__(self, node: Node, sights: SightMaker, spec: ModelSpec) -> None:
        self._node, self._sights, self._spec = node, sights, spec
        self._publisher: Publisher | None = None

    def use(self, config: PolicyConfig) -> SightUse | None:
        """What masks are for under these parameters; None: for nothing.

        Raises:
            ConfigError: see `SightMaker.make`.
        """
        sight = self._sights.make(config)
        if sight is None:
            return None
        if config.publish_sight and self._publisher is None:
            self._publisher = self._node.create_publisher(Image, "~/sight", qos.SENSOR_OUT)
        show = self._show if config.publish_sight else None
        return SightUse(sight, config.frustum_mask == ALWAYS, show)

    def close(self) -> None:
        """Publish nothing more."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def _show(self, pictures: Mapping[str, np.ndarray], mask: np.ndarray, stamp_ns: int) -> None:
        """In the worker's thread."""
        publisher = self._publisher
        if publisher is None or not publisher.get_subscription_count():
            return
        cameras = tuple(camera.name for camera in self._spec.cameras)
        picture = tinted(pictures, cameras, mask, self._spec.patches)
        publisher.publish(images.image_message(picture, "", stamp_ns))
