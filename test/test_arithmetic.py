"""The page of arithmetic says what its script counts, and the script counts what the network has."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import arithmetic
from wallwm_model.network.config import preset

PAGE = Path(__file__).resolve().parents[1] / "docs" / "arithmetic.md"


def test_the_page_carries_the_script_s_tables():
    assert arithmetic.tables() in PAGE.read_text(encoding="utf-8")
    for device in arithmetic.DEVICES.values():
        assert device.source in PAGE.read_text(encoding="utf-8").replace("\n", " ")


@pytest.mark.train
def test_weights_are_those_of_the_network():
    pytest.importorskip("torch")
    from wallwm_model.network.action import ActionTower
    from wallwm_model.network.presets import build_tower, parameters

    config = preset(arithmetic.PRESET)
    blocks = build_tower(config, "meta").blocks
    assert sum(map(parameters, blocks)) == pytest.approx(arithmetic.tower_weights(config), rel=0.05)
    import torch

    with torch.device("meta"):
        tower = ActionTower(config, 14, arithmetic.HORIZON, 16)
    counted = arithmetic.action_weights(config) + config.layers * 2 * config.width * config.action_width
    assert parameters(tower) == pytest.approx(counted, rel=0.08)


@pytest.mark.train
@pytest.mark.parametrize("past", [0, 1])
def test_operations_are_those_that_torch_counts(past):
    """On the nano, beside torch's own counter; stem, heads and embeddings are left out of the formula."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from wallwm_model.network.video import MultiViewWan

    config = preset("nano")
    torch.manual_seed(0)
    tower = MultiViewWan(views=config.views, **config.wan).eval()
    frames, words = 1 + past, arithmetic.WORDS + arithmetic.THINGS
    side = config.image // config.latent_stride
    latents = torch.randn(1, config.views, config.latent_channels, frames, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tower(latents, torch.tensor([0.0]), torch.randn(1, words, config.text_width))
    bare = arithmetic.replace(config, queries=-1)  # without the extra tokens, which the bare tower lacks
    found = arithmetic.observe(bare, past).operations
    read = (
        2
        * config.layers
        * (config.views * (config.patches + past * config.patches) + 1)
        * 2
        * config.width
        * config.action_width
    )
    assert found - read == pytest.approx(counter.get_total_flops(), rel=0.15)
