"""LeRobot's ACT as a baseline: what it is told; where LeRobot is, a tiny training and an episode."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from train_fixtures import write_data  # noqa: E402

from benchmarks.peers.act import __main__ as command  # noqa: E402
from benchmarks.peers.act import policy  # noqa: E402
from benchmarks.peers.act.driver import NAME, ActDriver  # noqa: E402
from benchmarks.peers.act.instructions import CHOICES, SIZE, Instructions  # noqa: E402
from benchmarks.peers.act.resnet import WIDTH, ResNet18, as_torchvision  # noqa: E402
from benchmarks.peers.act.train import Settings, Training, parameters, specify  # noqa: E402
from wallwm_model.captions import mirror  # noqa: E402
from wallwm_model.errors import CaptionError, ConfigError, SpecError  # noqa: E402
from wallwm_model.eval.closed_loop import PATIENCE, TYPICAL_S, evaluate  # noqa: E402
from wallwm_model.preprocess import Observation  # noqa: E402
from wallwm_model.sim.scene import TASKS, sample_scene  # noqa: E402
from wallwm_model.spec import ModelSpec  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402

pytestmark = pytest.mark.train
needs_lerobot = pytest.mark.skipif(bool(policy.missing()), reason=policy.missing())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def spec(data, tmp_path_factory):
    return specify(data, tmp_path_factory.mktemp("spec"))


def told(spec, *sentences):
    return Instructions(spec)(torch.from_numpy(np.stack([spec.tokenise(text) for text in sentences])))


@pytest.mark.parametrize("task", TASKS)
def test_an_instruction_becomes_what_the_scene_asks_for(spec, task):
    for seed in range(20):
        scene = sample_scene(task, seed)
        values = [value for values in CHOICES for value in values]
        hot = told(spec, scene.instruction())[0]
        assert [v for v, on in zip(values, hot.tolist(), strict=True) if on] == [
            task,
            scene.cube,
            scene.pad,
            scene.arm,
        ]


def test_no_two_instructions_are_told_alike_and_the_mirrored_one_names_the_other_arm(spec):
    scenes = [sample_scene(task, seed) for task in TASKS for seed in range(200)]
    sentences = sorted({scene.instruction() for scene in scenes})
    rows = told(spec, *sentences)
    assert len(torch.unique(rows, dim=0)) == len(sentences) == 48
    mirrored = told(spec, *map(mirror, sentences))
    assert torch.equal(mirrored[:, : SIZE - 2], rows[:, : SIZE - 2])
    assert torch.equal(mirrored[:, SIZE - 2 :], rows[:, SIZE - 2 :].flip(1))


def test_a_caption_of_one_event_is_no_instruction(spec):
    with pytest.raises(CaptionError, match="told a whole task"):
        told(spec, "reach the red cube with the left arm")


def test_batches_are_our_fixed_chunks_without_the_past(data, spec):
    assert spec.history_pictures == 0 and spec.modes == ("unified",)
    batch = Loader(EventDataset(data), spec, batch=6, seed=0).unified(3, atomic=0.0)
    assert batch.history is None and batch.future is None
    assert batch.actions.shape == (6, spec.chunk_steps, 14) and batch.images.shape == (6, 3, 64, 64, 3)
    ours = dataclasses.replace(spec, history=1)
    with_past = Loader(EventDataset(data), ours, batch=6, seed=0).unified(3, atomic=0.0)
    assert with_past.history is not None
    for name in ("images", "state", "actions", "valid", "tokens"):
        assert torch.equal(getattr(batch, name), getattr(with_past, name)), name
    assert Instructions(spec)(batch.tokens).shape == (6, SIZE)  # every sentence is an instruction


def test_pictures_come_as_imagenet_statistics_want_them(spec):
    black, white = torch.full((1, 3, 3, 64, 64), -1.0), torch.full((1, 3, 3, 64, 64), 1.0)
    state, hot = torch.zeros(1, 14), torch.zeros(1, SIZE)
    for pictures, value in ((black, 0.0), (white, 1.0)):
        read = policy.inputs(spec, pictures, state, hot)
        for camera in spec.cameras:
            found = read[f"observation.images.{camera.name}"]
            assert found.shape == (1, 3, 128, 128)
            for channel, mean, std in zip(found[0], policy.MEAN, policy.STD, strict=True):
                assert channel.flatten()[0] == pytest.approx((value - mean) / std, abs=1e-5)


def test_the_network_has_the_layers_of_a_resnet18():
    network = ResNet18()
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 17 + 3  # with the fully connected layer 18; three shortcuts
    assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 8 * WIDTH, 4, 4)
    # The stock network without its last layer; group norms have as many parameters as batch norms.
    assert parameters(ResNet18(64)) == 11_176_512


def test_the_stand_in_for_torchvision_is_gone_after_the_import():
    before = {name for name in sys.modules if name.startswith("torchvision")}
    with as_torchvision():
        import torchvision

        assert torchvision.models.resnet18_half().fc.in_features == 8 * WIDTH
    assert {name for name in sys.modules if name.startswith("torchvision")} == before


def test_our_own_packages_do_without_lerobot():
    code = "import sys, wallwm_ros.cli.eval, wallwm_model.eval.modes; sys.exit('lerobot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=policy.environment.ROOT).returncode == 0


def test_without_lerobot_one_sentence_says_what_to_do(monkeypatch, tmp_path, spec):
    monkeypatch.setattr(policy.environment, "FOLDER", tmp_path / "none")
    monkeypatch.setattr(policy.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="act prepare` makes; found none"):
        policy.build(spec)


def test_a_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a training of LeRobot's ACT"):
        policy.Trained(tmp_path)


def test_a_training_ends_when_its_time_or_its_steps_are_used_up():
    training = object.__new__(Training)
    training.settings, training.step, training.seconds = Settings(minutes=10, steps=100), 25, 60.0
    assert training.share() == 0.25
    training.seconds = 540.0
    assert training.share() == 0.9
    training.seconds = 700.0
    assert training.share() == 1.0


@needs_lerobot
def test_options_out_of_range_are_refused_in_one_sentence(data, tmp_path, capsys):
    assert command.main(["train", "--data", str(data), "--out", str(tmp_path), "--batch", "0"]) == 1
    assert capsys.readouterr().err == "act: --batch must be more than 0; found 0\n"


def tiny(data, out, steps, minutes=60.0):
    from benchmarks.peers.act.train import run

    specify(data, out)
    settings = Settings(minutes=minutes, steps=steps, batch=2, warmup=1, validate_every=2)
    return run(data, out, settings, lambda *_: None)


@needs_lerobot
@pytest.mark.slow
def test_a_tiny_training_goes_on_to_the_same_weights_and_does_an_episode(data, tmp_path, monkeypatch):
    # The learning rate falls with the share that is done: held, so that a pause changes nothing.
    monkeypatch.setattr(Settings, "decay", 1e-9)
    whole = tiny(data, tmp_path / "whole", 4)
    tiny(data, tmp_path / "paused", 2)
    paused = tiny(data, tmp_path / "paused", 4)
    ours = whole.policy.state_dict()
    assert paused.step == 4 and all(torch.equal(v, ours[k]) for k, v in paused.policy.state_dict().items())
    assert 6e6 < parameters(whole.policy) < 8e6  # about our nano's 6.8 million
    history = json.loads((tmp_path / "whole" / "act.json").read_text())["history"]
    assert [h["step"] for h in history] == [2, 4]
    assert history[-1].keys() >= {"l1_loss", "kld_loss", "chunk_end_mm"}

    trained = policy.Trained(tmp_path / "whole")
    scene = sample_scene("pick_place", 1000)
    rng = np.random.default_rng(0)
    pictures = {c.name: rng.integers(0, 255, (192, 192, 3), dtype=np.uint8) for c in trained.spec.cameras}
    seen = Observation(pictures, np.array(scene.start), 0)
    chunk = trained.chunk(seen, scene.instruction())
    assert chunk.shape == (32, 14) and np.isfinite(chunk).all()
    assert np.array_equal(chunk, trained.chunk(seen, scene.instruction()))  # the latent is zero at run time
    other = scene.instruction().replace(scene.arm, scene.other)
    assert not np.array_equal(chunk, trained.chunk(seen, other))

    asked, stay = [], np.tile(scene.start, (32, 1))
    monkeypatch.setattr(trained, "chunk", lambda _, text: asked.append(text) or stay)
    tally = evaluate(ActDriver(trained, 32), "pick_place", 1, 1000)
    assert tally.tasks == [False]  # it stays where it is
    assert len(asked) == np.ceil(PATIENCE * TYPICAL_S["pick_place"] * 20 / 32)
    assert set(asked) == {scene.instruction()}


@needs_lerobot
@pytest.mark.slow
def test_the_command_trains_in_two_processes_and_eval_modes_shows_the_result(data, tmp_path):
    root = policy.environment.ROOT

    def python(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)

    out, figures = tmp_path / "act", tmp_path / "modes.json"
    sizes = ["--steps", 1, "--batch", 2]
    done = python("-m", "benchmarks.peers.act", "train", "--data", data, "--out", out, *sizes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ModelSpec.load(out / "spec.json").name == "lerobot-act"
    asked = ["--act", out, "--only", NAME, "--episodes", 1, "--json", figures]
    done = python("-m", "wallwm_ros.cli.main", "eval", "modes", *asked)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert NAME in done.stdout
    success = json.loads(figures.read_text())["success"]
    assert set(success) == {NAME, f"{NAME} overlapping"} and success[NAME]["episodes"] == 1
    assert len(success[NAME]["interval95"]) == 2


@needs_lerobot
def test_a_training_of_another_network_is_not_gone_on_with(data, spec, tmp_path):
    torch.save({"weights": {}, "optimiser": {}}, tmp_path / "training.pt")
    with pytest.raises(SpecError, match="must be a training of this network"):
        Training(spec, Settings(), tmp_path).resume()
