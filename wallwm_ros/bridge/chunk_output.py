"""Chunks out, and what is known of them."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.chunks import chunk_to_message
from wallwm_ros.bridge.diagnostics import latency_message
from wallwm_ros.core.chunk import Chunk


class ChunkOutput:
    """Publishes chunks, and how long each took."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chunks = node.create_publisher(ActionChunk, "action_chunk", qos.CHUNK)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def now_ns(self) -> int:
        """The time of the clock that stamps the messages [ns]."""
        return self._node.get_clock().now().nanoseconds

    def send(self, chunk: Chunk) -> None:
        """Publish a chunk."""
        self._chunks.publish(chunk_to_message(chunk))

    def report(self, chunk: Chunk, stages_ms: dict[str, float], engine: str) -> None:
        """Log and publish where the time went, stage -> [ms]."""
        stages = " ".join(f"{stage}_ms={time_ms:.1f}" for stage, time_ms in stages_ms.items())
        self._node.get_logger().info(
            f"chunk caption={chunk.caption!r} generation={chunk.generation} sequence={chunk.sequence} "
            f"first_step={chunk.first_step} steps={chunk.steps} remaining_s={chunk.remaining_s:.2f} {stages}"
        )
        self.diagnose(latency_message(stages_ms, engine, chunk.caption, chunk.stamp_ns))

    def diagnose(self, message: DiagnosticArray) -> None:
        """Publish diagnostics."""
        self._diagnostics.publish(message)
