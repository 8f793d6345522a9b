"""Latency of chunks as diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from wallwm_ros.bridge.stamps import to_stamp

LATENCY = "policy_node: chunk latency"


def latency_message(
    stages_ms: Mapping[str, float], engine: str, caption: str, stamp_ns: int
) -> DiagnosticArray:
    """Stage -> time it took [ms], as one status with values named STAGE_ms; `engine` is the hardware id."""
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=LATENCY, hardware_id=engine, message=caption)
    status.values = [KeyValue(key=f"{stage}_ms", value=f"{ms:.3f}") for stage, ms in stages_ms.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = to_stamp(stamp_ns)
    return message


def latency_from_message(message: DiagnosticArray) -> dict[str, float] | None:
    """The stages of `latency_message` [ms]; nothing if the message is about something else."""
    for status in message.status:
        if status.name == LATENCY:
            return {pair.key.removesuffix("_ms"): float(pair.value) for pair in status.values}
    return None
