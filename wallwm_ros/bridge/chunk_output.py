"""Chunks out, and what is known of them."""

from __future__ import annotations

import time
from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.chunks import chunk_to_message
from wallwm_ros.bridge.diagnostics import TOPIC, latency_message
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.events import Outcome
from wallwm_ros.core.window import Stages

SPAN_NS = 60_000_000_000  # percentiles are of the last minute


class ChunkOutput:
    """Publishes chunks, and how long each took.

    Attributes:
        stages: stage -> times of the last minute's chunks [ms]; `stamp_to_chunk`: from the oldest part of the
            observation to the chunk's own stamp.
        endings: how many goals ended how, by the outcome's name in small letters.
        engine: name of the engine that made the newest chunk.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chunks = node.create_publisher(ActionChunk, "action_chunk", qos.CHUNK)
        self._diagnostics = node.create_publisher(DiagnosticArray, TOPIC, 10)
        self.stages, self.endings, self.engine = Stages(SPAN_NS), Counter(), ""

    def now_ns(self) -> int:
        """The time of the clock that stamps the messages [ns]."""
        return self._node.get_clock().now().nanoseconds

    def send(self, chunk: Chunk) -> None:
        """Publish a chunk."""
        self._chunks.publish(chunk_to_message(chunk))

    def report(self, chunk: Chunk, stages_ms: dict[str, float], engine: str) -> None:
        """Log, publish and remember where the time went, stage -> [ms]."""
        whole = {"stamp_to_chunk": (chunk.stamp_ns - chunk.observation_ns) / 1e6}
        self.stages.add(time.monotonic_ns(), stages_ms | whole)
        self.engine = engine
        stages = " ".join(f"{stage}_ms={time_ms:.1f}" for stage, time_ms in stages_ms.items())
        self._node.get_logger().info(
            f"chunk caption={chunk.caption!r} generation={chunk.generation} sequence={chunk.sequence} "
            f"first_step={chunk.first_step} steps={chunk.steps} remaining_s={chunk.remaining_s:.2f} {stages}"
        )
        self.diagnose(latency_message(stages_ms, engine, chunk.caption, chunk.stamp_ns))

    def ended(self, outcome: Outcome) -> None:
        """Count a goal that has ended."""
        self.endings[outcome.name.lower()] += 1

    def diagnose(self, message: DiagnosticArray) -> None:
        """Publish diagnostics."""
        self._diagnostics.publish(message)
