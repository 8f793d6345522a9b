"""The model benchmark's own parts: parity with stock Wan and the table of sizes."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from rich.console import Console  # noqa: E402

from wallwm_ros.cli import bench  # noqa: E402

pytestmark = pytest.mark.train


def test_parity_is_measured_case_by_case():
    found = bench.part("model").parity(lambda what: None, quick=True)
    assert found["wan_bit_equal"] is True and len(found["wan_bit_equal_cases"]) == 4


def test_parity_notices_a_difference(monkeypatch):
    """An open branch is no longer stock Wan: the check has to say so."""
    import torch

    from wallwm_model.network import presets

    stock = presets.load_wan

    def opened(tower, source, **options):
        made = stock(tower, source, **options)
        torch.nn.init.normal_(made.blocks[0].cross_view_out.weight, std=0.1)
        return made

    monkeypatch.setattr(presets, "load_wan", opened)
    assert bench.part("model").parity(lambda what: None, quick=True)["wan_bit_equal"] is False


def test_large_presets_have_the_public_sizes_within_what_file_sizes_tell():
    model = bench.part("model")
    sizes = model.sizes(lambda what: None)
    assert all(row["stock_keys"] for row in sizes.values())
    compared = 0
    for row in sizes.values():
        for part, (_, published) in model.PARTS.items():
            if published in row:
                assert row[part] == pytest.approx(row[published], rel=0.005)
                compared += 1
    assert compared == 5
    out = io.StringIO()
    model.show({"parameters": sizes, "wan_bit_equal_cases": {"nano": True}}, Console(file=out, width=80))
    assert "4,999,787,712" in out.getvalue() and "1,418,996,800" in out.getvalue()
