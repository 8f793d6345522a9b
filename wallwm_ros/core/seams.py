"""How chunks joined lately: the size of every seam, and the rows that came too late."""

from __future__ import annotations

from wallwm_ros.core.control_state import Status
from wallwm_ros.core.window import Stages


class Seams:
    """Follows the controller's reports; a join is complete when the next one begins.

    Args:
        span_ns: of the window that sizes are remembered for [ns].

    Attributes:
        joins, dropped: chunks that have joined, and rows of theirs that were due already, so far.
    """

    def __init__(self, span_ns: int) -> None:
        self._sizes = Stages(span_ns)
        self._chunk: tuple[int, int] | None = None
        self._present: dict[str, float] = {}
        self._counted = 0  # of the present chunk's late rows
        self.joins = self.dropped = 0

    def hear(self, now_ns: int, status: Status) -> None:
        """The controller reports, at `now_ns` of the steady clock."""
        chunk = status.generation, status.sequence
        if chunk != self._chunk:
            self._complete(now_ns)
            self.joins += self._chunk is not None
            self._chunk, self._present, self._counted = chunk, {}, 0
        self.dropped += max(status.dropped_steps - self._counted, 0)
        self._counted = max(status.dropped_steps, self._counted)
        for name in ("velocity", "acceleration"):
            size = getattr(status, f"seam_{name}")
            self._present[name] = max(size, self._present.get(name, 0.0))

    def sizes(self, now_ns: int) -> dict[str, dict[str, float]]:
        """`velocity` and `acceleration` -> percentiles of the window, as shares of the limits."""
        return self._sizes.percentiles(now_ns)

    def _complete(self, now_ns: int) -> None:
        if self.joins and self._present:
            self._sizes.add(now_ns, self._present)
