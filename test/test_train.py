"""The training loop: what is frozen stays bit-identical, a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402

from wallwm_model.captions import caption, event_of  # noqa: E402
from wallwm_model.data.generate import FORMAT  # noqa: E402
from wallwm_model.errors import ConfigError, SpecError  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.loop import STAGES, Stage, TrainConfig, learning_rate  # noqa: E402
from wallwm_model.train.parallel import owners  # noqa: E402

pytestmark = pytest.mark.train

CONFIG = TrainConfig(steps=6, batch=3, draws=2, warmup=1, video_every=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty samples of random pictures in the layout that `wallwm data sim` writes."""
    rng, n = np.random.default_rng(0), 40
    out = tmp_path_factory.mktemp("data") / "shard_0000"
    out.mkdir()
    length = rng.integers(8, 60, n).astype(np.int16)
    n_frames = (1 + np.ceil(length / 4)).astype(np.int16)
    captions = [caption(rng.choice(["reach", "lift"]), arm=rng.choice(["left", "right"]), cube="red") for _ in range(n)]
    np.save(out / "frames.npy", rng.integers(0, 255, (int(n_frames.sum()), 3, 64, 64, 3), dtype=np.uint8))
    np.savez(
        out / "samples.npz",
        state=rng.standard_normal((n, 14)).astype(np.float32),
        actions=rng.standard_normal((n, 64, 14)).astype(np.float32),
        length=length,
        n_frames=n_frames,
        first=np.concatenate([[0], np.cumsum(n_frames[:-1])]).astype(np.int64),
        caption=np.array(captions),
        event=np.array([event_of(c) for c in captions]),
        seed=np.arange(100_000, 100_000 + n),
        ground_xyz=rng.standard_normal((n, 9, 3)).astype(np.float32),
        ground_mask=np.ones((n, 9), bool),
        ground_yaw=np.zeros((n, 4), np.float32),
        end_gripper=rng.standard_normal((n, 2, 3)).astype(np.float32),
    )
    (out.parent / "meta.json").write_text(json.dumps({"format": FORMAT, "shards": [out.name]}))
    return out.parent


def stage_of(name, folder, out):
    return Stage(name, small_model(), small_spec(), CONFIG, out), Loader(
        EventDataset(folder), small_spec(), batch=CONFIG.batch, seed=0
    )


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_freezes_stays_bit_identical(name, folder, tmp_path):
    stage, loader = stage_of(name, folder, tmp_path)
    frozen = stage.model.action if name == "video" else stage.model.video
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    trained = {k: v.clone() for k, v in stage.trained.state_dict().items()}
    stage.advance(loader)
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    changed = [k for k, v in stage.trained.state_dict().items() if not torch.equal(v, trained[k])]
    assert len(changed) > 0.8 * len(list(stage.trained.parameters()))


@pytest.mark.parametrize("name", STAGES)
def test_resumed_run_is_bit_equal(name, folder, tmp_path):
    whole, loader = stage_of(name, folder, tmp_path)
    for _ in range(2):
        whole.advance(loader)
    whole.save()
    for _ in range(2):
        whole.advance(loader)
    again, loader = stage_of(name, folder, tmp_path)
    again.resume()
    assert again.step == 2
    for _ in range(2):
        again.advance(loader)
    for kind in ("trained", "ema"):
        expected = getattr(whole, kind).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in getattr(again, kind).state_dict().items())


def test_loss_falls_on_what_is_seen_again_and_again(folder, tmp_path):
    stage, _ = stage_of("action", folder, tmp_path)

    class Same:
        batch = Loader(EventDataset(folder), small_spec(), batch=3, seed=0).at(0)

        def at(self, step, **_):
            return self.batch

    losses = [sum(stage.advance(Same()).values()) for _ in range(6)]
    assert np.mean(losses[3:]) < np.mean(losses[:3])


def test_mirrored_batch_swaps_sides_everywhere(folder):
    data = EventDataset(folder)
    loader, rows = Loader(data, small_spec(), batch=2, seed=0), data.rows[:2]
    frames = int(np.ceil(data.columns["length"][rows].max() / 16))
    plain = loader.collect(rows, frames, np.array([False, False]), video=True)
    flipped = loader.collect(rows, frames, np.array([True, True]), video=True)
    assert torch.equal(flipped.images[:, 0], plain.images[:, 0].flip(2))
    assert torch.equal(flipped.images[:, 1], plain.images[:, 2].flip(2))
    assert torch.equal(flipped.future[:, 2], plain.future[:, 1].flip(3))
    assert torch.allclose(flipped.position[:, 0], plain.position[:, 0] * torch.tensor([1.0, -1, 1]))
    assert torch.allclose(flipped.end[:, 0], plain.end[:, 1] * torch.tensor([1.0, -1, 1]))


def test_batches_depend_on_seed_step_and_rank_alone(folder):
    def tokens(step, rank):
        return Loader(EventDataset(folder), small_spec(), batch=8, seed=0, rank=rank).at(step).state

    assert torch.equal(tokens(5, 0), tokens(5, 0))
    assert not torch.equal(tokens(5, 0), tokens(5, 1))


def test_every_matrix_has_one_owner_and_the_load_is_even():
    matrices = [torch.nn.Parameter(torch.zeros(n, 64)) for n in (64, 64, 128, 256, 64, 64)]
    owner = owners(matrices, 2)
    assert set(owner) == {0, 1} and len(owner) == 6
    load = [sum(p.numel() for p, o in zip(matrices, owner) if o == r) for r in (0, 1)]
    assert max(load) <= 1.5 * min(load)


def test_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=100, batch=1, warmup=10, decay=0.5)
    rates = [learning_rate(s, config) for s in range(101)]
    assert rates[0] == 0.1 and rates[40] == 1 and rates[100] == 0
    assert rates[75] == pytest.approx(0.5)


def test_missing_data_and_unknown_stage_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a finished data folder"):
        EventDataset(tmp_path)
    with pytest.raises(SpecError, match="video, action; found 'x'"):
        Stage("x", small_model(), small_spec(), CONFIG, tmp_path)
