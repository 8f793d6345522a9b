"""A robot's cameras and joint states in: subscriptions that feed a synchroniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import ObservationError
from wallwm_ros.bridge import images, joint_states, qos
from wallwm_ros.bridge.stamps import to_ns
from wallwm_ros.core.robot import Camera, RobotProfile, StateSource
from wallwm_ros.core.synchronizer import Synchronizer, SyncLimits


def make_synchronizer(profile: RobotProfile, limits: SyncLimits, keep_ns: int = 0) -> Synchronizer:
    """A synchroniser with one stream per camera and per state topic of the robot; see there for `keep_ns`."""
    states = {}
    for source in profile.states:
        columns = profile.columns(source.columns)
        states[source.topic] = tuple(i for i, column in enumerate(columns) if column in profile.quaternions)
    noisy = [camera.name for camera in profile.cameras if camera.noise]
    return Synchronizer(profile.camera_names, states, limits, noisy=noisy, same=images.same, keep_ns=keep_ns)


class ObservationFeed:
    """Subscribes to everything that an observation needs; unusable messages are refused with the reason.

    Args:
        node: who subscribes.
        profile: topics.
        calibrations: sizes and frames of the pictures, for the cameras that are calibrated.
        synchronizer: what is fed.
        on_picture: called after each usable picture.
    """

    def __init__(
        self,
        node: Node,
        profile: RobotProfile,
        calibrations: Mapping[str, CameraCalibration],
        synchronizer: Synchronizer,
        on_picture: Callable[[], None],
    ) -> None:
        self._node, self._synchronizer, self._on_picture = node, synchronizer, on_picture
        self._sizes = {name: calibration.size for name, calibration in calibrations.items()}
        self._frames = {name: calibration.frame for name, calibration in calibrations.items()}
        self._subscriptions = [
            node.create_subscription(
                images.message_type(camera), camera.topic, partial(self._picture, camera), qos.IMAGE
            )
            for camera in profile.cameras
        ]
        self._subscriptions += [
            node.create_subscription(
                joint_states.message_type(source), source.topic, partial(self._state, source), qos.STATE
            )
            for source in profile.states
        ]

    def decode(self, camera: str, message: images.Picture) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a message that the synchroniser chose; for any thread.

        Raises:
            ObservationError: it cannot be decoded; names the camera.
        """
        try:
            return images.decode(message, self._sizes.get(camera))
        except ObservationError as error:
            raise ObservationError(f"a picture from {camera} was refused: {error}") from error

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _picture(self, camera: Camera, message: images.Picture) -> None:
        try:
            _check_frame(message, self._frames.get(camera.name, ""))
            images.check(message, self._sizes.get(camera.name))
        except ObservationError as error:
            self._synchronizer.refuse(camera.name, str(error))
            return
        self._synchronizer.add_picture(camera.name, to_ns(message.header.stamp), message)
        self._on_picture()

    def _state(self, source: StateSource, message: Any) -> None:
        try:
            stamp_ns, values = joint_states.read_state(message, source)
        except ObservationError as error:
            self._synchronizer.refuse(source.topic, str(error))
            return
        self._synchronizer.add_state(source.topic, stamp_ns, values)


def _check_frame(message: images.Picture, frame: str) -> None:
    """Refuse a picture of another camera than the calibrated one; an empty `frame` is not known.

    Raises:
        ObservationError: says what was expected and found.
    """
    found = message.header.frame_id
    if frame and found != frame:
        raise ObservationError(f"frame_id must be {frame} as calibrated; found {found or 'none'}")
