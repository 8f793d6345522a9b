"""The sampler integrates the straight flow exactly when the clean estimate is exact."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_model.flow import euler, schedule


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_exact_estimate_is_reached_in_any_number_of_steps(steps):
    clean = np.arange(6.0).reshape(2, 3)
    noise = np.random.default_rng(0).standard_normal((2, 3))
    assert np.allclose(euler(lambda x, t: clean, noise, steps), clean)


def test_gaussian_target_keeps_its_spread():
    """For data N(0, s^2) the best estimate is known; the flow must carry N(0, 1) to N(0, s^2)."""
    s = 0.5

    def best(x, t):
        return x * (1 - t) * s**2 / ((1 - t) ** 2 * s**2 + t**2)

    noise = np.random.default_rng(0).standard_normal(20000)
    assert euler(best, noise, 200).std() == pytest.approx(s, rel=0.03)


def test_schedule_runs_from_noise_to_clean():
    levels = schedule(5)
    assert levels[0] == 1 and levels[-1] == 0 and np.all(np.diff(levels) < 0)
