"""Distillation: the student's sampler, distribution matching, what is frozen, and a run that resumes bit-equal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.errors import SpecError  # noqa: E402
from wallwm_model.flow import euler, schedule  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.distill import DistillConfig, Distillation  # noqa: E402
from wallwm_model.train.distill_run import prepare  # noqa: E402
from wallwm_model.train.matching import add_noise, draw_levels, matching_loss, simulate  # noqa: E402
from wallwm_model.train.recipes import LossConfig  # noqa: E402
from wallwm_model.train.sight import SightTable  # noqa: E402

pytestmark = pytest.mark.train

CONFIG = DistillConfig(
    steps=6, batch=3, muon_lr=0.0, adam_lr=1e-3, warmup=1, video_every=2, unified=0.5, euler_steps=2, video_steps=2,
    follower_updates=2, loss=LossConfig(draws=2, longest_prefix=4),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def stage_of(folder, out, config=CONFIG):
    data = EventDataset(folder)
    spec = dataclasses.replace(small_spec(), modes=("event", "unified"), joints=JOINTS)
    stage = Distillation(small_model(), spec, config, out, SightTable(data.samples, spec))
    return stage, Loader(data, stage.spec, batch=config.batch, seed=0)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_student_comes_where_the_run_time_sampler_comes():
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) / 5

    def predict(x, t):
        return torch.tanh(torch.as_tensor(x) @ matrix + t)

    noise, committed = torch.randn(3, 4, 5), torch.full((2, 5), 0.3)

    def hold(x):
        return torch.cat([committed.expand(3, 2, 5), x[:, 2:]], dim=1)

    levels = [float(t) for t in schedule(4)]
    whole = euler(lambda x, t: predict(x, t).numpy(), noise.numpy(), 4, committed.numpy())
    reached = hold(
        predict(simulate(predict, noise, levels[:4], hold), levels[3])
    )  # the last step ends at x_0
    np.testing.assert_allclose(reached.numpy(), whole, atol=1e-6)


def test_matching_takes_a_sampler_to_the_teachers_distribution():
    """Both denoisers are known for normal distributions; the sampler is a shift and a scale of noise."""
    generator = torch.Generator().manual_seed(0)
    goal, shift, scale = (1.5, 0.4), torch.zeros(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimiser = torch.optim.Adam([shift, scale], lr=0.02)

    def denoise(x, t, mean, deviation):
        gain = (1 - t) * deviation**2 / ((1 - t) ** 2 * deviation**2 + t**2)
        return mean + gain * (x - (1 - t) * mean)

    for _ in range(400):
        sample = shift + scale * torch.randn(256, 1, generator=generator)
        t = draw_levels(256, generator)[:, None]
        noisy = add_noise(sample.detach(), t, generator)
        fake = denoise(noisy, t, shift.detach(), scale.detach())
        loss = matching_loss(sample, denoise(noisy, t, *goal), fake, torch.ones_like(sample))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(shift) == pytest.approx(goal[0], abs=0.1)
    assert abs(float(scale)) == pytest.approx(goal[1], abs=0.1)


def test_what_does_not_count_is_not_pushed():
    sample = torch.zeros(1, 3, requires_grad=True)
    weight = torch.tensor([[1.0, 0.0, 1.0]])
    matching_loss(sample, torch.ones(1, 3), torch.zeros(1, 3), weight).backward()
    assert sample.grad[0, 1] == 0 and (sample.grad[0, [0, 2]] < 0).all()


def test_teacher_stays_and_only_the_towers_learn(folder, tmp_path):
    stage, loader = stage_of(folder, tmp_path)
    before, taught = state_of(stage.model), state_of(stage.teacher)
    follower = state_of(stage.follower)
    losses = [stage.advance(loader) for _ in range(2)]
    assert {"match", "joints", "reach", "match_video", "grounding"} <= set(losses[0])
    assert "match_video" not in losses[1]
    assert all(torch.equal(value, taught[name]) for name, value in stage.teacher.state_dict().items())
    for model, old in ((stage.model, before), (stage.follower, follower)):
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, old[name])}
        assert changed and all(name.startswith(("video.dit.", "action.")) for name in changed)
        assert len(changed) > 0.8 * len(stage.trained)


def test_without_the_action_loss_demonstrations_are_not_followed(folder, tmp_path):
    stage, loader = stage_of(folder, tmp_path, dataclasses.replace(CONFIG, action_weight=0.0, video_every=4))
    stage.step = 1  # a step without video
    assert set(stage.advance(loader)) == {"match"}


def test_a_resumed_distillation_is_bit_equal(folder, tmp_path):
    whole, loader = stage_of(folder, tmp_path)
    whole.advance(loader)
    whole.save()
    whole.advance(loader)
    again, loader = stage_of(folder, tmp_path)
    again.resume()
    again.advance(loader)
    for kind in ("trained", "average", "follows"):
        found = getattr(again, kind)
        assert all(torch.equal(value, found[name]) for name, value in getattr(whole, kind).items())


def test_the_student_is_validated_in_its_own_steps(folder, tmp_path):
    stage, _ = stage_of(folder, tmp_path)
    assert stage.spec.euler_steps == 2


def test_a_folder_belongs_to_one_student(tmp_path):
    teacher, out = tmp_path / "teacher", tmp_path / "student"
    teacher.mkdir()
    with pytest.raises(SpecError, match="a teacher must be a folder of `wallwm train` with spec.json"):
        prepare(teacher, out, 2)
    (teacher / "spec.json").write_text(small_spec().to_json())
    for stage in ("video", "action"):
        (teacher / f"{stage}-ema.safetensors").write_bytes(b"ema")
        (teacher / f"{stage}-last.safetensors").write_bytes(b"last")
    prepare(teacher, out, 2)
    assert {path.name for path in out.iterdir()} == {
        "spec.json",
        "video-ema.safetensors",
        "action-ema.safetensors",
    }
    prepare(teacher, out, 2)
    with pytest.raises(
        SpecError, match="a student of .* with 4 steps; found one of nano with 2: choose another"
    ):
        prepare(teacher, out, 4)
    (teacher / "action-ema.safetensors").write_bytes(b"trained further")
    with pytest.raises(SpecError, match="must hold a student of .*; found one of another action-ema.safetensors"):
        prepare(teacher, out, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("euler_steps", 0), ("follower_updates", 0), ("action_weight", -1.0), ("follower_lr", -1.0)],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(SpecError, match=f"{field} must be"):
        dataclasses.replace(CONFIG, **{field: value})
