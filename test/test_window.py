"""Percentiles over a sliding window."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_ros.core.window import Window

SECOND = 1_000_000_000


def test_percentiles_are_those_of_all_values_of_the_window():
    rng, window = np.random.default_rng(5), Window(10 * SECOND)
    values = rng.exponential(20.0, 1000)
    for i, value in enumerate(values):
        window.add(i * SECOND // 100, value)
    found = window.percentiles(10 * SECOND - 1)
    assert found["p50"] == pytest.approx(np.median(values))
    assert found["p95"] == pytest.approx(np.quantile(values, 0.95))
    assert found["p99"] == pytest.approx(np.quantile(values, 0.99))
    assert found["max"] == values.max()


def test_what_is_older_than_the_window_does_not_count():
    window = Window(2 * SECOND)
    window.add(0, 1000.0)
    window.add(3 * SECOND, 1.0)
    window.add(4 * SECOND, 3.0)
    assert window.percentiles(4 * SECOND) == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0}
    assert window.percentiles(6 * SECOND + 1) == {}
    assert window.percentiles(9 * SECOND) == {}


def test_of_many_values_the_newest_count():
    window = Window(10**15, most=3)
    for i in range(10):
        window.add(i, float(i))
    assert window.values(10).tolist() == [7.0, 8.0, 9.0]
