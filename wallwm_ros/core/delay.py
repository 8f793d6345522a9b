"""How long an answer will take, from how long the last ones took."""

from __future__ import annotations

from collections import deque


class DelayEstimate:
    """A quantile of measured delays in which older ones count ever less.

    A spike is forgotten again, as it would not be in a lifetime's maximum, and a slow engine soon shows.

    Args:
        quantile: part of the weight that lies at or below the estimate.
        decay: weight of a delay against that of the one measured after it.
        depth: delays kept.
    """

    def __init__(self, quantile: float = 0.9, decay: float = 0.9, depth: int = 32) -> None:
        self._quantile, self._decay = quantile, decay
        self._delays: deque[int] = deque(maxlen=depth)  # newest first

    def add(self, delay_ns: int) -> None:
        """Take in a measured delay [ns]."""
        self._delays.appendleft(max(delay_ns, 0))

    @property
    def ns(self) -> int:
        """The estimate [ns]; 0 while nothing was measured."""
        weighted = sorted((delay, self._decay**age) for age, delay in enumerate(self._delays))
        wanted, seen = self._quantile * sum(weight for _, weight in weighted), 0.0
        for delay, weight in weighted:
            seen += weight
            if seen >= wanted:
                return delay
        return weighted[-1][0] if weighted else 0

    def steps(self, step_ns: int) -> int:
        """The estimate in whole steps of `step_ns` [ns], rounded up."""
        return -(-self.ns // step_ns)
