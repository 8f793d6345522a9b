"""The multi-view tower: stock Wan at the start, cameras as rows of one table, masks and borders that hold."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")

from diffusers import WanTransformer3DModel  # noqa: E402

from wallwm_model.errors import SpecError  # noqa: E402
from wallwm_model.network.presets import is_new, load_wan  # noqa: E402
from wallwm_model.network.video import MultiViewWan  # noqa: E402
from wallwm_model.network.views import valid_tokens  # noqa: E402

pytestmark = pytest.mark.train

WAN = dict(
    patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=4, out_channels=4,
    text_dim=16, freq_dim=32, ffn_dim=64, num_layers=2, rope_max_seq_len=32,
)  # fmt: skip
FRAMES, PATCHES = 3, 16  # of 8 x 8 latents


def tower(views: int, *, opened: bool, seed: int = 0) -> MultiViewWan:
    """Random weights; `opened` also those of the cross-view branch."""
    torch.manual_seed(seed)
    made = MultiViewWan(views=views, **WAN).eval()
    if opened:
        for block in made.blocks:
            torch.nn.init.normal_(block.cross_view_out.weight, std=0.2)
    return made


def inputs(views: int, batch: int = 1, seed: int = 1) -> tuple:
    made = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, views, 4, FRAMES, 8, 8, generator=made)
    return latents, torch.linspace(500, 3, batch), torch.randn(batch, 7, 16, generator=made)


def sights(views: int, seed: int = 2):
    """A random mask that is symmetric and always lets a view see itself."""
    made = torch.Generator().manual_seed(seed)
    size = views * PATCHES
    mask = torch.rand(1, FRAMES, size, size, generator=made) < 0.5
    own = torch.arange(size) // PATCHES
    return mask & mask.transpose(-1, -2) | (own[:, None] == own)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("per_token", [False, True])
def test_equals_stock_wan_bit_for_bit_at_the_start(views, per_token):
    torch.manual_seed(0)
    stock = WanTransformer3DModel(**WAN).eval()
    ours = load_wan(tower(views, opened=False, seed=5), stock.state_dict())
    latents, timestep, text = inputs(views, batch=2)
    if per_token:  # Wan2.2's conditioning on clean first frames
        timestep = timestep[:, None].repeat(1, FRAMES * PATCHES)
        timestep[:, :PATCHES] = 0
    with torch.no_grad():
        found = ours(latents, timestep, text)
        expected = stock(
            latents.flatten(0, 1),
            timestep.repeat_interleave(views, 0),
            text.repeat_interleave(views, 0),
            return_dict=False,
        )[0]
    assert torch.equal(found.flatten(0, 1), expected)


def test_equal_noise_levels_per_token_are_one_level():
    ours = tower(3, opened=True)
    latents, timestep, text = inputs(3)
    with torch.no_grad():
        one = ours(latents, timestep, text)
        each = ours(latents, timestep[:, None].repeat(1, FRAMES * PATCHES), text)
    assert torch.allclose(one, each, atol=1e-5)


def test_a_camera_more_changes_only_the_table():
    two, three = tower(2, opened=True), tower(3, opened=True)
    shapes = {name: tensor.shape for name, tensor in two.state_dict().items()}
    other = {name for name, tensor in three.state_dict().items() if tensor.shape != shapes[name]}
    assert other == {"view_angles"} and shapes.keys() == three.state_dict().keys()
    weights = two.state_dict() | {"view_angles": torch.cat([two.view_angles, torch.full((1, 4), 0.7)])}
    three.load_state_dict(weights)
    latents, timestep, text = inputs(3)
    away = valid_tokens(torch.tensor([[FRAMES, FRAMES, 0]]), FRAMES, (4, 4))
    with torch.no_grad():
        alone = two(latents[:, :2], timestep, text)
        beside = three(latents, timestep, text)[:, :2]
        missing = three(latents, timestep, text, valid=away)
    assert torch.allclose(missing[:, :2], alone, atol=1e-5)
    assert not torch.allclose(beside, alone, atol=1e-3)
    assert not missing[:, 2].any()


def test_permuting_cameras_with_their_table_permutes_the_output():
    ours, order = tower(3, opened=True), [2, 0, 1]
    latents, timestep, text = inputs(3)
    mask = sights(3)
    moved = mask.unflatten(-1, (3, -1)).unflatten(-3, (3, -1))[:, :, order][:, :, :, :, order]
    moved = moved.flatten(-2).flatten(2, 3)
    with torch.no_grad():
        expected = ours(latents, timestep, text, masks=mask)[:, order]
        stays = ours(latents[:, order], timestep, text, masks=moved)
        ours.view_angles.copy_(ours.view_angles[order].clone())
        found = ours(latents[:, order], timestep, text, masks=moved)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(stays, expected, atol=1e-3), "the table must matter"


def test_a_mask_changes_nothing_while_the_branch_is_closed():
    ours = tower(3, opened=False)
    with torch.no_grad():
        assert torch.equal(ours(*inputs(3), masks=sights(3)), ours(*inputs(3)))


def test_a_mask_changes_cross_view_paths_only():
    """Changing one token's row in the last block changes that token alone."""
    ours = tower(3, opened=True)
    torch.nn.init.zeros_(ours.blocks[0].cross_view_out.weight)
    # After the last exchange nothing mixes tokens any more, so that each row shows in its own output only.
    latents, timestep, text = inputs(3)
    one, other = sights(3, seed=2), sights(3, seed=2)
    row = 5  # a patch of the first view, on the middle frame
    other[:, 1, row, PATCHES:] = ~other[:, 1, row, PATCHES:]
    with torch.no_grad():
        before, after = (ours(latents, timestep, text, masks=mask) for mask in (one, other))
    changed = (before != after).any(2)[0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).any(-1).flatten(2)
    expected = torch.zeros(3, FRAMES, PATCHES, dtype=torch.bool)
    expected[0, 1, row] = True
    assert torch.equal(changed, expected)


def test_views_that_see_nothing_in_common_do_not_reach_each_other():
    ours = tower(3, opened=True)
    latents, timestep, text = inputs(3)
    own = torch.arange(3 * PATCHES) // PATCHES
    mask = (own[:, None] == own).expand(1, FRAMES, -1, -1)
    other = latents.clone()
    other[:, 2] += 1
    with torch.no_grad():
        before, after = (ours(x, timestep, text, masks=mask) for x in (latents, other))
    assert torch.equal(before[:, :2], after[:, :2]) and not torch.equal(before[:, 2], after[:, 2])


def test_a_shorter_video_is_as_if_it_had_been_cut():
    ours = tower(1, opened=True)
    latents, timestep, text = inputs(1)
    valid = valid_tokens(torch.tensor([[2]]), FRAMES, (4, 4))
    with torch.no_grad():
        padded = ours(latents, timestep, text, valid=valid)
        cut = ours(latents[:, :, :, :2], timestep, text)
    assert torch.allclose(padded[:, :, :, :2], cut, atol=1e-5)
    assert not padded[:, :, :, 2:].any()


def test_padding_is_never_attended_to_in_any_view():
    """Per-view lengths and picture sizes: what lies beyond them may be anything, even not a number."""
    ours = tower(3, opened=True)
    latents, timestep, text = inputs(3)
    lengths, sizes = torch.tensor([[3, 1, 2]]), torch.tensor([[[4, 4], [4, 4], [3, 2]]])
    valid = valid_tokens(lengths, FRAMES, (4, 4), sizes)
    assert valid.sum((-1, -2)).tolist() == [[3 * 16, 16, 2 * 6]]
    other = latents.clone()
    other[:, 1, :, 1:] = torch.nan
    other[:, 2, :, 2:] = 1e6
    other[:, 2, :, :, 6:] = -1e6
    other[:, 2, :, :, :, 4:] = torch.nan
    with torch.no_grad():
        before = ours(latents, timestep, text, masks=sights(3), valid=valid)
        after = ours(other, timestep, text, masks=sights(3), valid=valid)
        whole = ours(latents, timestep, text, masks=sights(3))
    assert before.isfinite().all() and torch.equal(before, after)
    assert not torch.allclose(before[:, 0], whole[:, 0], atol=1e-3)
    assert before[:, 2, :, :2, :6, :4].ne(0).all() and not before[:, 2, :, :, 6:].any()


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(latents=torch.zeros(1, 2, 4, 3, 8, 8)), "latents must be (B, 3, 4, F, h, w)"),
        (dict(latents=torch.zeros(1, 3, 4, 3, 8, 7)), "w of 2; found shape (1, 3, 4, 3, 8, 7)"),
        (dict(timestep=torch.zeros(1, 5)), "timestep must have shape (1,) or (1, 48)"),
        (dict(text=torch.zeros(1, 7, 8)), "text must have shape (1, 7, 16); found (1, 7, 8)"),
        (dict(masks=torch.ones(1, 1, 48, 48)), "masks must have shape (1, 3, 48, 48)"),
        (dict(valid=torch.ones(1, 3, 16, dtype=torch.bool)), "valid must have shape (1, 3, 3, 16)"),
    ],
)
def test_nothing_is_broadcast_silently(change, said):
    latents, timestep, text = inputs(3)
    with pytest.raises(SpecError) as error:
        tower(3, opened=False)(**dict(latents=latents, timestep=timestep, text=text) | change)
    assert said in str(error.value)


def test_lengths_beyond_the_video_are_refused():
    with pytest.raises(SpecError, match=r"lengths of the views must be in 0..3; found 1..4"):
        valid_tokens(torch.tensor([[4, 1]]), FRAMES, (4, 4))
    with pytest.raises(SpecError, match=r"sizes' columns of the views must be in 0..4; found 5..5"):
        valid_tokens(torch.tensor([[1]]), FRAMES, (4, 4), torch.tensor([[[4, 5]]]))


def test_only_the_branch_is_new():
    stock = WanTransformer3DModel(**WAN).state_dict().keys()
    ours = tower(2, opened=False).state_dict().keys()
    assert stock <= ours and ours - stock == {name for name in ours if is_new(name)}
