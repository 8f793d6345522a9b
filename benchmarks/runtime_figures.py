"""Quantiles, named alike everywhere."""

from __future__ import annotations

from collections.abc import Sequence

SHARES = {"p50": 0.5, "p99": 0.99}


def quantile(values: Sequence[float], share: float) -> float:
    """Value at or below which this share of the values lies: one that occurred, none in between."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def summary(values: Sequence[float], unit: str = "ms", **shares: float) -> dict[str, float]:
    """`ms_p50`, `ms_p99`, what is asked for besides, `ms_max` and `n` of one value or more."""
    found = {f"{unit}_{name}": quantile(values, share) for name, share in (SHARES | shares).items()}
    return found | {f"{unit}_max": max(values), "n": len(values)}
