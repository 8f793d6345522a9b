"""Presets have Wan's public sizes; public checkpoints load, and others are refused in one sentence."""

from __future__ import annotations

import json
import re

import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")

from diffusers import WanTransformer3DModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from wallwm_model.errors import SpecError  # noqa: E402
from wallwm_model.network.checkpoint import check_shapes  # noqa: E402
from wallwm_model.network.config import PRESETS, NetworkConfig, preset  # noqa: E402
from wallwm_model.network.presets import build_tower, is_new, load_wan, new_parameters, parameters  # noqa: E402

pytestmark = pytest.mark.train

# The public checkpoints: 1.3 B and 5 B by name; the first one's transformer is 5.68 GB of float32.
PUBLIC = {"wan2.1-1.3b": 1_418_996_800, "wan2.2-5b": 4_999_787_712}
TINY = NetworkConfig(views=2, image=32, layers=2, width=48, heads=2, ffn=64, latent_channels=4, text_width=16)


def stock(config: NetworkConfig, seed: int = 0):
    torch.manual_seed(seed)
    return WanTransformer3DModel(**config.wan).eval()


def checkpoint(folder, weights: dict, shards: int = 2) -> None:
    """A folder as diffusers writes it: shards and their index."""
    folder.mkdir(parents=True)
    names, where = list(weights), {}
    for shard in range(shards):
        file = f"diffusion_pytorch_model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name].contiguous() for name in names[shard::shards]}
        save_file(part, folder / file)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def inputs(config: NetworkConfig):
    size = config.image // config.latent_stride
    latents = torch.randn(1, config.views, config.latent_channels, 2, size, size)
    return latents, torch.tensor([400.0]), torch.randn(1, 5, config.text_width)


def test_an_unknown_preset_names_the_valid_ones():
    with pytest.raises(SpecError, match=re.escape("nano, small, wan2.1-1.3b, wan2.2-5b") + ".*; found 'wan3'"):
        preset("wan3")


@pytest.mark.parametrize(
    "sizes, said",
    [
        (dict(width=190), "width must be heads x"),
        (dict(image=72), "multiple of latent_stride x patch = 16 px"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(sizes, said):
    with pytest.raises(SpecError, match=said):
        NetworkConfig(**sizes)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_stock_wans_keys_and_the_branch(name):
    config = preset(name)
    with torch.device("meta"):
        public = WanTransformer3DModel(**config.wan)
    ours = build_tower(config, "meta")
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items() if not is_new(key)}
    assert shapes == {key: tensor.shape for key, tensor in public.state_dict().items()}
    assert parameters(ours) - new_parameters(ours) == parameters(public)
    if name in PUBLIC:
        assert parameters(public) == PUBLIC[name]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_sharded_checkpoint_makes_the_stock_model(tmp_path, device):
    public = stock(TINY)
    checkpoint(tmp_path / "transformer", public.state_dict())
    seen = []
    ours = load_wan(
        build_tower(TINY, device), tmp_path, progress=lambda done, of: seen.append((done, of))
    ).eval()
    assert seen[-1] == (len(public.state_dict()),) * 2
    latents, timestep, text = inputs(TINY)
    with torch.no_grad():
        expected = public(latents[0], timestep.repeat(2), text.repeat(2, 1, 1), return_dict=False)[0]
        assert torch.equal(ours(latents, timestep, text)[0], expected)
    block = ours.blocks[1]
    assert torch.equal(block.cross_view.to_q.weight, public.blocks[1].attn1.to_q.weight)
    assert torch.equal(block.cross_view_table, public.blocks[1].scale_shift_table[:, :3])
    assert not block.cross_view_out.weight.any()
    assert not any(tensor.is_meta for tensor in [*ours.parameters(), *ours.buffers()])


def test_half_precision_keeps_what_wan_keeps_in_float32():
    ours = load_wan(build_tower(TINY, "meta"), stock(TINY).state_dict(), dtype=torch.bfloat16)
    kinds = {name: parameter.dtype for name, parameter in ours.named_parameters()}
    assert kinds["blocks.0.attn1.to_q.weight"] == kinds["blocks.0.cross_view.to_q.weight"] == torch.bfloat16
    assert kinds["blocks.0.cross_view_out.weight"] == torch.bfloat16
    assert kinds["blocks.0.scale_shift_table"] == kinds["blocks.0.cross_view_table"] == torch.float32
    assert kinds["condition_embedder.time_embedder.linear_1.weight"] == torch.float32


def test_another_architecture_is_refused_in_one_sentence(tmp_path):
    wider = NetworkConfig(
        views=2, image=32, layers=2, width=96, heads=4, ffn=64, latent_channels=4, text_width=16
    )
    checkpoint(tmp_path / "wide", stock(wider).state_dict())
    tower = build_tower(TINY)
    before = tower.proj_out.weight.clone()
    with pytest.raises(SpecError) as error:
        load_wan(tower, tmp_path / "wide")
    message = str(error.value)
    assert "scale_shift_table (1, 2, 96) instead of (1, 2, 48)" in message and "\n" not in message
    assert torch.equal(tower.proj_out.weight, before), "nothing may be loaded before all was checked"


def test_missing_and_foreign_tensors_are_named():
    weights = stock(TINY).state_dict()
    del weights["proj_out.bias"]
    weights["lora.a"] = torch.zeros(1)
    with pytest.raises(SpecError, match=r"1 missing: proj_out.bias; 1 not expected: lora.a"):
        load_wan(build_tower(TINY), weights)


def test_long_lists_are_cut():
    with pytest.raises(SpecError, match=r"5 missing: t0, t1, t2 and 2 more$"):
        check_shapes({f"t{i}": (1,) for i in range(5)}, {}, "a file")


def test_folders_that_are_no_checkpoint_are_refused(tmp_path):
    tower = build_tower(TINY)
    with pytest.raises(SpecError, match="found no folder"):
        load_wan(tower, tmp_path / "nowhere")
    with pytest.raises(SpecError, match="found none in"):
        load_wan(tower, tmp_path)
    checkpoint(tmp_path / "half", stock(TINY).state_dict())
    (tmp_path / "half" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SpecError, match="missing diffusion_pytorch_model-00002-of-00002.safetensors"):
        load_wan(tower, tmp_path / "half")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(SpecError, match="must be a readable safetensors file"):
        load_wan(tower, tmp_path / "broken")
