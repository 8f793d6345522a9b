"""What the losses give the towers and how they count what comes back (method.md, sections 2, 3 and 6)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.flow import schedule  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_model.train import losses  # noqa: E402
from wallwm_model.train.augment import Tube  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.loop import Stage  # noqa: E402
from wallwm_model.train.losses import (  # noqa: E402
    Task,
    action_loss,
    encode_pictures,
    film_loss,
    there,
    video_loss,
)
from wallwm_model.train.recipes import TIME_MAPS, LossConfig, TrainConfig  # noqa: E402
from wallwm_model.train.sight import SightTable  # noqa: E402
from wallwm_model.train.validate import validate_action  # noqa: E402

pytestmark = pytest.mark.train

SPEC = dataclasses.replace(small_spec(), modes=("event", "unified"), joints=JOINTS)
PLAIN = LossConfig(draws=3, sight=0.0, tube=0.0, prefix=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(folder):
    return EventDataset(folder)


def task_of(data, config=PLAIN, model=None):
    sight = SightTable(data.samples, SPEC) if config.sight else None
    return Task(model or small_model(), SPEC, config, sight, torch.Generator().manual_seed(0))


def film(data, **options):
    return Loader(data, SPEC, batch=4, seed=0).unified(0, video=True, **options)


def fixed_ones(data):
    """Held-out chunks of fixed length, as a training validates on them that knows no others."""
    return list(Loader(data, SPEC, batch=4, seed=0).sweep(video=True, fixed=True))


class Watched:
    """The calls of a module's forward, with a say in what it answers."""

    def __init__(self, module, monkeypatch, change=lambda found, **_: found):
        self.calls, forward = [], module.forward

        def watched(*args, **options):
            self.calls.append((args, options))
            return change(forward(*args, **options), **options)

        monkeypatch.setattr(module, "forward", watched)


def told_true(task, monkeypatch, wrong=lambda velocity: velocity, noise=0.0):
    """Let the tower answer with the true velocity, as `wrong` alters it; where `noise` is 1, it sees noise alone."""
    clean, encode = [], losses.encode_pictures

    def encoded(*args):
        clean.append(encode(*args))
        return clean[-1]

    monkeypatch.setattr(losses, "encode_pictures", encoded)

    def answer(world, *, noisy, t, **_):
        level = noise + (1 - noise) * t[:, None, None, None, None, None]
        truth = (noisy - clean[-1]) / level  # noise - clean
        return dataclasses.replace(world, velocity=wrong(truth))

    return Watched(task.model.video, monkeypatch, answer)


@pytest.mark.parametrize("draw", ["event", "unified"])
def test_the_tower_is_to_say_noise_minus_clean(draw, data, monkeypatch):
    batch = getattr(Loader(data, SPEC, batch=4, seed=0), draw)(0, video=True)
    task = task_of(data)
    told_true(task, monkeypatch)
    assert float(video_loss(task, batch)["video"]) < 1e-6
    monkeypatch.undo()
    told_true(task, monkeypatch, lambda velocity: -velocity)
    assert float(video_loss(task, batch)["video"]) > 0.1


def test_padding_never_counts(data, monkeypatch):
    batch = film(data)
    batch.shown[:] = torch.tensor([0, 1, 2, 2])
    task = task_of(data)

    def spoilt(frames, rows):
        def wrong(velocity):
            velocity = velocity.clone()
            velocity[rows, :, :, frames] += 10
            return velocity

        return wrong

    for frames, rows, counts in ((0, 0, False), (1, 0, False), (1, 1, False), (0, 1, True), (1, 2, True)):
        watched = told_true(task, monkeypatch, spoilt(frames, rows))
        assert (float(video_loss(task, batch)["video"]) > 1) == counts, (frames, rows)
        assert watched.calls[0][1]["lengths"].tolist() == [[n] * 3 for n in (0, 1, 2, 2)]
        monkeypatch.undo()


def test_a_weight_counts_where_it_stands():
    wanted, weight = torch.zeros(1, 2, 1, 2, 2, 2), torch.ones(1, 2, 1, 2, 2, 2)
    weight[0, 1, 0, 0] = 3.0
    error = torch.zeros_like(wanted)
    error[0, 1, 0, 0] = 1.0
    counted = there(wanted, torch.tensor([[2, 1]]))
    assert float(film_loss(error, wanted, weight, counted)) == pytest.approx(3 * 4 / 12)


def test_films_of_captions_end_with_their_events(data):
    """Where an event is all that the words tell, what is seen later is padding; so is what nobody filmed."""
    told, whole = film(data, atomic=1.0), film(data, atomic=0.0)
    assert torch.equal(told.images, whole.images)
    left = np.ceil(np.minimum(told.remaining.numpy(), 32) / 4)
    np.testing.assert_array_equal(told.shown.numpy(), np.ceil(left / 4))
    assert (whole.shown >= told.shown).all() and (whole.shown > told.shown).any()
    assert film(data).shown.dtype == torch.int64
    assert Loader(data, SPEC, batch=4, seed=0).unified(0).shown is None


def test_a_tube_hides_what_is_seen_before_and_after(data, monkeypatch):
    config = dataclasses.replace(PLAIN, sight=1.0, tube=1.0, tube_condition=1.0, tube_weight=5.0, relight=0.0)
    batch, drawn = film(data), []
    batch.shown[:] = 2
    patches = torch.zeros(4, 3, 4, 4, dtype=torch.bool)
    patches[:, 1, 1:3, :2] = True

    def draw(masks, *_):
        drawn.append(masks)
        return Tube(patches, 4, 2)

    monkeypatch.setattr(Tube, "draw", draw)
    task = task_of(data, config)
    seen = {}
    for share in (0.0, 1.0):
        task.config = dataclasses.replace(config, tube_condition=share)
        task.generator.manual_seed(0)
        watched = Watched(task.model.video, monkeypatch)
        video_loss(task, batch)
        (keyframes, _), options = watched.calls[0]
        seen[share] = keyframes, options["history"]
        assert options["masks"].shape == (4, 4, 48, 48) and (options["masks"] == 0).any()
    assert drawn[0].shape == (4, 48, 48)
    pixels = patches.repeat_interleave(16, -1).repeat_interleave(16, -2)[:, :, None].expand(-1, -1, 3, -1, -1)
    latents = patches.repeat_interleave(2, -1).repeat_interleave(2, -2)[:, :, None, None].expand(-1, -1, 16, 1, -1, -1)
    for inside, open_, hidden in zip((pixels, latents), seen[0.0], seen[1.0]):
        assert torch.equal(open_[~inside], hidden[~inside])
        assert (open_[inside] != hidden[inside]).float().mean() > 0.9


def test_the_loss_in_a_tube_weighs_more(data, monkeypatch):
    config = dataclasses.replace(PLAIN, sight=1.0, tube=1.0, tube_condition=0.0, tube_weight=5.0)
    patches = torch.zeros(4, 3, 4, 4, dtype=torch.bool)
    patches[:, 1, 1:3, :2] = True
    monkeypatch.setattr(Tube, "draw", lambda *_: Tube(patches, 4, 2))
    batch, found = film(data), []
    batch.shown[:] = 2
    inside = patches.repeat_interleave(2, -1).repeat_interleave(2, -2)[:, :, None, None].float()
    for where in (torch.zeros(1), inside, 1 - inside):
        task = task_of(data, config)
        told_true(task, monkeypatch, lambda velocity: velocity + where, noise=inside)
        found.append(float(video_loss(task, batch)["video"]) / 0.3)
        monkeypatch.setattr(losses, "encode_pictures", encode_pictures)
    share = float(inside.mean())
    assert found == pytest.approx([0, 5 * share, 1 - share], abs=1e-4)


def test_words_that_are_dropped_are_zero_and_ground_nothing(data, monkeypatch):
    batch, dropped = film(data), torch.tensor([True, False, True, False])
    monkeypatch.setattr(losses, "drop_captions", lambda *_: dropped)
    task = task_of(data)
    watched = Watched(task.model.video, monkeypatch)
    whole = video_loss(task, batch)
    text = watched.calls[0][0][1]
    assert (text[dropped] == 0).all() and (text[~dropped] != 0).any(-1).any(-1).all()
    task.generator.manual_seed(0)
    batch.named[dropped] = (batch.named[dropped] + 1) % 9
    batch.remaining[dropped] += 20
    again = video_loss(task, batch)
    assert again["named"] == whole["named"] and again["remaining"] == whole["remaining"]


@pytest.mark.parametrize("time_map", TIME_MAPS)
def test_all_draws_read_one_look_at_the_video(time_map, data, monkeypatch):
    task = task_of(data, dataclasses.replace(PLAIN, time_map=time_map))
    looks = Watched(task.model.video, monkeypatch)
    acts = Watched(task.model.action, monkeypatch)
    batch = film(data)
    batch.shown[:] = torch.tensor([0, 1, 2, 2])
    action_loss(task, batch)
    (((_, _), options),), (((noisy, level, *_), _),) = looks.calls, acts.calls
    assert len(noisy) == level[:, 0].unique().numel() == 3 * 4 and (level == level[:, :1]).all()
    if time_map == "keyframe":
        assert "noisy" not in options
        return
    assert options["lengths"].tolist() == [[n] * 3 for n in (0, 1, 2, 2) for _ in range(len(options["t"]) // 4)]
    if time_map == "anchored":
        assert (options["t"] == losses.ANCHOR).all() and len(options["t"]) == 4
    else:
        assert torch.equal(options["t"], level[:, 0])


@pytest.mark.parametrize("time_map", TIME_MAPS)
def test_validation_reads_what_training_reads(time_map, data, monkeypatch):
    model = small_model()
    looks = Watched(model.video, monkeypatch)
    batches = [Loader(data, SPEC, batch=3, seed=0).event(0, video=True)]
    found = validate_action(model, batches, SPEC, time_map)
    assert found and all(np.isfinite(v) for v in found.values())
    levels = [float(options["t"][0]) for _, options in looks.calls if "t" in options]
    steps = [float(t) for t in schedule(SPEC.euler_steps)[:-1]]
    assert levels == pytest.approx({"keyframe": [], "anchored": [losses.ANCHOR], "symmetric": steps}[time_map])
    assert len(looks.calls) == (len(steps) if time_map == "symmetric" else 1)


def test_a_training_of_fixed_chunks_is_validated_on_them(data):
    batches = fixed_ones(data)
    starts = int((data.table.step[data.rows] == 0).sum())
    assert sum(len(batch.images) for batch in batches) == starts
    for batch in batches:
        assert batch.history is not None and batch.actions.shape[1] == SPEC.chunk_steps
        assert (batch.length == SPEC.chunk_steps).all() and (batch.window == 1).all() and batch.valid.all()


def test_committed_steps_and_padding_have_no_dct(data):
    found, clean = torch.randn(2, 16, 3), torch.zeros(2, 16, 3)
    scored = torch.arange(16)[None].expand(2, -1) < 10
    scored = scored & (torch.arange(16) >= 3)
    t = torch.full((2,), 0.5)
    whole = losses.dct_loss(found, clean, t, scored)
    assert losses.dct_loss(found * scored[..., None], clean, t, scored) == whole
    assert losses.dct_loss(found, clean, t, torch.ones_like(scored)) != whole


def test_moments_in_which_nothing_moves_are_left_out(tmp_path):
    folder = write_data(tmp_path)
    path = next(folder.glob("*/samples.npz"))
    columns = dict(np.load(path, allow_pickle=False))
    columns["actions"][6] = columns["actions"][6, :1]
    np.savez(path, **columns)
    data = EventDataset(folder)
    assert {6, 7} <= set(data.chosen) and 6 not in data.table.sample[data.rows]
    assert 7 in data.table.sample[data.rows]


def test_the_average_follows_the_weights(data, tmp_path):
    stage = Stage("action", small_model(), SPEC, TrainConfig(9, 2, ema=0.5, loss=PLAIN), tmp_path)
    loader = Loader(data, SPEC, batch=2, seed=0)
    wanted = {k: v.detach().clone() for k, v in stage.trained.items()}
    for decay in (1 / 10, 2 / 11, 3 / 12):  # it follows closely at first
        stage.advance(loader)
        for name, value in stage.trained.items():
            wanted[name] = decay * wanted[name] + (1 - decay) * value.detach()
    assert all(torch.allclose(stage.average[k], v, atol=1e-6) for k, v in wanted.items())
