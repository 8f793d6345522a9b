"""Diagnostics of one stream of pictures or joint states."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from wallwm_ros.bridge.diagnostics import ERROR, OK, STALE, WARN, make_status
from wallwm_ros.core.stream_report import StreamReport, Trend

SECOND = 1_000_000_000
LATELY_NS = 10 * SECOND
SILENT_NS = SECOND  # a stream that has sent nothing for so long is STALE rather than wrong
LOSSY = 0.05  # share of missed samples that is worth a warning


class StreamDiagnostics:
    """Turns reports into statuses; remembers counts, to tell what has happened lately.

    Args:
        prefix: of the names, e.g. `policy_node: stream `.
        hardware: what the streams belong to.
    """

    def __init__(self, prefix: str, hardware: str) -> None:
        self._prefix, self._hardware = prefix, hardware
        self._trends: dict[str, Trend] = {}

    def status(self, report: StreamReport, steady_ns: int) -> DiagnosticStatus:
        """OK; WARN: some were lost lately, or not sure yet; ERROR: not to be used; STALE: nothing comes."""
        trend = self._trends.setdefault(report.name, Trend(LATELY_NS))
        level, text = _judged(report)
        lost = _lost(report, trend, steady_ns)
        if level == OK and lost:
            level, text = WARN, lost
        values = {
            "verdict": report.verdict.kind if report.verdict else "sound",
            "age_ms": "none" if report.age_ns is None else report.age_ns / 1e6,
            "waited_ms": "none" if report.waited_ns is None else report.waited_ns / 1e6,
            "rate_hz": report.rate_hz,
            "received": report.tally.received,
            "refused": report.tally.refused,
            "missed": report.tally.missed,
            "late": report.tally.late,
            "identical": report.tally.identical,
        }
        return make_status(self._prefix + report.name, level, text, values, self._hardware)


def _judged(report: StreamReport) -> tuple[bytes, str]:
    verdict = report.verdict
    if verdict is None:
        return OK, f"sound, {report.rate_hz:.1f} Hz"
    if verdict.kind == "early":
        return WARN, verdict.text
    silent = report.waited_ns is None or report.waited_ns > SILENT_NS
    return (STALE if silent and verdict.kind in ("missing", "stale") else ERROR), verdict.text


def _lost(report: StreamReport, trend: Trend, steady_ns: int) -> str:
    """What was lost lately, if that is worth a warning."""
    lately = trend.since(steady_ns, report.tally)
    due = lately.received + lately.missed
    parts = [f"{lately.missed} of {due} missed"] if lately.missed > LOSSY * due else []
    parts += [f"{lately.refused} of {due} refused"] if lately.refused else []
    if not parts:
        return ""
    return f"{' and '.join(parts)} in the last {LATELY_NS // SECOND} s"
