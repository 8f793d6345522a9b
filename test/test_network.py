"""Properties of the network: equal to stock Wan at the start, one-way coupling, views exchanged in training."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")

from diffusers import WanTransformer3DModel  # noqa: E402
from model_fixtures import small_model  # noqa: E402

from wallwm_model.network.action import Timing  # noqa: E402
from wallwm_model.network.codec import PatchCodec  # noqa: E402
from wallwm_model.network.model import network_pictures  # noqa: E402
from wallwm_model.network.video import MultiViewWan  # noqa: E402
from wallwm_model.train.kinematics import pinch_points  # noqa: E402

pytestmark = pytest.mark.train

WAN = dict(
    patch_size=(1, 2, 2),
    num_attention_heads=2,
    attention_head_dim=24,
    in_channels=4,
    out_channels=4,
    text_dim=16,
    freq_dim=32,
    ffn_dim=64,
    num_layers=3,
    rope_max_seq_len=32,
)
NEW = ("cross_view", "view_angles")


def stock_and_ours(views: int):
    torch.manual_seed(0)
    stock = WanTransformer3DModel(**WAN).eval()
    ours = MultiViewWan(views=views, **WAN).eval()
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected
    assert missing and all(any(part in key for part in NEW) for key in missing)
    for block in ours.blocks:
        block.reset_cross_view()
    return stock, ours


@pytest.mark.parametrize("views", [1, 3])
def test_equals_stock_wan_bit_for_bit_at_initialisation(views):
    stock, ours = stock_and_ours(views)
    latents = torch.randn(2, views, 4, 3, 8, 8)
    text, timestep = torch.randn(2, 7, 16), torch.tensor([3.0, 800.0])
    with torch.no_grad():
        found = ours(latents, timestep, text)
        # The views are batch items of the stock model: matrix kernels may round by batch size.
        expected = stock(
            latents.flatten(0, 1),
            timestep.repeat_interleave(views),
            text.repeat_interleave(views, 0),
            return_dict=False,
        )[0]
    assert torch.equal(found.flatten(0, 1), expected)


def test_views_exchange_information_once_the_branch_is_open():
    _, ours = stock_and_ours(3)
    latents, text, timestep = torch.randn(1, 3, 4, 2, 8, 8), torch.randn(1, 7, 16), torch.tensor([500.0])
    other = latents.clone()
    other[:, 2] += 1.0
    with torch.no_grad():
        assert torch.equal(ours(latents, timestep, text)[:, 0], ours(other, timestep, text)[:, 0])
        for block in ours.blocks:
            torch.nn.init.normal_(block.cross_view_out.weight, std=0.1)
        assert not torch.allclose(ours(latents, timestep, text)[:, 0], ours(other, timestep, text)[:, 0])


def test_permuting_cameras_with_their_table_permutes_the_output():
    _, ours = stock_and_ours(3)
    for block in ours.blocks:
        torch.nn.init.normal_(block.cross_view_out.weight, std=0.1)
    order = [2, 0, 1]
    latents, text, timestep = torch.randn(1, 3, 4, 2, 8, 8), torch.randn(1, 7, 16), torch.tensor([500.0])
    with torch.no_grad():
        expected = ours(latents, timestep, text)[:, order]
        ours.view_angles.copy_(ours.view_angles[order].clone())
        assert torch.allclose(ours(latents[:, order], timestep, text), expected, atol=1e-5)


def looked(model, batch: int, **more):
    """One look at random pictures."""
    images = torch.randint(0, 255, (batch, 3, 64, 64, 3), dtype=torch.uint8)
    text = model.video.captions(torch.ones(batch, 16, dtype=torch.int64))
    return model.video(network_pictures(images), text, **more)


def read(model, world):
    """Its keys and values for the action tower, in event mode."""
    index = torch.zeros(len(world.remaining), dtype=torch.int64)
    return model.action.read_video(world.states, world.tau, index, world.groundings[-1].end)


def timing(length: float, batch: int = 1) -> Timing:
    return Timing(torch.full((batch,), length), torch.zeros(batch, dtype=torch.int64))


def test_action_gradients_never_enter_the_video_tower():
    model = small_model()
    video = read(model, looked(model, 2))
    noisy, t = torch.randn(2, 10, 14), torch.rand(2, 10)
    out = model.action(noisy, t, video, torch.randn(2, 14), timing(10.0, 2), None)
    out.square().sum().backward()
    assert all(p.grad is None for p in model.video.parameters())
    assert all(p.grad is not None for p in model.action.blocks[0].video_kv.parameters())


def test_padding_steps_do_not_change_the_event():
    model = small_model()
    with torch.no_grad():
        video, state = read(model, looked(model, 1)), torch.randn(1, 14)
        noisy, t = torch.randn(1, 32, 14), torch.full((1, 32), 0.7)
        mask = (torch.arange(32) < 20)[None, None, None]
        padded = model.action(noisy, t, video, state, timing(20.0), mask)[:, :20]
        exact = model.action(noisy[:, :20], t[:, :20], video, state, timing(20.0), None)
    assert torch.allclose(padded, exact, atol=1e-5)


def test_every_step_has_a_noise_level_of_its_own():
    model = small_model()
    with torch.no_grad():
        video, state = read(model, looked(model, 1)), torch.randn(1, 14)
        noisy, t = torch.randn(1, 12, 14), torch.full((1, 12), 0.7)
        plain = model.action(noisy, t, video, state, timing(12.0), None)
        t[0, 3] = 0.0
        assert not torch.allclose(model.action(noisy, t, video, state, timing(12.0), None), plain, atol=1e-5)


def test_future_latents_are_predicted_per_view_and_frame():
    model, noisy = small_model(), torch.randn(2, 3, 16, 2, 8, 8)
    world = looked(model, 2, noisy=noisy, t=torch.rand(2))
    assert world.velocity.shape == noisy.shape
    assert world.remaining.shape == (2,)


def test_the_past_is_read_and_the_future_only_when_asked_for():
    model, patches = small_model(), 16
    past, noisy, t = torch.randn(1, 3, 16, 1, 8, 8), torch.randn(1, 3, 16, 2, 8, 8), torch.rand(1)
    first = 3 * (model.config.extras + patches)
    with torch.no_grad():
        assert looked(model, 1).states[0].shape[1] == first
        world = looked(model, 1, history=past, noisy=noisy, t=t)
        assert world.states[0].shape[1] == len(world.tau) == first + 3 * patches
        assert sorted(set(world.tau.tolist())) == [-1, 0] and world.velocity.shape == noisy.shape
        whole = looked(model, 1, history=past, noisy=noisy, t=t, read_future=True)
        assert sorted(set(whole.tau.tolist())) == [-1, 0, 1, 2]
        assert read(model, whole).shape[2] == first + 3 * 3 * patches + 1, "and where the event ends"


def test_padded_latents_are_attended_by_nothing():
    model, noisy, t = small_model(), torch.randn(2, 3, 16, 2, 8, 8), torch.rand(2)
    other, lengths = noisy.clone(), torch.tensor([[1, 1, 1], [2, 0, 1]])
    padded = torch.arange(2) >= lengths[..., None]
    other.movedim(3, 2)[padded] += 1
    with torch.no_grad():
        torch.manual_seed(0)
        world = looked(model, 2, noisy=noisy, t=t, lengths=lengths)
        torch.manual_seed(0)
        again = looked(model, 2, noisy=other, t=t, lengths=lengths)
        torch.manual_seed(0)
        whole = looked(model, 2, noisy=other, t=t)
    assert torch.equal(world.velocity, again.velocity) and torch.equal(world.states[-1], again.states[-1])
    assert (world.velocity.movedim(3, 2)[padded] == 0).all() and (world.velocity.movedim(3, 2)[~padded] != 0).any()
    assert not torch.allclose(world.states[-1], whole.states[-1], atol=1e-5), "unless they count"


def test_every_token_is_told_which_latent_frame_it_is_of():
    model, patches, extras = small_model(), 16, small_model().config.extras
    past, noisy, t = torch.randn(1, 3, 16, 1, 8, 8), torch.randn(1, 3, 16, 2, 8, 8), torch.rand(1)
    with torch.no_grad():
        world = looked(model, 1, history=past, noisy=noisy, t=t, read_future=True)
    view = [0] * (extras + patches) + [frame for frame in (-1, 1, 2) for _ in range(patches)]
    assert world.tau.tolist() == 3 * view
    plain = read(model, world)
    world.tau = -world.tau.clamp(-1, 1)
    assert not torch.allclose(read(model, world), plain, atol=1e-5)


def test_every_action_layer_reads_its_own_video_layer():
    model = small_model()
    with torch.no_grad():
        world = looked(model, 1)
        plain = read(model, world)
        for layer in range(len(world.states)):
            states = list(world.states)
            world.states[layer] = states[layer] + torch.randn_like(states[layer])
            moved = [not torch.equal(a, b) for a, b in zip(read(model, world), plain)]
            assert moved == [i == layer for i in range(len(states))]
            world.states = states


def test_a_step_belongs_to_the_latent_frame_in_which_it_is_seen():
    tower, noisy = small_model().action, torch.zeros(1, 64, 14)
    with torch.no_grad():
        plain = tower._clock(noisy, timing(64.0))
        for frame in (1, 2, 4):
            tower.frame.weight[frame] += 1
            moved = (tower._clock(noisy, timing(64.0)) != plain).any(-1)[0]
            tower.frame.weight[frame] -= 1
            wanted = torch.arange(64) // tower.steps_per_latent + 1 == frame
            assert torch.equal(moved, wanted)


def test_codec_follows_the_causal_rule_and_restores_what_it_was_fitted_on():
    torch.manual_seed(0)
    scene = torch.rand(6, 3, 1, 8, 8).repeat_interleave(4, -1).repeat_interleave(4, -2) * 2 - 1
    codec = PatchCodec(16, 8)
    codec.fit(scene, scene.repeat(1, 1, 4, 1, 1))
    video = scene.repeat(1, 1, 9, 1, 1)
    latents = codec.encode(video)
    assert latents.shape == (6, 16, 3, 4, 4)
    assert torch.allclose(codec.decode(latents), video, atol=1e-3)
    later = video.clone()
    later[:, :, 5:] = 0
    assert torch.equal(codec.encode(later)[:, :, :2], latents[:, :, :2])


def test_torch_kinematics_equals_the_simulators():
    import numpy as np

    from wallwm_model.sim.kinematics import forward

    joints = np.random.default_rng(0).uniform(-1, 1, (5, 7, 14))
    found = pinch_points(torch.from_numpy(joints).double())
    assert np.allclose(found.numpy(), forward(joints)[0], atol=1e-9)
