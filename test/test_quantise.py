"""8 bits are really 8 bits, and the chunks that come of them stay within the bound, on real runtimes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from bundle_fixtures import bundle, bundle_of_lengths, copy  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from model_fixtures import small_model, small_spec  # noqa: E402
from safetensors import safe_open  # noqa: E402

from wallwm_model import golden  # noqa: E402
from wallwm_model.bundle import CARD, MANIFEST, WEIGHTS, verify_graphs  # noqa: E402
from wallwm_model.deploy import observations, quantise, sensitivity  # noqa: E402
from wallwm_model.deploy.check import check  # noqa: E402
from wallwm_model.deploy.export import convert, from_bundle, source_of  # noqa: E402
from wallwm_model.deploy.layers import layers_of, prepare  # noqa: E402
from wallwm_model.deploy.lengths import check_lengths  # noqa: E402
from wallwm_model.deploy.quantise import SCHEMES  # noqa: E402
from wallwm_model.deploy.sensitivity import Quantiser, fewest  # noqa: E402
from wallwm_model.deploy.weights import LARGE  # noqa: E402
from wallwm_model.deploy.writing import Options, clear  # noqa: E402
from wallwm_model.engines import load_engine  # noqa: E402
from wallwm_model.errors import BundleError, ConfigError  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.slow]

EIGHT = ("fp8", "int8")


def manifest(folder):
    return json.loads((folder / MANIFEST).read_text())


@pytest.mark.parametrize("name", EIGHT)
def test_weights_round_to_the_nearest_value_of_their_channel(name):
    scheme = SCHEMES[name]
    weights = np.random.default_rng(0).standard_normal((300, 7)).astype(np.float32) * np.logspace(-3, 2, 7)
    rounded, scale = quantise.by_channel(weights, 1, scheme)
    assert rounded.dtype == scheme.kind and scale.shape == (7,)
    error = np.abs(rounded.astype(np.float32) * scale - weights) / np.abs(weights).max(0)
    assert error.max() <= (0.5 / 127 if name == "int8" else 2**-4) * 1.001


def test_blocks_have_scales_of_their_own():
    scheme = quantise.Scheme("fp8", SCHEMES["fp8"].kind, 448.0, 21, block=128)
    weights = np.ones((300, 4), np.float32)
    weights[128:256] *= 1000
    rounded, scale = quantise.by_block(weights, 1, scheme)
    assert rounded.shape == (300, 4) and scale.shape == (3, 4)
    assert np.allclose(rounded.astype(np.float32) * scale.repeat(128, 0)[:300], weights, rtol=1e-6)


@pytest.mark.parametrize("name", EIGHT)
def test_weights_lie_in_the_bundle_in_8_bits(name):
    folder = bundle(name)
    stored = {"fp8": "F8_E4M3", "int8": "I8"}[name]
    with safe_open(folder / WEIGHTS, "pt") as file:
        kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}
        sizes = {key: int(np.prod(file.get_slice(key).get_shape())) for key in kinds}
    eight = sum(size for key, size in sizes.items() if kinds[key] == stored)
    assert eight > 0.75 * sum(sizes.values())
    size = (folder / WEIGHTS).stat().st_size
    assert size < 0.35 * 4 * sum(sizes.values())
    assert sum(file.weights[name] for file in verify_graphs(folder).values()) >= eight


@pytest.mark.parametrize("name", EIGHT)
def test_no_graph_silently_stays_in_float32(name):
    kept = manifest(bundle(name))["quantisation"]["kept_in_16_bits"]
    exact = from_bundle(bundle())
    for graph, model in exact.graphs.items():
        layers = layers_of(prepare(model))
        written = onnx.load(bundle(name) / f"{graph}.onnx", load_external_data=False)
        small = [
            t
            for t in written.graph.initializer
            if t.data_type in (onnx.TensorProto.FLOAT8E4M3FN, onnx.TensorProto.INT8)
        ]
        weights = [t for t in small if len(t.dims) > 1]
        shared = len(layers) - len({layer.weight for layer in layers})
        assert len(weights) >= len(layers) - len(kept.get(graph, ())) - shared, graph
        rounded = [node for node in written.graph.node if node.op_type == "QuantizeLinear"]
        assert len(rounded) >= len({layer.activation for layer in layers}) - len(kept.get(graph, ()))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("name", EIGHT)
def test_chunks_stay_within_the_bound_on_every_runtime(name, engine):
    said = manifest(bundle(name))["quantisation"]
    assert said["action_error"] <= said["action_error_bound"] == 0.05
    loaded = load_engine(bundle(name), engine, threads=1)
    exact = load_engine(bundle(), "onnx", threads=1)
    for case in golden.read(bundle(name) / golden_name())[:2]:
        steps = case.steps
        found, wanted = golden.ask(loaded, case.look, steps), golden.ask(exact, case.look, steps)
        difference = found[f"actions_{steps[-1]}"] - wanted[f"actions_{steps[-1]}"]
        assert 0 < np.sqrt(np.mean(difference**2)) < 3 * 0.05


def golden_name():
    from wallwm_model.bundle import GOLDEN

    return GOLDEN


@pytest.mark.parametrize("name", ["fp32", "bf16", *EIGHT])
def test_any_onnx_runtime_reads_the_file_without_our_settings(name):
    for path in bundle(name).glob("*.onnx"):
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_bf16_is_rounded_and_stored_so():
    with safe_open(bundle("bf16") / WEIGHTS, "pt") as file:
        kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}
    rounded = from_bundle(bundle("bf16")).state
    for key, value in from_bundle(bundle()).state.items():
        large = value.numel() >= LARGE
        assert kinds[key] == ("BF16" if large else "F16"), key
        assert torch.equal(rounded[key], value.bfloat16().float() if large else value), key


def test_a_tighter_bound_keeps_more_layers(monkeypatch):
    monkeypatch.setattr(sensitivity, "LATE", 1e9)
    monkeypatch.setattr(sensitivity, "OTHERS", 1e9)
    source = from_bundle(bundle())
    # The bound is on chunks: what does not act takes as long to measure, and nothing of it is looked at.
    graphs = {name: prepare(graph) for name, graph in source.graphs.items() if sensitivity.acts(name)}
    looks = [look for seed in range(2) for look in observations.noise(source.spec, seed)]
    loose = Quantiser(graphs, source.spec, looks, SCHEMES["fp8"], 1.0).run()
    assert loose.action_error > 0 and not loose.layers, "nothing to keep, so nothing is measured"
    bound = loose.action_error / 3
    tight = Quantiser(graphs, source.spec, looks, SCHEMES["fp8"], bound).run()
    kept = [sum(map(len, found.kept.values())) for found in (loose, tight)]
    assert tight.action_error <= bound and kept[1] > kept[0] == 0
    assert min(tight.layers.values()) >= 0 and max(tight.layers.values()) > 0
    assert {"text", "observe", "act"} <= {name.partition(":")[0] for name in tight.layers}


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_fewest_that_hold_are_found(least, most):
    tried = []

    def holds(count):
        tried.append(count)
        return count >= least

    assert fewest(holds, most) == (least if least <= most else None)
    assert len(tried) < 16


def test_sizes_are_told_beside_true_fp32():
    whole, eight = manifest(bundle())["size"], manifest(bundle("fp8"))["size"]
    assert whole["fp32_bytes"] > 1.5 * whole["bytes"] and eight["ratio_to_fp32"] < whole["ratio_to_fp32"]
    assert manifest(bundle())["precision"]["stored"] == "fp16"


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="precision must be one of fp32, bf16, fp8, int8; found 'fp4'"):
        Options("fp4")
    with pytest.raises(ConfigError, match="error more than 0"):
        Options("fp8", error=0.0)
    with pytest.raises(BundleError, match="8 bits cannot be converted"):
        convert(bundle("fp8"), tmp_path, Options("int8"))
    with pytest.raises(BundleError, match="another folder"):
        convert(bundle(), bundle(), Options("int8"))
    for lengths in ((16, 8, 64), (16, 32), (0, 64)):
        with pytest.raises(ConfigError, match="end with the horizon, 64 steps"):
            check_lengths(lengths, small_spec())

    class Trained:
        columns = {"seed": np.array([100_000, 100_001])}

        def __init__(self, folder):
            pass

    monkeypatch.setattr(observations, "SampleSet", Trained)
    with pytest.raises(ConfigError, match="seeds below 100000; found none"):
        observations.held_out(small_spec(), 2, tmp_path)


def test_fixed_lengths_give_what_one_graph_gives():
    fixed, one = (
        load_engine(folder, "onnx", threads=1) for folder in (bundle_of_lengths((16, 64)), bundle())
    )
    look = next(observations.noise(one.spec, 1))
    context = one.observe(look)
    for steps in (4, 16, 17, 64):
        assert np.abs(fixed.act(context, steps, 3, 7) - one.act(context, steps, 3, 7)).max() < 1e-4
    assert (
        manifest(bundle_of_lengths((16, 64)))["lengths"] == [16, 64]
        and manifest(bundle())["lengths"] == "dynamic"
    )


def test_steps_go_into_the_specification(tmp_path):
    convert(bundle(), tmp_path, Options(steps=2))
    assert load_engine(tmp_path, "onnx", threads=1).spec.euler_steps == 2


def test_a_bundle_that_is_replaced_leaves_no_graph_behind(tmp_path):
    folder, said = copy(bundle_of_lengths((16, 64)), tmp_path), []
    (folder / CARD).write_text("a card that somebody wrote")
    convert(bundle(), folder, Options(), say=said.append)
    assert said[-1] == f"{folder / CARD} was there and stays as it is: see that it is true of the new bundle"
    assert (folder / CARD).read_text() == "a card that somebody wrote"
    graphs = set(verify_graphs(bundle()))
    assert set(verify_graphs(folder)) == {path.stem for path in folder.glob("*.onnx")} == graphs
    (folder / "of_somebody_else.onnx").write_bytes(b"kept")
    clear(folder)
    assert [path.name for path in folder.glob("*.onnx")] == ["of_somebody_else.onnx"]


def test_a_model_that_reads_the_future_is_not_exported():
    with pytest.raises(BundleError, match="must read keyframes; found a model trained with time_map anchored"):
        source_of(small_model(), dataclasses.replace(small_spec(), time_map="anchored"))


def test_a_bundle_that_only_says_fp8_fails_the_check(tmp_path):
    folder = copy(bundle(), tmp_path)
    said = manifest(folder)
    said["precision"]["name"] = "fp8"
    (folder / MANIFEST).write_text(json.dumps(said))
    rows = {row.what: row for row in check(folder)}
    assert (
        rows["precision"].verdict == "failed"
        and "must hold most weights in 8 bits; found 0" in rows["precision"].text
    )
