"""The language stages as `./wallwm train` runs them: on real moments, resumable, and on into a bundle."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

import tiny_training  # noqa: E402
from public_fixtures import add_presets, write_public, write_qwen, write_tokenizer  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from test_train_distributed import SCRIPT, finished  # noqa: E402

from wallwm_model.data.generate import generate  # noqa: E402
from wallwm_model.deploy import export  # noqa: E402
from wallwm_model.deploy.language import load_language, reasoning  # noqa: E402
from wallwm_model.engines.torch_engine import engine_of  # noqa: E402
from wallwm_model.errors import BundleError, CaptionError, SpecError, WallWMError  # noqa: E402
from wallwm_model.lexicon import Qwen  # noqa: E402
from wallwm_model.network.config import preset  # noqa: E402
from wallwm_model.network.language.config import beside  # noqa: E402
from wallwm_model.network.language.model import Language  # noqa: E402
from wallwm_model.network.language.public import load_public  # noqa: E402
from wallwm_model.network.model import WallWM  # noqa: E402
from wallwm_model.policy import Policy  # noqa: E402
from wallwm_model.preprocess import Observation, network_images  # noqa: E402
from wallwm_model.spec import ModelSpec  # noqa: E402
from wallwm_model.train import language_data, language_recipes  # noqa: E402
from wallwm_model.train.cli import prepare, train  # noqa: E402
from wallwm_model.train.language_data import MomentDataset  # noqa: E402
from wallwm_model.train.language_pool import Pool  # noqa: E402
from wallwm_model.train.language_run import build  # noqa: E402
from wallwm_model.train.loop import stage_tensors  # noqa: E402
from wallwm_model.train.public import PublicWeights  # noqa: E402
from wallwm_model.wording import vocabulary  # noqa: E402

pytestmark = pytest.mark.train
STAGES = language_recipes.STAGES


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few and small batches; half of the few episodes held out."""
    patch = pytest.MonkeyPatch()
    patch.setattr(language_data, "HELD_OUT", 0.5)
    changes = {"batch": 4, "warmup": 1, "validate_every": 2}
    for name, recipe in language_recipes.RECIPES.items():
        few = dataclasses.replace(recipe, pool=min(recipe.pool, 12), **changes)
        patch.setitem(language_recipes.RECIPES, name, few)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate(folder, episodes=4, seed=100_000, workers=1)
    return folder


@pytest.fixture(scope="module")
def fresh(data, tmp_path_factory):
    """A training folder with an untrained video stage."""
    out = tmp_path_factory.mktemp("fresh")
    prepare("tiny", data, out)
    torch.manual_seed(0)
    model = WallWM(tiny_training.TINY, ModelSpec.load(out / "spec.json"))
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k.startswith("video.")}
    save_file(weights, out / "video-ema.safetensors")
    return out


def beginning(fresh, out):
    """A copy of the folder with the video stage alone."""
    for name in ("spec.json", "video-ema.safetensors"):
        (out / name).write_bytes((fresh / name).read_bytes())
    return out


def learn(data, out, stages=STAGES, steps=4, **more):
    train("tiny", data, out, stages=stages, steps=steps, processes=1, **more)


@pytest.fixture(scope="module")
def trained(data, fresh, tmp_path_factory):
    out = beginning(fresh, tmp_path_factory.mktemp("trained"))
    learn(data, out)
    return out


def test_one_command_trains_every_stage_with_figures_and_plots(trained):
    shares = {
        "backbone": "next_event",
        "reader": "exact",
        "vlm": "remaining_error",
        "staircase": "align_error",
    }
    for stage, figure in shares.items():
        progress = json.loads((trained / f"{stage}.json").read_text())
        assert [entry["step"] for entry in progress["history"]] == [2, 4]
        assert np.isfinite(list(progress["history"][-1].values())).all() and figure in progress["history"][-1]
        assert (trained / f"{stage}.png").stat().st_size > 5000


def test_what_earlier_stages_made_stays_as_it_was(trained, fresh):
    assert (trained / "video-ema.safetensors").read_bytes() == (fresh / "video-ema.safetensors").read_bytes()
    video, backbone = (load_file(trained / f"{name}.safetensors") for name in ("video-ema", "backbone"))
    eyes = {k: v for k, v in backbone.items() if ".stems." in k}
    assert eyes and all(
        torch.equal(v, video["video.stems." + k.partition("patch_embed.stems.")[2]]) for k, v in eyes.items()
    )


@pytest.mark.parametrize("stage", ["backbone", "staircase"])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(stage, data, trained, fresh, tmp_path):
    out = beginning(fresh, tmp_path)
    for earlier in language_recipes.BUILT_ON.get(stage, ()):
        (out / f"{earlier}.safetensors").write_bytes((trained / f"{earlier}.safetensors").read_bytes())
    patch = pytest.MonkeyPatch()
    patch.setitem(
        language_recipes.RECIPES, stage, dataclasses.replace(language_recipes.RECIPES[stage], decay=0.0)
    )
    learn(data, out, (stage,), 2)
    learn(data, out, (stage,), 4)
    whole = beginning(fresh, tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else None
    for earlier in language_recipes.BUILT_ON.get(stage, ()):
        (whole / f"{earlier}.safetensors").write_bytes((trained / f"{earlier}.safetensors").read_bytes())
    learn(data, whole, (stage,), 4)
    patch.undo()
    first, second = (load_file(folder / f"{stage}.safetensors") for folder in (out, whole))
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_processes_train_one_language_side(data, fresh, tmp_path):
    out = beginning(fresh, tmp_path)
    asked = ["tiny", "--data", data, "--out", out, "--stages", "reader", "--steps", 2, "--processes", 2]
    finished(SCRIPT, *asked)
    assert json.loads((out / "reader.json").read_text())["step"] == 2
    assert len(list(out.glob("reader-optimiser-*.pt"))) == 2
    with pytest.raises(SpecError, match="must be resumed with 2 processes; found 1"):
        learn(data, out, ("reader",))


def test_a_pool_gives_what_the_frozen_backbone_sees(data, trained):
    moments, language = MomentDataset(data), build("staircase", trained)
    pool = Pool(moments, language.backbone, 6, seed=3, rank=0)
    batch = pool.at_step(0, 5, 0)
    index = np.random.default_rng((0, 0, 0)).integers(6, size=5)
    again = moments.batch(pool.rows[index], pool.flip[index])
    assert batch.pictures is None and torch.equal(batch.reason, again.reason)
    with torch.no_grad():
        wanted = language.prefill(again.pictures, again.instruction)
        found = language.backbone.read_seen(batch.seen, batch.instruction)
    torch.testing.assert_close(found.last, wanted.last, atol=1e-2, rtol=1e-2)
    assert not np.array_equal(pool.rows, Pool(moments, language.backbone, 6, seed=3, rank=1).rows)


def test_a_bundle_says_what_its_language_side_can_do(trained, fresh):
    network, spec = preset("tiny"), ModelSpec.load(trained / "spec.json")
    assert load_language(fresh, network) is None and "staircase" not in spec.sources
    told = reasoning(spec, load_language(trained, network))
    assert told.sources == ("instruction", "atomic", "staircase") and told.conditioners == ("words", "vlm")
    assert told.words == vocabulary() and ModelSpec.from_json(told.to_json()) == told
    events = dataclasses.replace(spec, modes=("event",), sources=())
    assert reasoning(events, load_language(trained, network)).sources == ()
    with pytest.raises(
        BundleError, match="caption length of the language side must be 12, as the model's; found 16"
    ):
        reasoning(dataclasses.replace(spec, caption_length=12), load_language(trained, network))


def test_an_export_takes_a_trained_language_side_along(trained, fresh, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = WallWM(tiny_training.TINY, ModelSpec.load(trained / "spec.json"))
    action = {k: v.detach().contiguous() for k, v in stage_tensors(model, "action").items()}
    given = []
    for name in ("trace_graphs", "trace_language"):
        monkeypatch.setattr(export, name, lambda *args, **more: {})
    monkeypatch.setattr(export, "write", lambda source, *args, **facts: given.append(source))
    for number, source in enumerate((fresh, trained)):
        save_file(action, source / "action-ema.safetensors")
        export.export(source, tmp_path / str(number))
    assert ["staircase" in source.spec.sources for source in given] == [False, True]
    assert not given[0].language and set(given[0].state) == set(given[1].state)
    assert {name.partition(".")[0] for name in given[1].language} == {"language"}
    assert {path.name for path in (tmp_path / "1").glob("*.png")} == {f"loss-{stage}.png" for stage in STAGES}


def test_what_is_missing_is_named(data, trained, fresh, tmp_path):
    out = beginning(fresh, tmp_path)
    for stages, message in (
        (("vlm",), "the vlm stage needs the backbone stage's weights"),
        (("video", "speech"), "stages of tiny must be among video, action, adapt, backbone, reader, vlm, staircase; found video, speech"),
    ):
        with pytest.raises(SpecError, match=message):
            learn(data, out, stages)
    with pytest.raises(SpecError, match="can be sharded are video, action, adapt; found reader"):
        learn(data, out, ("video", "reader"), sharded=True)
    (out / "reader.safetensors").write_bytes((trained / "reader.safetensors").read_bytes())
    with pytest.raises(BundleError, match="lacks backbone, vlm, staircase"):
        load_language(out, preset("tiny"))
    for stage in STAGES:
        (out / f"{stage}.safetensors").write_bytes((trained / "reader.safetensors").read_bytes())
    with pytest.raises(SpecError, match="must hold the .* tensors of this architecture"):
        load_language(out, preset("tiny"))
    (out / "video-ema.safetensors").unlink()
    with pytest.raises(WallWMError, match="a trained video tower needs"):
        learn(data, out, ("backbone",))


def test_a_language_side_on_public_models_learns_speaks_and_acts(data, fresh, tmp_path, monkeypatch):
    """Towers on public Wan weights beside Qwen: its stages, then every text route, and the reasoning in words."""
    add_presets(monkeypatch)
    name, out = "wan2.2-tiny", tmp_path / "out"
    public = PublicWeights(write_public(name, tmp_path / "wan"), *write_qwen(tmp_path))
    train(name, data, out, stages=("video", "action", "adapt"), steps=1, processes=1, weights=PublicWeights(public.wan))
    with pytest.raises(SpecError, match=r"needs the folder of a public Qwen checkpoint \(--backbone\); found none"):
        train(name, data, out, stages=("vlm",), steps=2, processes=1)
    with pytest.raises(SpecError, match="stages beside a public backbone and reader are vlm, staircase; found reader"):
        train(name, data, out, stages=("reader",), steps=2, processes=1)
    train(name, data, out, stages=("vlm", "staircase"), steps=2, processes=1, weights=public)

    model, spec = export.load_trained(out)
    language = load_language(out, model.config)
    theirs = load_file(next(public.backbone.glob("*.safetensors")))["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(language.backbone.layers[1].mlp.up_proj.weight, theirs.half().float())
    spec = reasoning(spec, language)
    assert (spec.language, spec.words, spec.tokens("vlm")) == ("qwen", (), (20, 151936))
    assert spec.tokenizers == ("tokenizer.json", "tokenizer-language.json")

    rng = np.random.default_rng(0)
    shots = [
        {camera.name: rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for camera in spec.cameras}
        for _ in range(1 + spec.history_pictures)
    ]
    seen = Observation(shots[0], np.asarray(spec.normalisation.mean), 0, history=tuple(shots[1:]))
    task = "put the red cube on the white pad with the left arm"
    for conditioner in ("words", "vlm"):
        policy = Policy(engine_of(model, language, spec), conditioner=conditioner)
        assert policy.unified(seen, task).actions.shape == (spec.chunk_steps, 14)
    chunk = policy.unified(seen, task, "staircase")
    latents = language.latents(language.prefill(*looked_at(spec, seen, task)))
    assert policy.explain(chunk) == language.explain(latents, spec.lexicon)[0]
    with pytest.raises(CaptionError, match="a text must have 1 to 20 tokens; found 21"):
        policy.unified(seen, "reach " * 21, "staircase")


def looked_at(spec, seen, text):
    """Pictures and ids as the engine gives them to the language side."""
    tokens = torch.from_numpy(spec.tokenise(text, "staircase"))[None]
    return torch.from_numpy(network_images(seen, spec))[None], tokens


def test_reasoning_goes_through_qwens_tokenizer_and_back(tmp_path):
    said = Qwen(write_tokenizer(tmp_path))
    ids = said.reason("the red cube is on the table near left", 12)
    assert ids[9:] == [said.end, 0, 0] and said.text(ids) == "the red cube is on the table near left"
    assert said.caption("reach", 3).tolist()[1:] == [0, 0]
    with pytest.raises(CaptionError, match="a text must have 1 to 2 tokens; found 3"):
        said.reason("the red cube", 3)
    with pytest.raises(CaptionError, match="may not have the mark '</s>'; found it in 'reach </s>'"):
        said.caption("reach </s>", 9)


def test_weights_that_are_no_qwen_are_refused(tmp_path, monkeypatch):
    add_presets(monkeypatch)
    backbone, reader = write_qwen(tmp_path)
    config = beside(preset("wan2.1-tiny"))
    for first, second, said in (
        (reader, reader, "must hold the tensors of this Qwen2_5_VLModel; found .* missing: "),
        (backbone, tmp_path, "found none in"),
    ):
        with pytest.raises(SpecError, match=said):
            load_public(Language(config), first, second)
    wide = dataclasses.replace(config.reader, ffn=48)
    with pytest.raises(SpecError, match="found .* of another shape: layers.0.mlp"):
        load_public(Language(dataclasses.replace(config, reader=wide)), backbone, reader)
    with pytest.raises(SpecError, match="only language sides of Qwen's sizes start from public weights"):
        load_public(Language(beside(preset("tiny"))), backbone, reader)
