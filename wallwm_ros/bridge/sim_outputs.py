"""What the simulated robot publishes: pictures, joint states, time."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from wallwm_model.sim.robot import CAMERAS, JOINTS
from wallwm_ros.bridge import qos, sim
from wallwm_ros.bridge.sim_body import JOINT_STATES, SPECTATOR, SimBody, image_topic
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.config import SimConfig


class SimOutputs:
    """Publishers of pictures, joint states and time."""

    def __init__(self, node: Node, config: SimConfig, body: SimBody) -> None:
        self._config, self._body = config, body
        self._states = node.create_publisher(JointState, JOINT_STATES, qos.SENSOR_OUT)
        self._clock = node.create_publisher(Clock, "/clock", qos.CLOCK)
        self._raw, self._jpeg, self._info, self._frames = {}, {}, {}, {}
        for camera in CAMERAS:
            topic = image_topic(camera)
            self._frames[camera] = f"{camera}_optical_frame"
            if config.raw_images:
                self._raw[camera] = node.create_publisher(Image, topic, qos.SENSOR_OUT)
            if config.compressed_images:
                self._jpeg[camera] = node.create_publisher(
                    CompressedImage, f"{topic}/compressed", qos.SENSOR_OUT
                )
            publisher = node.create_publisher(CameraInfo, f"/{camera}/camera_info", qos.SENSOR_OUT)
            facts = body.sim.camera_info(camera)
            message = sim.camera_info_message(
                facts["K"], facts["width"], facts["height"], self._frames[camera]
            )
            self._info[camera] = (publisher, message)
        self._spectator = node.create_publisher(Image, image_topic(SPECTATOR), qos.SENSOR_OUT)

    def joint_states(self, stamp_ns: int) -> None:
        """Measured positions and velocities."""
        position, velocity = self._body.sim.state(), self._body.sim.velocity()
        self._states.publish(sim.joint_state_message(JOINTS, position, velocity, stamp_ns))

    def clock(self, stamp_ns: int) -> None:
        """The time."""
        self._clock.publish(Clock(clock=to_stamp(stamp_ns)))

    def pictures(self, stamp_ns: int) -> None:
        """All cameras; a picture that nobody subscribes to is not made."""
        wanted = [
            p for group in (self._raw, self._jpeg) for p in group.values() if p.get_subscription_count()
        ]
        pictures = self._body.pictures() if wanted else {}
        for camera, picture in pictures.items():
            self._picture(camera, picture, stamp_ns)
        if self._spectator.get_subscription_count():
            self._spectator.publish(sim.image_message(self._body.spectator(), SPECTATOR, stamp_ns))
        self.camera_infos(stamp_ns)

    def camera_infos(self, stamp_ns: int) -> None:
        """What every camera says of itself."""
        for publisher, message in self._info.values():
            message.header.stamp = to_stamp(stamp_ns)
            publisher.publish(message)

    def _picture(self, camera: str, picture: np.ndarray, stamp_ns: int) -> None:
        raw, jpeg, frame = self._raw.get(camera), self._jpeg.get(camera), self._frames[camera]
        if raw is not None and raw.get_subscription_count():
            raw.publish(sim.image_message(picture, frame, stamp_ns))
        if jpeg is not None and jpeg.get_subscription_count():
            jpeg.publish(sim.jpeg_message(picture, frame, stamp_ns, self._config.jpeg_quality))
