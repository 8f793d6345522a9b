"""A model of Wan's sizes is one model: public weights, training, both modes, graphs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_spec  # noqa: E402
from public_fixtures import SMALL, add_presets, write_public, write_tokenizer  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.deploy.export import load_trained, source_of  # noqa: E402
from wallwm_model.deploy.sessions import session  # noqa: E402
from wallwm_model.deploy.tracing import trace  # noqa: E402
from wallwm_model.engines.messages import spec_hash  # noqa: E402
from wallwm_model.errors import BundleError, CaptionError, SpecError  # noqa: E402
from wallwm_model.network.config import PRESETS, NetworkConfig, preset  # noqa: E402
from wallwm_model.network.model import WallWM, network_pictures  # noqa: E402
from wallwm_model.network.presets import is_new, load_public, parameters  # noqa: E402
from wallwm_model.policy import Policy  # noqa: E402
from wallwm_model.preprocess import Observation  # noqa: E402
from wallwm_model.spec import ModelSpec  # noqa: E402
from wallwm_model.train import distill_run  # noqa: E402
from wallwm_model.train.cli import make_spec, prepare, train  # noqa: E402
from wallwm_model.train.loop import beginning, build  # noqa: E402
from wallwm_model.train.public import PublicWeights  # noqa: E402

pytestmark = pytest.mark.train

REACH = "reach the red cube with the left arm"


@pytest.fixture(autouse=True)
def small_presets(monkeypatch):
    add_presets(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def spec_for(sizes: NetworkConfig) -> ModelSpec:
    small = small_spec()
    cameras = tuple(dataclasses.replace(camera, width=sizes.image, height=sizes.image) for camera in small.cameras)
    return dataclasses.replace(
        small, cameras=cameras, patches=sizes.grid, latent=sizes.latent, text=sizes.text, vocabulary=()
    )


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.2-5b"])
def test_the_public_sizes_are_whole_models(name, monkeypatch):
    monkeypatch.undo()
    sizes = preset(name)
    with torch.device("meta"):
        model = WallWM(sizes, spec_for(sizes))
    assert all(tensor.is_meta for tensor in model.parameters())
    video = model.video
    assert parameters(video.captions) == 5_680_910_336 and video.captions.width == sizes.text_width
    assert (video.codec.channels, video.codec.stride) == (sizes.latent_channels, sizes.latent_stride)
    pictures = torch.empty(1, 3, sizes.image, sizes.image, device="meta")
    patches, token, points = video.stems[0](pictures)
    assert patches.shape == (1, sizes.patches, sizes.width) and token.shape == (1, 1, sizes.width)
    assert points.shape == (1, 6 * sizes.keypoints)


@pytest.mark.parametrize("name", SMALL)
def test_public_weights_fill_what_awaits_them(name, tmp_path):
    sizes, folder = SMALL[name], write_public(name, tmp_path)
    model = WallWM(sizes, spec_for(sizes), awaiting=True)
    assert {"dit", "codec", "captions"} == {
        part for part, module in model.video.named_children() if any(p.is_meta for p in module.parameters())
    }
    other = load_public(WallWM(sizes, spec_for(sizes)), folder)
    load_public(model, folder)
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert {p.dtype for p in model.video.captions.parameters()} == {torch.bfloat16}
    for key, value in model.video.dit.state_dict().items():
        if not is_new(key):
            assert torch.equal(value, other.video.dit.state_dict()[key]), key
    words = torch.tensor([[5, 6, 7, 1] + [0] * 12])
    found = model.video.captions(words)
    assert found.dtype == torch.float32 and found[0, :4].any() and not found[0, 4:].any()


def test_public_weights_go_where_the_rest_of_the_model_is_made(tmp_path):
    """As under torchrun on GPUs, where the default device is one; the meta device stands in for it here."""
    sizes = SMALL["wan2.1-tiny"]
    folder, model = write_public("wan2.1-tiny", tmp_path), WallWM(SMALL["wan2.1-tiny"], spec_for(sizes), awaiting=True)
    with torch.device("meta"):
        load_public(model, folder)
    parts = (model.video.dit, model.video.codec, model.video.captions)
    assert {p.device.type for part in parts for p in part.parameters()} == {"meta"}
    assert not any(p.is_meta for p in model.action.parameters())


def test_the_state_of_a_whole_model_depends_on_the_caption_and_the_past(tmp_path):
    name = "wan2.2-tiny"
    sizes = SMALL[name]
    model = load_public(WallWM(sizes, spec_for(sizes)), write_public(name, tmp_path)).eval()
    keyframes = network_pictures(torch.randint(0, 255, (1, 3, 64, 64, 3), dtype=torch.uint8))
    one, two = (model.video.captions(torch.tensor([[word, 1, *[0] * 14]])) for word in (5, 9))
    past = torch.randn(1, 3, *sizes.latent[:1], 1, *sizes.latent[1:])
    with torch.no_grad():
        told, other = model.video(keyframes, one), model.video(keyframes, two)
        whole = model.video(keyframes, one, history=past, noisy=past, t=torch.ones(1))
    assert told.states[-1].shape == (1, 3 * (sizes.extras + sizes.patches), sizes.width)
    assert whole.velocity.shape == past.shape and torch.isfinite(whole.velocity).all()
    assert not torch.allclose(told.states[-1], other.states[-1])


@pytest.mark.parametrize("name", SMALL)
def test_a_model_on_public_weights_learns_and_acts_in_both_modes(name, data, tmp_path):
    from wallwm_model.engines.torch_engine import engine_of

    public, out = write_public(name, tmp_path / "public"), tmp_path / "out"
    train(name, data, out, stages=("video", "action"), steps=2, processes=1, weights=PublicWeights(public))
    model, spec = load_trained(out)
    assert (spec.text, spec.vocabulary, spec.patches) == ("umt5", (), SMALL[name].grid)
    fresh = beginning(spec, out)
    for part in ("captions", "codec"):
        theirs = getattr(fresh.video, part).state_dict()
        for key, value in getattr(model.video, part).state_dict().items():
            assert torch.equal(value, theirs[key].half().float()), f"{part}.{key} is frozen"
    assert not torch.equal(model.video.dit.proj_out.weight, fresh.video.dit.proj_out.weight.half().float())

    policy, seen = Policy(engine_of(model, None, spec)), some_look(spec)
    policy.warm()
    assert policy.event(seen, REACH, 1.0).actions.shape == (20, 14)
    assert policy.unified(seen, REACH).actions.shape == (spec.chunk_steps, 14)
    assert policy.imagine(seen, REACH, euler_steps=2).shape == (3, 4 * spec.imagined_frames, 64, 64, 3)
    with pytest.raises(CaptionError, match="must have 1 to 511 tokens; found 600"):
        policy.event(seen, "reach " * 600)


def some_look(spec: ModelSpec) -> Observation:
    rng = np.random.default_rng(0)
    shots = [
        {camera.name: rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for camera in spec.cameras}
        for _ in range(1 + spec.history_pictures)
    ]
    return Observation(shots[0], np.asarray(spec.normalisation.mean), 0, history=tuple(shots[1:]))


def test_umt5_and_the_wan_codec_become_graphs(tmp_path):
    """The other graphs are those of every model; all were compared once, see docs/training.md."""
    sizes = SMALL["wan2.2-tiny"]
    model = load_public(WallWM(sizes, spec_for(sizes)), write_public("wan2.2-tiny", tmp_path)).float().eval()
    tokens = torch.tensor([[5, 6, 7, 1] + [0] * 12])
    pictures = torch.rand(1, 3, 1, 64, 64) * 2 - 1
    for module, name, given in ((model.video.captions, "tokens", tokens), (Encode(model), "pictures", pictures)):
        graph = trace(module, {name: given}, ["out"])
        found = session(graph)({name: given.numpy()})["out"]
        assert np.abs(found - module(given).detach().numpy()).max() < 1e-4


class Encode(torch.nn.Module):
    def __init__(self, model: WallWM):
        super().__init__()
        self.codec = model.video.codec

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.codec.encode(pictures)


def test_a_bundle_without_its_tokenizer_is_refused(tmp_path):
    from wallwm_model.bundle import verify, write_manifest

    sizes = SMALL["wan2.1-tiny"]
    (tmp_path / "spec.json").write_text(spec_for(sizes).to_json())
    for name in ("model.safetensors", "text.onnx", "observe.onnx", "act.onnx"):
        (tmp_path / name).write_bytes(b"")
    write_manifest(tmp_path)
    with pytest.raises(SpecError, match="must list tokenizer.json, which its specification needs; found none"):
        verify(tmp_path)
    write_tokenizer(tmp_path)
    write_manifest(tmp_path)
    assert verify(tmp_path).tokenise("reach the cube")[3:].tolist() == [1] + [0] * 12


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("wan2.1-tiny", None, r"needs the folder of its public Wan checkpoint \(--weights\); found none"),
        ("wan2.1-tiny", "nowhere", "found no folder .*nowhere"),
        ("wan2.1-tiny", "", "must hold its tokenizer, .*tokenizer.json; found none"),
        ("nano", "", "model nano trains from nothing and takes no public weights; found"),
    ],
)
def test_public_weights_that_are_missing_or_not_wanted_are_refused(name, weights, said, data, tmp_path):
    folder = None if weights is None else tmp_path / weights
    with pytest.raises(SpecError, match=said):
        prepare(name, data, tmp_path / "out", PublicWeights(folder))
    assert not (tmp_path / "out" / "spec.json").exists()


def test_weights_of_another_size_or_none_are_refused(tmp_path):
    folder = write_public("wan2.1-tiny", tmp_path)
    sizes = SMALL["wan2.2-tiny"]
    with pytest.raises(SpecError, match="must hold the .* tensors of this architecture; found"):
        load_public(WallWM(sizes, spec_for(sizes), awaiting=True), folder)
    small = NetworkConfig(layers=2, width=48, heads=2, ffn=64)
    with pytest.raises(SpecError, match="only presets of Wan's sizes start from public weights"):
        load_public(WallWM(small, small_spec()), folder)


def test_a_training_whose_public_weights_are_gone_says_so(data, tmp_path):
    public = write_public("wan2.1-tiny", tmp_path / "public")
    prepare("wan2.1-tiny", data, tmp_path / "out", PublicWeights(public))
    public.rename(tmp_path / "moved")
    spec = ModelSpec.load(tmp_path / "out" / "spec.json")
    with pytest.raises(SpecError, match="a checkpoint must be a folder with .*; found no folder .*public"):
        build(spec, tmp_path / "out", "video")


def test_a_specification_follows_its_preset(data):
    spec = make_spec("wide", "wan2.2-tiny", data)
    assert (spec.patches, spec.latent, spec.caption_length) == ((2, 2), (48, 4, 4), 512)
    with pytest.raises(SpecError, match="text encoder of model nano must be umt5, as its network's; found words"):
        WallWM(SMALL["wan2.1-tiny"], dataclasses.replace(spec_for(SMALL["wan2.1-tiny"]), text="words"))
    with pytest.raises(SpecError, match="need a tokenizer beside its spec.json; found no folder"):
        spec.tokenise(REACH)


def test_a_training_keeps_to_the_public_weights_that_it_began_with(data, tmp_path):
    name, out = "wan2.1-tiny", tmp_path / "out"
    first, second = write_public(name, tmp_path / "first"), write_public(name, tmp_path / "second")
    prepare(name, data, out, PublicWeights(first))
    for again in (first, out / "public"):
        prepare(name, data, out, PublicWeights(again))
        assert (out / "public").samefile(first)
    with pytest.raises(SpecError, match="must go on from .*first; found .*second: choose another --out"):
        prepare(name, data, out, PublicWeights(second))


def test_a_student_has_its_teachers_public_weights(data, tmp_path):
    name, teacher, student = "wan2.1-tiny", tmp_path / "teacher", tmp_path / "student"
    train(
        name, data, teacher, stages=("video", "action"), steps=1, processes=1,
        weights=PublicWeights(write_public(name, tmp_path / "public")),
    )  # fmt: skip
    distill_run.prepare(teacher, student, 2)
    (student / "spec.json").unlink()
    distill_run.prepare(teacher, student, 2)  # as after a stop before the last file
    spec = ModelSpec.load(student / "spec.json")
    assert spec.euler_steps == 2 and spec.tokenise(REACH).shape == (512,)
    assert build(spec, student, "distill").config.public


def test_data_of_another_size_leaves_nothing_behind(data, tmp_path, monkeypatch):
    larger = dataclasses.replace(SMALL["wan2.1-tiny"], image=96)
    monkeypatch.setitem(PRESETS, "wan2.1-tiny", larger)
    public = PublicWeights(write_public("wan2.1-tiny", tmp_path / "public"))
    with pytest.raises(SpecError, match=r"must have 96 px \(`wallwm data sim --size`\); found 64 in"):
        prepare("wan2.1-tiny", data, tmp_path / "out", public)
    assert not (tmp_path / "out" / "spec.json").exists()


def test_models_too_large_for_a_graph_are_refused_before_they_are_traced(monkeypatch):
    monkeypatch.undo()
    sizes = preset("wan2.1-1.3b")
    with torch.device("meta"):
        model = WallWM(sizes, spec_for(sizes))
    with pytest.raises(BundleError, match="of the text graph may have 2.1 GB .* found 22.7 GB"):
        source_of(model, spec_for(sizes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(text="words"), "text umt5 goes with a codec of Wan, words with codec patch; found words with wan2.1"),
        (dict(patch=3, image=96), "must be a power of 2 from 8 px up; found 8 x 3"),
    ],
)
def test_sizes_that_no_public_checkpoint_has_are_refused(changes, said):
    with pytest.raises(SpecError, match=said):
        dataclasses.replace(SMALL["wan2.1-tiny"], **changes)


def test_server_and_client_must_have_the_same_tokenizer(tmp_path):
    """Ids are all that goes over the wire: they must mean the same on both sides."""
    spec = spec_for(SMALL["wan2.1-tiny"])
    for name in ("one", "two", "three"):
        (write_tokenizer(tmp_path / name).parent / "spec.json").write_text(spec.to_json())
    other = tmp_path / "three" / "tokenizer.json"
    other.write_text(other.read_text().replace('"reach"', '"grab"'))
    one, two, three = (spec_hash(ModelSpec.load(tmp_path / name / "spec.json")) for name in ("one", "two", "three"))
    assert one == two != three
    said = ModelSpec.load(tmp_path / "one" / "spec.json")
    assert said.said(said.tokenise(REACH)) == REACH, "as openpi's servers want it"
    assert not {"text", "language"} & json.loads(small_spec().to_json()).keys(), "older models keep their hash"
