"""The benchmark of the calibration tools, with one rig."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from wallwm_model.errors import CalibrationError
from wallwm_model.sim.calibration_rig import random_rig

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "calibration_tools.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("calibration_tools_bench", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_fisheye_rig_is_measured_within_the_aims(bench):
    seen = []
    figures = bench.run(rigs=1, views=16, poses=12, seed=6, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 1)] and figures["rigs_refused"] == 0 and figures["aims_hold"]
    for key, aim in bench.AIMS.items():
        assert 0 < figures[key] <= aim
    (row,) = figures["table"]
    assert row["model"] == "equidistant" and row["views_used"] >= 14 and row["poses_used"] >= 10


def test_a_benchmark_without_a_single_calibrated_rig_has_no_figures(bench):
    with pytest.raises(CalibrationError, match="too few views"):
        bench.run(rigs=1, views=2, poses=1)


def test_rigs_differ_and_every_lens_and_camera_comes_up():
    rigs = [random_rig(seed) for seed in range(20)]
    models = [rig.lens.model for rig in rigs]
    assert [models.count(m) for m in ("plumb_bob", "equidistant", "rational_polynomial")] == [8, 8, 4]
    assert {rig.camera for rig in rigs} == {"head_cam", "wrist_cam_left", "wrist_cam_right"}
    assert len({float(rig.lens.K[0, 0]) for rig in rigs}) == 20
    again = random_rig(7)
    np.testing.assert_array_equal(again.X, rigs[7].X)
