"""Which engine is chosen and why; bound sessions, the network as an engine, and what only a GPU can show."""

from __future__ import annotations

import os

import numpy as np
import pytest

from wallwm_model.engines import ENGINES, choice, load_engine
from wallwm_model.engines.cache import cache_folder
from wallwm_model.errors import EngineError

torch = pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

import onnxruntime as ort  # noqa: E402
from bundle_fixtures import bundle, model  # noqa: E402
from model_fixtures import small_spec  # noqa: E402

from wallwm_model import golden  # noqa: E402
from wallwm_model.bundle import GOLDEN, verify  # noqa: E402
from wallwm_model.engines import torch_fp8  # noqa: E402
from wallwm_model.engines.bound import BoundGraph  # noqa: E402
from wallwm_model.network.config import PRESETS  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.slow]
GPU = ("onnx-cuda", "onnx-tensorrt", "tensorrt")


@pytest.fixture(autouse=True)
def known_sizes(monkeypatch):
    """The torch engine builds the network by its preset's sizes; these are of the small model."""
    monkeypatch.setitem(PRESETS, small_spec().preset, model().config)


def without(monkeypatch, *packages, gpu=False):
    there = choice.installed
    monkeypatch.setattr(choice, "installed", lambda package: package not in packages and there(package))
    monkeypatch.setattr(choice, "has_gpu", lambda: gpu)


def test_auto_says_why(monkeypatch):
    without(monkeypatch, "tensorrt")
    name, why = choice.choose()
    assert name == "openvino" and why.startswith(
        "openvino is the best that can run here; not tensorrt: it needs the package"
    )
    assert "not onnx-cuda: it needs a CUDA device, and there is none" in why
    without(monkeypatch, "tensorrt", "openvino")
    assert (
        choice.choose()[0] == "onnx" and "not openvino: it needs the package openvino" in choice.choose()[1]
    )


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    without(monkeypatch, "tensorrt", gpu=True)
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    name, why = choice.choose()
    assert (
        name == "onnx-cuda"
        and "not onnx-tensorrt: the installed onnxruntime has no TensorrtExecutionProvider" in why
    )


def test_an_engine_that_cannot_run_says_what_it_needs(monkeypatch):
    without(monkeypatch, "tensorrt", "openvino", "onnxruntime", "torch")
    with pytest.raises(
        EngineError,
        match="engine onnx cannot run here: it needs the package onnxruntime.*engines that can: none",
    ):
        choice.choose("onnx")
    with pytest.raises(EngineError, match="one of the packages openvino, onnxruntime; found none"):
        choice.choose()
    with pytest.raises(EngineError, match="engine must be auto, one of openvino, .*found 'magic'"):
        choice.choose("magic")


def test_auto_never_takes_the_development_engine():
    assert "torch" in ENGINES and "torch" not in choice.BEST_FIRST
    assert set(choice.BEST_FIRST) == {name for name, kind in ENGINES.items() if kind.automatic}


def test_the_loaded_engine_knows_why_it_was_chosen():
    assert load_engine(bundle(), "onnx", threads=1).why == "onnx was asked for"
    assert "is the best that can run here" in load_engine(bundle(), threads=1).why


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_network_as_an_engine_gives_what_was_exported(precision):
    engine = load_engine(bundle(precision), "torch", threads=1)
    for case in golden.read(bundle(precision) / GOLDEN):
        off = golden.errors(golden.ask(engine, case.look, case.steps), case.expected)
        assert max(off.values()) < 2e-3, off


def test_the_network_needs_weights_that_it_knows(monkeypatch):
    with pytest.raises(EngineError, match="needs a bundle of fp32 or bf16; .* is of fp8, for inference only"):
        load_engine(bundle("fp8"), "torch")
    monkeypatch.undo()
    with pytest.raises(EngineError, match="needs weights of the present network; .* lacks"):
        load_engine(bundle(), "torch")


def test_a_bound_graph_copies_what_lasts_only_once():
    session = ort.InferenceSession(str(bundle() / "act.onnx"), providers=["CPUExecutionProvider"])
    case = golden.read(bundle() / GOLDEN)[0]
    video = load_engine(bundle(), "onnx", threads=1).observe(case.look).tensors["video"]
    fixed = {"video": video, "state": case.look.state[None], "window": np.zeros(1, np.int64)}
    graph, rng = BoundGraph(session, "cpu"), np.random.default_rng(0)
    for turn in range(3):
        inputs = fixed | {
            "noisy": rng.standard_normal((1, 8, 14), dtype=np.float32), "t": np.full((1, 8), 0.5, np.float32)
        }  # fmt: skip
        assert np.array_equal(graph(inputs)["clean"], session.run(None, inputs)[0])
        assert graph.copies == 5 + 2 * turn
    other = fixed | {"state": fixed["state"] + 1}
    assert np.array_equal(graph(inputs | other)["clean"], session.run(None, inputs | other)[0])


def test_built_engines_are_kept_where_only_the_user_writes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder("tensorrt")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(EngineError, match="must belong to this user alone"):
        cache_folder("tensorrt")


def test_fp8_of_torch_rounds_rows_to_their_own_scale():
    rows = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 3, 5)[:, None]
    values, scale = torch_fp8.scaled(rows)
    assert values.dtype == torch.float8_e4m3fn and scale.shape == (5, 1)
    error = (values.float() * scale - rows).abs() / rows.abs().amax(-1, keepdim=True)
    assert float(error.max()) < 2**-4
    with pytest.raises(EngineError, match="compute capability 8.9 or more; the model is on cpu"):
        torch_fp8.convert(torch.nn.Linear(32, 32))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp8"])
@pytest.mark.parametrize("name", GPU)
def test_engines_of_a_gpu_give_what_was_exported(name, precision):
    if problem := choice.obstacle(name):
        pytest.skip(problem)
    engine = load_engine(bundle(precision), name)
    for turn in range(2):  # the second from caches and recordings
        for case in golden.read(bundle(precision) / GOLDEN):
            off = golden.errors(golden.ask(engine, case.look, case.steps), case.exact)
            assert max(off.values()) < (0.01 if precision == "fp32" else 0.15), (turn, off)
    engine.close()


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"compiled": True}, {"fp8": True}])
def test_the_network_on_a_gpu(options):
    from wallwm_model.engines import torch_engine

    if options.get("fp8") and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no FP8")
    engine = torch_engine.load(bundle(), verify(bundle()), 1, **options)
    for case in golden.read(bundle() / GOLDEN):
        off = golden.errors(golden.ask(engine, case.look, case.steps), case.exact)
        assert max(off.values()) < (0.15 if options.get("fp8") else 0.01), off


@pytest.mark.gpu
def test_a_layer_in_fp8_on_a_gpu():
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no FP8")
    linear, x = torch.nn.Linear(64, 48).cuda(), torch.randn(3, 5, 64, device="cuda")
    wanted = linear(x)
    found = torch_fp8.Fp8Linear(linear)(x)
    assert found.dtype == x.dtype and float((found - wanted).norm() / wanted.norm()) < 0.06


def test_threads_of_the_runtimes_neither_spin_nor_stick():
    from wallwm_model.engines import onnx

    options = onnx._options(2, False)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    before = os.sched_getaffinity(0)
    load_engine(bundle(), "openvino", threads=2)
    assert os.sched_getaffinity(0) == before
