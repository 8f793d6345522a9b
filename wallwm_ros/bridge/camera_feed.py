"""One camera's live pictures with the joints at their stamps, for calibration."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image, JointState

from wallwm_model.calibration_tools.frames import STILL_NS, Frame, JointTrack
from wallwm_model.errors import CalibrationError, ObservationError
from wallwm_ros.bridge import images, qos
from wallwm_ros.bridge.stamps import SECOND, to_ns
from wallwm_ros.core.joint_names import renamed

WAIT_S = 10.0
_KEPT_NS = 10 * SECOND


class CameraFeed:
    """Subscribes to a camera, and to joint states if asked; a context manager.

    Args:
        topic: of the pictures.
        compressed: they are CompressedImage.
        joint_topics: JointState topics; empty: frames have no joints.
        names: joint topic -> what its messages call a joint -> what frames shall call it.
    """

    def __init__(
        self,
        topic: str,
        compressed: bool,
        joint_topics: Sequence[str] = (),
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._topic, self._joint_topics = topic, tuple(joint_topics)
        self._names = names or {}
        self._kind = CompressedImage if compressed else Image
        self._track, self._lock = JointTrack(), threading.Lock()
        self._pictures: queue.Queue = queue.Queue(maxsize=4)
        self._refused = ""

    def __enter__(self) -> CameraFeed:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("wallwm_calibrate", context=self._context)
        self.node.create_subscription(self._kind, self._topic, self._picture, qos.IMAGE)
        for topic in self._joint_topics:
            heard = partial(self._joints, self._names.get(topic, {}))
            self.node.create_subscription(JointState, topic, heard, qos.STATE)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        rclpy.try_shutdown(context=self._context)
        self._thread.join(timeout=2.0)

    def frames(self) -> Iterator[Frame]:
        """Newest pictures as they come; with joints, each waits until the robot is known to have been still.

        Raises:
            CalibrationError: nothing comes; names the topic.
        """
        start = None
        while True:
            message = self._next()
            stamp_ns = to_ns(message.header.stamp)
            start = stamp_ns if start is None else start
            try:
                picture = images.decode(message)
            except ObservationError as error:
                raise CalibrationError(f"a picture on {self._topic} was refused: {error}") from None
            joints, moving = None, False
            if self._joint_topics:
                joints, moving = self._joints_at(stamp_ns)
            yield Frame(f"{(stamp_ns - start) / SECOND:.2f} s", picture, stamp_ns, joints, moving)

    def _next(self) -> Image | CompressedImage:
        try:
            return self._pictures.get(timeout=WAIT_S)
        except queue.Empty:
            reason = (
                f": {self._refused}" if self._refused else " (is the driver running, in this ROS_DOMAIN_ID?)"
            )
            raise CalibrationError(
                f"pictures must arrive on {self._topic}; found none within {WAIT_S:g} s{reason}"
            ) from None

    def _joints_at(self, stamp_ns: int) -> tuple[dict[str, float], bool]:
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            with self._lock:
                if self._track.newest_ns >= stamp_ns + STILL_NS:
                    self._track.forget_before(stamp_ns - _KEPT_NS)
                    return self._track.at(stamp_ns)
            time.sleep(0.01)
        topics = ", ".join(self._joint_topics)
        raise CalibrationError(
            f"joint states newer than the pictures must arrive on {topics}; found none within {WAIT_S:g} s"
        )

    def _picture(self, message: Image | CompressedImage) -> None:
        try:
            images.check(message, None)
        except ObservationError as error:
            self._refused = str(error)
            return
        if self._pictures.full():  # the newest counts
            with contextlib.suppress(queue.Empty):
                self._pictures.get_nowait()
        self._pictures.put_nowait(message)

    def _joints(self, names: Mapping[str, str], message: JointState) -> None:
        if len(message.name) == len(message.position):
            joints = renamed(dict(zip(message.name, message.position)), names)
            with self._lock:
                self._track.add(to_ns(message.header.stamp), joints)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()
