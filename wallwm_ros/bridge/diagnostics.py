"""Latency of chunks and verdicts on cameras as diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.camera_guard import CameraInfoGuard

LATENCY = "policy_node: chunk latency"
CAMERAS = "policy_node: camera_info"


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


def camera_message(guard: CameraInfoGuard, stamp_ns: int) -> DiagnosticArray:
    """What is known of every camera: ERROR if one is not as calibrated, WARN if one has not told yet."""
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=CAMERAS, message="as calibrated")
    if guard.problems:
        status.level, status.message = DiagnosticStatus.ERROR, next(iter(guard.problems.values()))
    elif guard.unheard:
        status.level = DiagnosticStatus.WARN
        status.message = f"no camera_info yet from {', '.join(guard.unheard)}"
    status.values = [KeyValue(key=name, value=verdict) for name, verdict in guard.verdicts.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = to_stamp(stamp_ns)
    return message
