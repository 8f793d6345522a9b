"""Whatever does not fit a network or a training is refused in one sentence: expected, found, valid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_model.errors import ObservationError, SpecError, WallWMError
from wallwm_model.flow import schedule
from wallwm_model.policy import Policy
from wallwm_model.preprocess import Observation

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.deploy.export import load_trained  # noqa: E402
from wallwm_model.network.action import Timing  # noqa: E402
from wallwm_model.network.config import preset  # noqa: E402
from wallwm_model.network.model import (  # noqa: E402
    Act,
    Decode,
    Imagine,
    Observe,
    WallWM,
    encode_history,
    network_pictures,
)
from wallwm_model.network.weights import read_stage  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_model.train.cli import make_spec, train  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.loop import build, load_stage, stage_tensors  # noqa: E402
from wallwm_model.train.recipes import LossConfig, TrainConfig  # noqa: E402

pytestmark = pytest.mark.train

MODEL = small_model().requires_grad_(False)


def pictures(*shape):
    return torch.zeros(*shape, 3, dtype=torch.uint8)


def index(*values):
    return torch.tensor(values, dtype=torch.int64)


LOOK = {
    "images": pictures(1, 3, 64, 64), "text": torch.randn(1, 5, 32), "mask": torch.ones(1, 48, 48), "chunk": index(0),
}  # fmt: skip
PAST = LOOK | {"history": pictures(1, 3, 4, 64, 64)}
STEP = {
    "noisy": torch.randn(1, 8, 14), "t": torch.rand(1, 8), "video": torch.randn(2, 1, 9, 256),
    "state": torch.randn(1, 14), "window": index(0),
}  # fmt: skip
DREAM = {k: LOOK[k] for k in ("images", "text", "mask")} | {"noisy": torch.randn(1, 3, 16, 2, 8, 8), "t": torch.rand(1)}
SEEN = {"images": LOOK["images"], "latents": DREAM["noisy"]}
GRAPHS = {
    "observe": (Observe(MODEL, 64, past=False), LOOK),
    "observe_past": (Observe(MODEL, 64, past=True), PAST),
    "act": (Act(MODEL), STEP),
    "imagine": (Imagine(MODEL), DREAM),
    "decode": (Decode(MODEL), SEEN),
}
WRONG = [
    ("observe", {"images": pictures(1, 2, 64, 64)}, r"keyframes must be \(B, 3, 3, 64, 64\) float; found \(1, 2"),
    ("observe", {"images": pictures(1, 3, 32, 32)}, r"keyframes must be .* found \(1, 3, 3, 32, 32\)"),
    ("observe", {"images": torch.rand(1, 3, 64, 64, 3)}, "pictures must be .* uint8; found .* float32"),
    ("observe", {"images": torch.zeros(1, 3, 64, 64, 4, dtype=torch.uint8)}, "pictures must be .*, 3. uint8; found"),
    ("observe", {"text": torch.randn(1, 5, 31)}, r"text must be \(B, words, 32\) float; found \(1, 5, 31\)"),
    ("observe", {"text": torch.randn(2, 5, 32)}, "same number of rows; found keyframes 1, text 2"),
    ("observe", {"mask": torch.ones(48, 48)}, r"mask must be \(B, 48, 48\) float; found \(48, 48\)"),
    ("observe", {"mask": torch.ones(1, 1, 48)}, r"mask must be \(B, 48, 48\) float; found \(1, 1, 48\)"),
    ("observe", {"mask": torch.ones(1, 48, 48, dtype=torch.bool)}, "mask must be .* float; found .* bool"),
    ("observe", {"mask": -torch.ones(1, 48, 48)}, "mask must lie in 0..1; found -1..-1"),
    ("observe", {"mask": torch.full((1, 48, 48), float("nan"))}, "mask must lie in 0..1; found nan..nan"),
    ("observe", {"chunk": index(-1)}, "chunk must lie in 0..; found -1..-1"),
    ("observe", {"chunk": index(0, 1)}, "same number of rows"),
    ("observe", {"chunk": torch.zeros(1)}, "chunk must be .B,. int64; found .* float32"),
    ("observe", {"history": PAST["history"]}, "takes no pictures of the past; found some"),
    ("observe_past", {"history": None}, "needs pictures of the past; found none"),
    ("observe_past", {"history": pictures(1, 3, 3, 64, 64)}, "multiple of 4 pictures per camera; found 3"),
    ("observe_past", {"history": pictures(1, 3, 8, 64, 64)}, "at most 1 latent frames; found 2"),
    ("observe_past", {"history": pictures(1, 2, 4, 64, 64)}, r"history must be \(B, 3, n, 64, 64, 3\) uint8; found"),
    ("act", {"noisy": torch.randn(1, 8, 13)}, r"noisy must be \(B, T, 14\) float; found \(1, 8, 13\)"),
    ("act", {"noisy": torch.randn(1, 65, 14), "t": torch.rand(1, 65)}, "at most 64 steps; found 65"),
    ("act", {"t": torch.rand(1, 1)}, r"t must be \(B, 8\) float; found \(1, 1\)"),
    ("act", {"t": 1 + torch.rand(1, 8)}, r"t must lie in 0..1; found 1\."),
    ("act", {"t": torch.full((1, 8), -0.1)}, "t must lie in 0..1; found -0.1"),
    ("act", {"video": torch.randn(1, 1, 9, 256)}, r"video must be \(2, B, tokens, 256\) float; found \(1, 1, 9"),
    ("act", {"state": torch.randn(1, 1)}, r"state must be \(B, 14\) float; found \(1, 1\)"),
    ("act", {"window": index(2)}, "window must lie in 0..1; found 2..2"),
    ("imagine", {"noisy": torch.randn(1, 3, 16, 2, 8, 7)}, r"noisy must be \(B, 3, 16, frames, 8, 8\) float; found"),
    ("imagine", {"t": torch.rand(1, 1)}, r"t must be \(B,\) float; found \(1, 1\)"),
    ("imagine", {"mask": torch.ones(1, 16, 16)}, r"masks must be \(B, 3, 48, 48\) float; found \(1, 3, 16, 16\)"),
    ("decode", {"latents": torch.randn(1, 3, 8, 2, 8, 8)}, r"latents must be \(1, 3, 16, F, 8, 8\) float; found \(1, 3, 8"),
    ("decode", {"latents": torch.randn(1, 2, 16, 2, 8, 8)}, r"latents must be \(1, 3, 16, F, 8, 8\) float; found \(1, 2"),
    ("decode", {"images": pictures(2, 3, 64, 64)}, r"images must be \(1, 3, 64, 64, 3\) uint8; found \(2, 3"),
]  # fmt: skip


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_fits_is_taken(graph):
    module, inputs = GRAPHS[graph]
    module(**inputs)


@pytest.mark.parametrize("graph, change, sentence", WRONG)
def test_what_does_not_fit_a_graph_is_refused(graph, change, sentence):
    module, inputs = GRAPHS[graph]
    with pytest.raises(SpecError, match=sentence):
        module(**(inputs | change))


CALLS = {
    "token outside": (lambda: MODEL.video.captions(index(*[999] * 16)[None]), "tokens must lie in 0..[0-9]+; found 999"),
    "negative token": (lambda: MODEL.video.captions(index(*[-1] * 16)[None]), "tokens must lie in"),
    "short caption": (lambda: MODEL.video.captions(index(1, 2)[None]), r"tokens must be \(B, 16\) int64; found \(1, 2\)"),
    "word vectors": (lambda: MODEL.video.captions(torch.rand(1, 16)), "tokens must be .* int64; found .* float32"),
    "noise without a level": (
        lambda: MODEL.video(torch.zeros(1, 3, 3, 64, 64), LOOK["text"], noisy=DREAM["noisy"]),
        "noisy latents and their noise level t go together; found only noisy",
    ),
    "byte keyframes": (
        lambda: MODEL.video.look(torch.zeros(1, 3, 3, 64, 64, dtype=torch.uint8), LOOK["text"]),
        "keyframes must be .* float",
    ),
    "masks of fewer frames": (
        lambda: MODEL.video(
            torch.zeros(1, 3, 3, 64, 64), LOOK["text"], noisy=DREAM["noisy"], t=DREAM["t"],
            masks=torch.ones(1, 2, 48, 48),
        ),
        r"masks must be \(B, 3, 48, 48\)",
    ),
    "states of other layers": (
        lambda: MODEL.action.read_video(
            [torch.zeros(1, 9, 48)], torch.zeros(9, dtype=torch.int64), index(0), torch.zeros(1, 2, 3)
        ),
        "states must be 2, one per video layer; found 1",
    ),
    "negative length": (
        lambda: MODEL.action(
            STEP["noisy"], STEP["t"], STEP["video"], STEP["state"], Timing(torch.tensor([-3.0]), index(0)), None
        ),
        "length must lie in 1..; found -3..-3",
    ),
    "mask of other steps": (
        lambda: MODEL.action(
            STEP["noisy"], STEP["t"], STEP["video"], STEP["state"], Timing(torch.tensor([8.0]), index(0)),
            torch.ones(1, 1, 1, 1, dtype=torch.bool),
        ),
        r"mask must be \(B, 1, 1, 8\) bool; found \(1, 1, 1, 1\)",
    ),
    "history of other views": (
        lambda: encode_history(MODEL, LOOK["images"], pictures(1, 1, 4, 64, 64)), r"history must be \(B, 3, n, 64"
    ),
    "grey pictures": (lambda: network_pictures(torch.zeros(64, 64, 1, dtype=torch.uint8)), r"must be \(64, 64, 3\) uint8"),
    "unknown preset": (lambda: preset("huge"), "preset must be one of nano, small, .*; found 'huge'"),
    "cameras of another network": (
        lambda: WallWM(preset("nano"), dataclasses.replace(small_spec(), cameras=small_spec().cameras[:2])),
        "cameras of model nano must be 3, as its network's; found 2",
    ),
    "pictures of another size": (lambda: WallWM(preset("small"), big()), "pictures of model nano must be .*64, 64.*; found"),
    "too much history": (
        lambda: WallWM(preset("nano"), dataclasses.replace(small_spec(), history=3)), "must be 0..1; found 3"
    ),
    "no sampler steps": (lambda: schedule(0), "at least 1 step; found 0"),
    "share above one": (lambda: LossConfig(sight=1.5), "sight must be 0 to 1; found 1.5"),
    "no draws": (lambda: LossConfig(draws=0), "draws must be 1 to any; found 0"),
    "no batch": (lambda: TrainConfig(steps=1, batch=0), "batch must be 1 to any; found 0"),
    "rate that is no number": (lambda: TrainConfig(steps=1, batch=1, adam_lr=float("nan")), "adam_lr must be 0 to any; found nan"),
    "too few numbers": (
        lambda: small_spec().normalisation.encode(np.zeros((3, 1))), r"rows must have 14 columns.*; found \(3, 1\)"
    ),
}  # fmt: skip


def big():
    cameras = tuple(dataclasses.replace(c, height=128, width=128) for c in small_spec().cameras)
    return dataclasses.replace(small_spec(), cameras=cameras)


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_a_call_is_refused(name):
    call, sentence = CALLS[name]
    with pytest.raises(SpecError, match=sentence):
        call()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"joints": JOINTS[::-1]}, "joints of the data must be"),
        ({"cameras": small_spec().cameras[::-1]}, "cameras of the data must be .*wrist_cam_right.*; found .*head_cam"),
        ({"horizon": 48}, "longest event of the data must be 48, as of model nano; found 64"),
        ({"picture_steps": 2}, "steps between pictures of the data must be 2, as of model nano; found 4"),
    ],
)
def test_data_of_another_robot_is_refused(change, sentence, data):
    spec = dataclasses.replace(small_spec(), **({"joints": JOINTS} | change))
    with pytest.raises(SpecError, match=sentence):
        Loader(EventDataset(data), spec, batch=2, seed=0)


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "video-ema.safetensors"
    assert not load_stage(MODEL, "video", tmp_path)
    path.write_bytes(b"no tensors here")
    with pytest.raises(SpecError, match="must be a readable safetensors file; found"):
        load_stage(MODEL, "video", tmp_path)
    whole = {k: v.contiguous() for k, v in stage_tensors(MODEL, "video").items()}
    shallow = {k: v for k, v in whole.items() if "blocks.1." not in k}
    for tensors, sentence in (
        ({}, "tensors of this architecture; found .* missing"),
        (shallow, r"found \d+ missing: video.dit.blocks.1"),
        (whole | {"video.queries": torch.zeros(3, 2, 192)}, r"video.queries \(3, 2, 192\) instead of \(3, 2, 48\)"),
        (whole | {"other.weight": torch.zeros(1)}, "1 not expected: other.weight"),
    ):
        save_file(tensors, path)
        with pytest.raises(SpecError, match=sentence):
            load_stage(MODEL, "video", tmp_path)
    save_file(whole, path)
    assert load_stage(MODEL, "video", tmp_path)
    save_file({"other.weight": torch.zeros(1)}, path)
    with pytest.raises(SpecError, match="found 1 missing: a; 1 not expected: other.weight"):
        read_stage(path, {"a": (1,)})


def test_a_training_says_what_it_lacks(data, tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def start(model="nano", stages=("video",), **more):
        train(model, data, tmp_path, stages=stages, steps=1, processes=1, **more)

    with pytest.raises(SpecError, match="model must be one of nano, .*; found 'mega'"):
        start("mega")
    for stages, found in ((("audio",), "audio"), ((), "none")):
        with pytest.raises(SpecError, match=f"stages of nano must be among video, action, .*, staircase; found {found}"):
            start(stages=stages)
    with pytest.raises(SpecError, match="action stage needs the video stage's weights in .*; found none"):
        start(stages=("action",))
    with pytest.raises(SpecError, match="sharding needs at least 2 processes"):
        start(sharded=True)
    with pytest.raises(SpecError, match="must hold a training of nano-pose; found one of nano: choose another"):
        start("nano-pose")
    with pytest.raises(SpecError, match="action_space must be one of joint_position, .*; found 'torque'"):
        make_spec("nano", "nano", data, "torque")
    with pytest.raises(SpecError, match="preset must be one of"):
        build(dataclasses.replace(small_spec(), preset="huge"), tmp_path, "video")
    with pytest.raises(WallWMError, match="export needs the weights of the video stage in .*; found none"):
        load_trained(tmp_path)


class Nothing:
    """An engine that must not be reached."""

    spec = dataclasses.replace(small_spec(), modes=("event", "unified"), sources=("instruction",))


@pytest.mark.parametrize(
    "change, more, sentence",
    [
        ({"history": ()}, {}, "unified mode reads 4 earlier pictures; found 0"),
        ({}, {"chunk": -1}, "chunk's index must be 1 or more, or 0 if unknown; found -1"),
        ({"state": np.zeros(13)}, {}, r"state must have shape \(14,\); found \(13,\)"),
        ({}, {"committed": np.zeros((2, 1))}, r"committed targets must be \(d, 14\) finite values; found shape \(2, 1\)"),
        ({}, {"committed": np.full((2, 14), np.nan)}, "with values that are not finite"),
        ({"images": {}}, {}, "must have cameras head_cam, .*; head_cam, .* missing"),
    ],
)
def test_a_policy_refuses_what_its_model_does_not_read(change, more, sentence):
    images = {c.name: np.zeros((64, 64, 3), np.uint8) for c in Nothing.spec.cameras}
    whole = {"images": images, "state": np.zeros(14), "stamp_ns": 0, "history": (images,) * 4}
    with pytest.raises(ObservationError, match=sentence):
        Policy(Nothing()).unified(Observation(**(whole | change)), "reach the red cube with the left arm", **more)
