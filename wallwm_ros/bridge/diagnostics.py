"""What the nodes tell of themselves, as diagnostics: one status per part, figures as `name_unit` values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.camera_guard import CameraInfoGuard

TOPIC = "/diagnostics"
LATENCY = "policy_node: chunk latency"
CAMERAS = "policy_node: camera_info"
OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)


def make_status(
    name: str, level: bytes, message: str, values: Mapping[str, object], hardware: str = ""
) -> DiagnosticStatus:
    """One status; floats are written with three decimals."""
    pairs = [KeyValue(key=key, value=_written(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)


def make_array(statuses: Sequence[DiagnosticStatus], stamp_ns: int) -> DiagnosticArray:
    """Statuses of one moment (message clock) [ns]."""
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = to_stamp(stamp_ns)
    return message


def spread_out(figures: Mapping[str, Mapping[str, float]], unit: str) -> dict[str, float]:
    """name -> percentile -> value, as flat values `name_UNIT_p50` ..."""
    return {f"{name}_{unit}_{key}": value for name, row in figures.items() for key, value in row.items()}


def latency_message(
    stages_ms: Mapping[str, float], engine: str, caption: str, stamp_ns: int
) -> DiagnosticArray:
    """Stage -> time it took [ms], as one status with values named STAGE_ms; `engine` is the hardware id."""
    values = {f"{stage}_ms": ms for stage, ms in stages_ms.items()}
    return make_array([make_status(LATENCY, OK, caption, values, engine)], stamp_ns)


def latency_from_message(message: DiagnosticArray) -> dict[str, float] | None:
    """The stages of `latency_message` [ms]; nothing if the message is about something else."""
    for status in message.status:
        if status.name == LATENCY:
            return {pair.key.removesuffix("_ms"): float(pair.value) for pair in status.values}
    return None


def camera_message(guard: CameraInfoGuard, stamp_ns: int) -> DiagnosticArray:
    """What is known of every camera: ERROR if one is not as calibrated, WARN if one has not told yet."""
    level, text = OK, "as calibrated"
    if guard.problems:
        level, text = ERROR, next(iter(guard.problems.values()))
    elif guard.unheard:
        level, text = WARN, f"no camera_info yet from {', '.join(guard.unheard)}"
    return make_array([make_status(CAMERAS, level, text, guard.verdicts)], stamp_ns)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
