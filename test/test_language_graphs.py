"""The language side as ONNX graphs: every engine says what torch says, with one list of words."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs the training environment")
pytest.importorskip("transformers")
onnxruntime = pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

from language_fixtures import observation, tiny_language  # noqa: E402

from wallwm_model.deploy.language import trace_language  # noqa: E402
from wallwm_model.deploy.weights import WeightFile, read_part  # noqa: E402
from wallwm_model.engines.explain import explain  # noqa: E402
from wallwm_model.lexicon import WordList  # noqa: E402
from wallwm_model.network.language.graphs import Explain, Reason  # noqa: E402
from wallwm_model.wording import vocabulary  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def language():
    return tiny_language().half().float()


@pytest.fixture(scope="module")
def folder(language, tmp_path_factory):
    out = tmp_path_factory.mktemp("language")
    weights, graphs = WeightFile({}), trace_language(language, horizon=64)
    weights.add({f"language.{name}": value for name, value in language.state_dict().items()})
    for graph in graphs.values():
        weights.take(graph)
    weights.save(out / "model.safetensors")
    for name, graph in graphs.items():
        (out / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return out


def engines(path):
    """The same graph in ONNX Runtime and in OpenVINO, name -> array in and out."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def by_onnx(inputs):
        return dict(zip(names, session.run(None, inputs)))

    def by_openvino(inputs):
        found = compiled(inputs)
        return {name: found[name] for name in names}

    return by_onnx, by_openvino


@torch.no_grad()
def test_reason_agrees(language, folder):
    pictures, text = observation(language, batch=1)
    names = ("vlm", "staircase", "latents", "caption", "remaining")
    wanted = dict(zip(names, Reason(language, 64)(pictures, text)))
    for engine in engines(folder / "reason.onnx"):
        found = engine({"images": pictures.numpy(), "tokens": text.numpy()})
        for name in names:
            np.testing.assert_allclose(found[name], wanted[name].numpy(), atol=1e-4, rtol=1e-4, err_msg=name)


@torch.no_grad()
def test_explain_agrees_and_reads_the_same_text(language, folder):
    pictures, text = observation(language, batch=1)
    latents = language.latents(language.prefill(pictures, text))
    tokens = torch.randint(0, 60, (1, language.config.reason_length))
    wanted, words = Explain(language)(latents, tokens).numpy(), WordList(vocabulary())
    for engine in engines(folder / "explain.onnx"):
        found = engine({"latents": latents.numpy(), "tokens": tokens.numpy()})["logits"]
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
        said = explain(engine, latents[0].numpy(), words, language.config.reason_length)
        assert said == language.explain(latents, words)[0]


def test_weights_load_back_even_where_another_part_has_stored_them(language, folder, tmp_path):
    state = language.state_dict()
    for name, value in read_part(folder / "model.safetensors", "language.").items():
        assert torch.equal(value, state.pop(name)), name
    assert not state
    eyes = {f"video.{k}": v for k, v in language.state_dict().items() if "stems" in k}
    weights = WeightFile(eyes)
    weights.add({f"language.{k}": v for k, v in language.state_dict().items()})
    weights.save(tmp_path / "model.safetensors")
    size = (folder / "model.safetensors").stat().st_size
    assert (tmp_path / "model.safetensors").stat().st_size < size + 0.1 * sum(2 * v.numel() for v in eyes.values())
    found = read_part(tmp_path / "model.safetensors", "language.")
    assert all(torch.equal(found[k], v) for k, v in language.state_dict().items())
