"""The exported graphs give what torch gives, on every installed engine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

import bundle_fixtures  # noqa: E402
from bundle_fixtures import UNIFIED  # noqa: E402
from model_fixtures import small_spec  # noqa: E402

from safetensors.torch import load_file  # noqa: E402

from wallwm_model.bundle import write_manifest  # noqa: E402
from wallwm_model.deploy import export  # noqa: E402
from wallwm_model.deploy.language import reasoning  # noqa: E402
from wallwm_model.deploy.weights import read_part  # noqa: E402
from wallwm_model.engines import Look, load_engine  # noqa: E402
from wallwm_model.errors import EngineError  # noqa: E402
from wallwm_model.flow import euler  # noqa: E402
from wallwm_model.network.config import PRESETS  # noqa: E402
from wallwm_model.network.language.config import beside  # noqa: E402
from wallwm_model.network.language.graphs import Reason  # noqa: E402
from wallwm_model.network.language.model import Language  # noqa: E402
from wallwm_model.network.model import Act, Decode, Imagine, Observe  # noqa: E402
from wallwm_model.wording import decode  # noqa: E402
from wallwm_ros.cli import bench  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402

pytestmark = pytest.mark.train

ENGINES = ("openvino", "onnx")  # the ones of every machine


def untrained_language(model):
    """Off its zero initialisations, so that every path counts; with the eyes of the model's video tower."""
    torch.manual_seed(2)
    language = Language(beside(model.config))
    for parameter in language.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    video = {k.removeprefix("video."): v for k, v in model.state_dict().items() if k.startswith("video.")}
    language.backbone.qwen.visual.patch_embed.start_from(video)
    return language.half().float().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    model, spec = bundle_fixtures.model(), dataclasses.replace(small_spec(), **UNIFIED)
    language = untrained_language(model)
    spec = reasoning(spec, language)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "trace_graphs", lambda *_: bundle_fixtures.graphs())  # once for all tests
        export.export_graphs(model, spec, folder, language)
    (folder / "spec.json").write_text(spec.to_json())
    write_manifest(folder)
    return folder, model, spec


def looks(spec):
    """One look per window: with and without a mask, with and without a past."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    state = rng.standard_normal(14).astype(np.float32)
    tokens = spec.tokenise("reach the red cube with the left arm")
    mask = rng.random((48, 48)) < 0.5
    past = rng.integers(0, 255, (3, 4, 64, 64, 3), dtype=np.uint8)
    return Look(images, state, tokens), Look(images, state, tokens, mask | mask.T, past, chunk=3)


def torch_observe(model, spec, look):
    """The same look through torch."""
    mask = torch.ones(48, 48) if look.mask is None else torch.from_numpy(look.mask).float()
    past = None if look.history is None else torch.from_numpy(look.history)[None]
    text = model.video.captions(torch.from_numpy(look.tokens)[None])
    graph = Observe(model, spec.horizon, past=past is not None)
    return graph(torch.from_numpy(look.images)[None], text, mask[None], torch.tensor([look.chunk]), past)


@pytest.mark.parametrize("name", ENGINES)
def test_engine_equals_torch(bundle, name):
    folder, model, spec = bundle
    engine = load_engine(folder, name, threads=1)
    prefix = np.random.default_rng(5).standard_normal((6, 14)).astype(np.float32)
    for window, look in enumerate(looks(spec)):
        context = engine.observe(look)
        video, remaining, positions = torch_observe(model, spec, look)
        assert np.abs(context.tensors["video"] - video.numpy()).max() < 1e-4
        assert abs(context.remaining_steps - float(remaining)) < 1e-3
        assert np.abs(context.tensors["positions"] - positions[0].numpy()).max() < 1e-4
        for steps, committed in ((4, None), (37, prefix), (64, None)):
            expected = torch_act(model, video, look.state, steps, window, committed)
            found = engine.act(context, steps, 5, 7, committed)
            assert np.abs(found - expected).max() < 1e-4
            if committed is not None:
                assert np.array_equal(found[:6], committed)


def torch_act(model, video, state, steps, window, committed):
    known = 0 if committed is None else len(committed)

    def clean(x, t):
        level = torch.full((1, steps), t)
        level[:, :known] = 0
        args = torch.from_numpy(state)[None], torch.tensor([window])
        return Act(model)(torch.from_numpy(x), level, video, *args).numpy()

    noise = np.random.default_rng(7).standard_normal((1, steps, 14), dtype=np.float32)
    return euler(clean, noise, 5, committed)[0]


@pytest.mark.parametrize("name", ENGINES)
def test_imagined_video_equals_torch(bundle, name):
    folder, model, spec = bundle
    look = looks(spec)[0]
    images, text = torch.from_numpy(look.images)[None], model.video.captions(torch.from_numpy(look.tokens)[None])
    x = np.random.default_rng(4).standard_normal((1, 3, 16, 2, 8, 8), dtype=np.float32)
    for t, following in ((1.0, 0.5), (0.5, 0.0)):
        level = torch.tensor([t])
        velocity = Imagine(model)(images, text, torch.ones(1, 48, 48), torch.from_numpy(x), level)
        x = x + (following - t) * velocity.numpy()
    expected = Decode(model)(images, torch.from_numpy(x))[0].numpy() * 255
    found = load_engine(folder, name, threads=1).imagine(look, 2, 4)
    assert found.shape == (3, 8, 64, 64, 3) and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("name", ENGINES)
def test_routes_through_the_language_side_equal_torch(bundle, name):
    folder, model, spec = bundle
    language, engine = untrained_language(model), load_engine(folder, name, threads=1)
    look = looks(spec)[0]
    images, tokens = torch.from_numpy(look.images)[None], torch.from_numpy(look.tokens)[None]
    with torch.no_grad():
        vlm, staircase, latents, caption, remaining = Reason(language, spec.horizon)(images, tokens)
    graph, chunk, free = Observe(model, spec.horizon, past=False), torch.tensor([0]), torch.ones(1, 48, 48)
    said = decode(caption[0].argmax(-1).tolist(), spec.words)
    for route, text in (("vlm", vlm), ("staircase", staircase)):
        context = engine.observe(dataclasses.replace(look, route=route))
        assert np.abs(context.tensors["video"] - graph(images, text, free, chunk)[0].numpy()).max() < 1e-4
        assert abs(context.remaining_steps - float(remaining)) < 1e-2
        assert context.next_event == said
    assert np.abs(context.latents - latents[0].numpy()).max() < 1e-4
    assert engine.explain(context.latents) == language.explain(latents, spec.lexicon)[0]
    assert engine.explain(context.latents, stop=lambda: True) == ""
    assert engine.observe(look).latents is None


def test_the_language_side_s_weights_lie_in_the_same_file_once(bundle):
    folder, model, _ = bundle
    state = untrained_language(model).state_dict()
    found = read_part(folder / "model.safetensors", "language.")
    assert found.keys() == state.keys() and all(torch.equal(found[k], v) for k, v in state.items())
    stored = load_file(folder / "model.safetensors")
    assert not any(k.startswith("language.") and ".stems." in k and v.numel() > 256 for k, v in stored.items())


def test_the_benchmark_reads_the_bundle_s_own_language_side(bundle, monkeypatch):
    folder, model, spec = bundle
    read = bench.part("model").trained_language
    assert read(data_path("models/nano")) is not None
    monkeypatch.setitem(PRESETS, spec.preset, model.config)
    wanted = untrained_language(model).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in read(folder).state_dict().items())


def test_weights_are_stored_once_and_load_back(bundle):
    folder, model, spec = bundle
    stored = load_file(folder / "model.safetensors")
    folded = sum(v.numel() for k, v in stored.items() if k.startswith("graph."))
    assert folded < 0.15 * sum(v.numel() for v in stored.values())
    for name, value in model.state_dict().items():
        assert torch.equal(stored[name], value.half()), name


def test_a_prefix_must_leave_something_to_decide(bundle):
    folder, _, spec = bundle
    engine = load_engine(folder, "onnx", threads=1)
    context = engine.observe(looks(spec)[0])
    with pytest.raises(EngineError, match="fewer than 4, 14"):
        engine.act(context, 4, 1, 0, np.zeros((4, 14), np.float32))
    with pytest.raises(EngineError, match="sight mask must have shape"):
        engine.observe(dataclasses.replace(looks(spec)[0], mask=np.ones((3, 3), bool)))
