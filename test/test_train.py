"""The training loop: what is frozen stays bit-identical, a resumed run equals an uninterrupted one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.errors import ConfigError, SpecError  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_model.train.augment import Tube, drop_share  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.loop import Stage, learning_rate  # noqa: E402
from wallwm_model.train.losses import Task, action_loss, dct_loss, draw_prefix  # noqa: E402
from wallwm_model.train.parallel import owners  # noqa: E402
from wallwm_model.train.recipes import PARTS, STAGES, TIME_MAPS, LossConfig, TrainConfig  # noqa: E402
from wallwm_model.train.sight import SightTable  # noqa: E402

pytestmark = pytest.mark.train

CONFIG = TrainConfig(
    steps=6, batch=3, warmup=1, look=0.16, video_every=2, unified=0.5, loss=LossConfig(draws=2, longest_prefix=4)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def unified_spec():
    return dataclasses.replace(small_spec(), modes=("event", "unified"), joints=JOINTS)


def stage_of(name, folder, out, config=CONFIG, model=None):
    data, spec = EventDataset(folder), unified_spec()
    stage = Stage(name, model or small_model(), spec, config, out, SightTable(data.samples, spec))
    return stage, Loader(data, spec, batch=config.batch, seed=0)


def state_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_freezes_stays_bit_identical(name, folder, tmp_path):
    stage, loader = stage_of(name, folder, tmp_path)
    before = state_of(stage.model)
    for _ in range(3):  # looking alone, video, keyframes
        stage.advance(loader)
    after = stage.model.state_dict()
    changed = {k for k, v in after.items() if not torch.equal(v, before[k])}
    assert changed <= set(stage.trained)
    assert len(changed) > 0.8 * len(stage.trained)
    assert all(f"{k}.".startswith(tuple(f"{part}." for part in PARTS[name])) for k in stage.trained)


def test_every_parameter_is_trained_by_one_of_the_first_two_stages(folder, tmp_path):
    """What none of them trains is saved by none either, and would be another one in every export."""
    model = small_model()
    trained = [set(stage_of(name, folder, tmp_path, model=model)[0].trained) for name in ("video", "action")]
    assert not trained[0] & trained[1]
    assert trained[0] | trained[1] == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("name", STAGES)
def test_bf16_is_for_products_alone(name, folder, tmp_path):
    """Nearly the losses of fp32, not the very same; all that lasts is fp32."""
    (exact, loader), (half, _) = (
        stage_of(name, folder, tmp_path, dataclasses.replace(CONFIG, precision=precision))
        for precision in ("fp32", "bf16")
    )
    for _ in range(3):
        expected, found = exact.advance(loader), half.advance(loader)
        assert found == pytest.approx(expected, rel=0.05) and found != expected
    state = half.optimiser.state_dict()
    kept = [*half.trained.values(), *half.average.values()]
    kept += [v for part in state.values() if part for slot in part["state"].values() for v in slot.values()]
    assert kept and all(v.dtype == torch.float32 for v in kept if isinstance(v, torch.Tensor))


def test_a_frozen_branch_stays_closed(folder, tmp_path):
    stage, loader = stage_of("video", folder, tmp_path, dataclasses.replace(CONFIG, frozen=("cross_view",)))
    before = state_of(stage.model)
    for _ in range(3):
        stage.advance(loader)
    kept = [k for k in before if "cross_view" in k]
    assert kept and all(torch.equal(stage.model.state_dict()[k], before[k]) for k in kept)


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
    for kind in ("trained", "average"):
        expected = getattr(whole, kind)
        assert all(torch.equal(v, expected[k]) for k, v in getattr(again, kind).items())


@pytest.mark.parametrize("time_map", TIME_MAPS)
@pytest.mark.parametrize("prediction", ["x", "v"])
def test_loss_falls_on_what_is_seen_again_and_again(time_map, prediction, folder, tmp_path):
    loss = LossConfig(draws=2, prefix=0.0, dct=0.1, time_map=time_map, sight=0.0, relight=0.0)
    config = dataclasses.replace(CONFIG, steps=100, unified=0.0, loss=loss)
    stage, loader = stage_of("action", folder, tmp_path, config, small_model(prediction=prediction))
    batch = loader.event(0, video=True)

    class Same:
        def event(self, step, **_):
            return batch

    losses = []
    for _ in range(8):
        stage.step = 1  # the same noise every time
        losses.append(sum(stage.advance(Same()).values()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("time_map", TIME_MAPS)
def test_no_action_gradient_enters_the_video_tower(time_map, folder, tmp_path):
    config = dataclasses.replace(CONFIG, loss=LossConfig(draws=2, time_map=time_map))
    stage, loader = stage_of("adapt", folder, tmp_path, config)
    task = Task(stage.model, stage.spec, config.loss, stage.sight, torch.Generator().manual_seed(0))
    sum(action_loss(task, loader.event(0, video=True)).values()).backward()
    assert all(p.grad is None for n, p in stage.trained.items() if n.startswith("video."))
    assert any(p.grad is not None for n, p in stage.trained.items() if n.startswith("action."))


def test_mirrored_batch_swaps_sides_everywhere(folder):
    data = EventDataset(folder)
    loader, rows = Loader(data, unified_spec(), batch=2, seed=0), data.rows[:2]
    plain, flipped = (
        loader.collect_events(rows, 4, np.array([side, side]), video=True) for side in (False, True)
    )
    assert torch.equal(flipped.images[:, 0], plain.images[:, 0].flip(2))
    assert torch.equal(flipped.images[:, 1], plain.images[:, 2].flip(2))
    assert torch.equal(flipped.future[:, 2], plain.future[:, 1].flip(3))
    assert torch.allclose(flipped.position[:, 0], plain.position[:, 0] * torch.tensor([1.0, -1, 1]))
    assert torch.allclose(flipped.end[:, 0], plain.end[:, 1] * torch.tensor([1.0, -1, 1]))
    table = SightTable(data.samples, unified_spec())
    once, twice = (table.masks(plain.moments, np.array([side, side])) for side in (False, True))
    head, left, right = (slice(16 * i, 16 * (i + 1)) for i in range(3))
    turned = once[..., head, right].reshape(*once.shape[:2], 4, 4, 4, 4)[..., ::-1, :, ::-1]
    assert np.array_equal(twice[..., head, left], turned.reshape(*once.shape[:2], 16, 16))
    assert np.array_equal(once, once.swapaxes(-1, -2)) and not once.all()


def test_fixed_chunks_run_across_events_that_follow(folder):
    data = EventDataset(folder)
    table, columns = data.table, data.columns
    row = int(np.flatnonzero((table.sample == 0) & (table.step == table.step[table.sample == 0].max()))[0])
    length, step = int(columns["length"][0]), int(table.step[row])
    actions, known = table.task_actions(row, 32)
    left = length - step
    np.testing.assert_array_equal(actions[:left], columns["actions"][0, step:length])
    np.testing.assert_array_equal(actions[left : left + 3], np.repeat(actions[left - 1 : left], 3, axis=0))
    np.testing.assert_array_equal(actions[left + 3], columns["actions"][1, 0])
    assert known == 32
    only, count = table.event_actions(row, 32)
    assert count == left and (only[left:] == only[left - 1]).all()


def test_the_past_reaches_back_to_where_the_robot_rested(folder):
    data = EventDataset(folder)
    table, first = data.table, data.columns["first"]
    start = np.flatnonzero(table.step == 0)[:2]  # of the first event, and of the second, which follows it
    before = table.before(start, 4)
    assert (before[0] == first[0]).all()
    np.testing.assert_array_equal(before[1], first[1] - np.arange(4, 0, -1))
    after, known = table.after(start, 100, across=True)
    assert after[0, -1] == first[3] - 1 and after[0, 0] == first[0] + 1 and known[0] == first[3] - 1 - first[0]
    after, known = table.after(start, 100, across=np.array([False, True]))
    assert after[0, -1] == first[1] - 1 and known[0] == first[1] - 1 - first[0] and after[1, -1] == first[3] - 1
    assert (table.after(start, 1, across=True)[1] == 1).all()


def test_chunks_are_counted_from_the_start_of_the_task(folder):
    data = EventDataset(folder)
    table, length = data.table, data.columns["length"].astype(int)
    start = np.flatnonzero(table.step == 0)[:4]
    elapsed = np.array([0, length[0] + 3, length[0] + length[1] + 6, 0])
    np.testing.assert_array_equal(table.chunk_index(start, 32), 1 + elapsed // 32)


def test_captions_of_longer_clips_are_dropped_more_often():
    share = drop_share(torch.tensor([10.0, 129.0, 174.5, 220.0, 400.0]))
    torch.testing.assert_close(share, torch.tensor([0.1, 0.1, 0.5, 0.9, 0.9]))


def test_tubes_hide_one_window_in_every_latent_frame():
    config, generator = small_model().config, torch.Generator().manual_seed(0)
    tube = Tube.draw(torch.ones(4, 48, 48, dtype=torch.bool), config, 1.0, generator)
    sides = tube.patches.flatten(2).sum(-1)
    assert ((sides > 0).sum(1) == 1).all() and set(sides[sides > 0].tolist()) <= {1, 4}
    clean, noise = torch.zeros(4, 3, 16, 2, 8, 8), torch.ones(4, 3, 16, 2, 8, 8)
    hidden = tube.hide(clean, noise)
    assert (hidden.sum((3, 4, 5)) / 2 == 4 * tube.patches.sum((2, 3))[:, :, None]).all()
    assert (hidden[:, :, :, 0] == hidden[:, :, :, 1]).all()
    weight = tube.weigh(torch.ones_like(clean), 2.0)
    assert torch.equal(weight, 1 + hidden)
    keyframes, past = torch.zeros(4, 3, 3, 64, 64), torch.zeros(4, 3, 16, 1, 8, 8)
    lit, before = tube.hide_conditions(keyframes, past, 1.0, generator)
    assert (lit[~tube_pixels(tube)] == 0).all() and (before[hidden[:, :, :, :1] == 0] == 0).all()
    assert torch.count_nonzero(lit) and torch.count_nonzero(before)
    assert not any(map(torch.count_nonzero, tube.hide_conditions(keyframes, past, 0.0, generator)))
    assert tube.hide_conditions(keyframes, None, 1.0, generator)[1] is None


def tube_pixels(tube):
    return tube.patches.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, :, None].expand(-1, -1, 3, -1, -1)


def test_a_prefix_leaves_a_step_to_predict():
    valid = torch.arange(10)[None] < torch.tensor([1, 2, 10, 10])[:, None]
    config = LossConfig(prefix=1.0, longest_prefix=4)
    drawn = torch.stack([draw_prefix(valid, config, torch.Generator().manual_seed(i)) for i in range(50)])
    count = drawn.sum(-1)
    assert (count[:, 0] == 0).all() and count[:, 1].max() == 1 and count[:, 2].max() == 4
    assert (drawn.int().diff(dim=-1) <= 0).all() and (valid & ~drawn).any(-1).all()


def test_dct_loss_counts_low_frequencies_and_clean_chunks_most():
    steps, clean = 16, torch.zeros(2, 16, 3)
    k = torch.arange(steps) + 0.5
    slow, fast = (torch.cos(torch.pi / steps * k * j)[None, :, None].expand(2, -1, 3) for j in (1, 12))
    early, late, all_ = torch.full((2,), 0.9), torch.full((2,), 0.1), torch.ones(2, 16, dtype=torch.bool)
    assert dct_loss(slow, clean, late, all_) > 10 * dct_loss(fast, clean, late, all_)
    assert dct_loss(slow, clean, late, all_) > 50 * dct_loss(slow, clean, early, all_)


def test_batches_depend_on_seed_step_and_rank_alone(folder):
    def tokens(step, rank):
        return Loader(EventDataset(folder), unified_spec(), batch=8, seed=0, rank=rank).event(step).state

    assert torch.equal(tokens(5, 0), tokens(5, 0))
    assert not torch.equal(tokens(5, 0), tokens(5, 1))


def test_every_matrix_has_one_owner_and_the_load_is_even():
    matrices = [torch.nn.Parameter(torch.zeros(n, 64)) for n in (64, 64, 128, 256, 64, 64)]
    owner = owners(matrices, 2)
    assert set(owner) == {0, 1} and len(owner) == 6
    load = [sum(p.numel() for p, o in zip(matrices, owner) if o == r) for r in (0, 1)]
    assert max(load) <= 1.5 * min(load)


def test_a_gradient_that_is_not_finite_ends_a_training_and_spoils_nothing(folder, tmp_path):
    stage, loader = stage_of("action", folder, tmp_path)
    before = state_of(stage.model)
    stage.losses = lambda _: {"joints": sum(p.sum() for p in stage.trained.values()) * float("nan")}
    with pytest.raises(SpecError, match="a gradient must be finite; found a norm of nan"):
        stage.advance(loader)
    after = stage.model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=100, batch=1, warmup=10, decay=0.5)
    rates = [learning_rate(s, config) for s in range(101)]
    assert rates[0] == 0.1 and rates[40] == 1 and rates[100] == 0
    assert rates[75] == pytest.approx(0.5)


def test_missing_data_and_unknown_stage_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a finished data folder"):
        EventDataset(tmp_path)
    with pytest.raises(SpecError, match="video, action, adapt, distill; found 'x'"):
        Stage("x", small_model(), small_spec(), CONFIG, tmp_path)


def test_scenes_that_are_held_out_are_not_trained_on(tmp_path):
    write_data(tmp_path)
    path = next(tmp_path.glob("*/samples.npz"))
    columns = dict(np.load(path, allow_pickle=False))
    columns["seed"][1] = 99_999
    np.savez(path, **columns)
    with pytest.raises(SpecError, match="at least 100000; found 99999, which is held out"):
        EventDataset(tmp_path)
