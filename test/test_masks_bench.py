"""The masks' benchmark runs, small, and tells good masks from bad ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from wallwm_model.geometry import SightMasks, rigs


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "masks.py"
    spec = importlib.util.spec_from_file_location("benchmark_masks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_surface_point_that_two_cameras_see_is_forbidden(bench):
    pytest.importorskip("mujoco")
    found = bench.rendered(4)
    assert found["nano"]["recall"] == found["wan"]["recall"] == 1.0
    assert found["nano"]["pairs"] > 100 and found["wan"]["pairs"] > 5000


def test_a_mask_that_forbids_a_shared_view_is_found_out(bench, monkeypatch):
    class Blinkered(SightMasks):
        def update(self, poses):
            mask = super().update(poses).copy()
            mask[:16, 16:32] = mask[16:32, :16] = False
            return mask

    monkeypatch.setattr(bench, "SightMasks", Blinkered)
    figures = bench.brute_force(1)
    assert figures["mask_recall"] < 1 and figures["missed_pairs"] > 10


def test_run_reports_every_figure_and_its_progress(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "WAN", (6, 8))
    steps = []
    result = bench.run(rigs_count=1, scenes=0, updates=2, on_progress=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    assert result["mask_recall"] == 1.0 and result["mask_precision"] > 0.9
    assert result["rendered"] is None
    for key in ("mask_ms", "mask_ms_one_arm", "cone_ms"):
        assert set(result[key]) == {"nano", "wan"} and min(result[key].values()) > 0
    bench.table(result)
    assert "cone (the report's)" in capsys.readouterr().out


def test_the_torch_versions_do_the_same_work():
    pytest.importorskip("torch")
    from wallwm_model.eval import sight_torch

    rng = np.random.default_rng(3)
    for place in ("robot", "opposite"):
        rig = rigs.random_rig(rng, place=place)
        cone = SightMasks(rig.cameras, (4, 4), "cone").update(rig.poses)
        theirs = sight_torch.cones(*sight_torch.cone_inputs(rig, (4, 4))).numpy()
        assert (theirs == cone).mean() > 0.97  # which of two cones comes first is left open
        frustum = SightMasks(rig.cameras, (4, 4)).update(rig.poses)
        theirs = sight_torch.hexahedra(*sight_torch.hexahedron_inputs(rig, (4, 4))).numpy()
        assert theirs[frustum].all() and theirs.sum() < 1.4 * frustum.sum()
