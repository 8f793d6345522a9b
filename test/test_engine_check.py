"""`wallwm engine check` passes sound bundles and names what is wrong with others."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

import onnx  # noqa: E402
from bundle_fixtures import NANO, bundle, copy, model, sign  # noqa: E402
from model_fixtures import small_spec  # noqa: E402

from wallwm_model import golden  # noqa: E402
from wallwm_model.bundle import GOLDEN  # noqa: E402
from wallwm_model.deploy.check import check, compare  # noqa: E402
from wallwm_model.errors import BundleError, WallWMError  # noqa: E402
from wallwm_model.network.config import PRESETS  # noqa: E402
from wallwm_ros.cli import main  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture(autouse=True)
def known_sizes(monkeypatch):
    """The torch engine builds the network by its preset's sizes; these are of the small model."""
    monkeypatch.setitem(PRESETS, small_spec().preset, model().config)


def verdicts(folder):
    return {row.what: row for row in check(folder, tensorrt=False)}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8", "int8"])
def test_a_sound_bundle_passes(precision):
    rows = verdicts(bundle(precision))
    assert [row for row in rows.values() if row.verdict == "failed"] == []
    assert all(
        rows[name].verdict == "ok"
        for name in ("files", "graphs", "precision", "golden inputs", "openvino", "onnx")
    )
    assert rows["torch"].verdict == ("ok" if precision in ("fp32", "bf16") else "skipped")


class Named:
    """An engine that is asked nothing."""

    def __init__(self, name):
        self.name = name


@pytest.mark.parametrize(
    ("engine", "precision", "latents", "sound"),
    [
        ("openvino", "int8", 0.07, True),
        ("openvino", "int8", 0.2, False),
        ("onnx", "int8", 0.07, False),
        ("openvino", "fp32", 0.07, False),
    ],
)
def test_reasoning_in_8_bits_may_differ_between_runtimes(monkeypatch, engine, precision, latents, sound):
    """But not by more than 8 bits may cost, nor on the runtime that wrote the answers down."""
    asked = {"latents": np.ones(4) * (1 + latents)}
    monkeypatch.setattr(golden, "ask", lambda *_: asked)
    case = golden.Case(None, (), {"latents": np.ones(4)}, asked)  # as the float32 network says
    if sound:
        assert "the answers of export" in compare(Named(engine), [case], precision)
    else:
        with pytest.raises(WallWMError, match="of the answers of export; latents of engine"):
            compare(Named(engine), [case], precision)


def test_other_answers_in_8_bits_stay_close(monkeypatch):
    """What 8 bits may cost reasoning is too much for a chunk."""
    monkeypatch.setattr(golden, "ask", lambda *_: {"actions_8": np.ones(4) * 1.07})
    case = golden.Case(None, (), {"actions_8": np.ones(4)}, {"actions_8": np.ones(4)})
    with pytest.raises(WallWMError, match="within 0.05 of the answers of export; actions_8 of engine openvino"):
        compare(Named("openvino"), [case], "int8")


def test_the_shipped_model_passes_without_golden_inputs():
    rows = verdicts(NANO)
    assert not [row for row in rows.values() if row.verdict == "failed"]
    assert rows["onnx"].verdict == "ok"


@pytest.mark.parametrize("name", ["observe", "act"])
@pytest.mark.parametrize("precision", ["fp8", "int8"])
def test_a_corrupted_scale_is_caught(precision, name, tmp_path):
    folder = copy(bundle(precision), tmp_path)
    path = folder / f"{name}.onnx"
    graph = onnx.load(path, load_external_data=False)
    scale = next(t for t in graph.graph.initializer if t.name.endswith(".scale") and len(t.dims) == 1)
    scale.CopyFrom(onnx.numpy_helper.from_array(8 * onnx.numpy_helper.to_array(scale), scale.name))
    path.write_bytes(graph.SerializeToString())
    assert "SHA-256" in verdicts(folder)["files"].text
    sign(folder)
    rows = verdicts(folder)
    assert rows["files"].verdict == "ok" and rows["onnx"].verdict == "failed"
    assert "answers must be within" in rows["onnx"].text


def test_operators_of_another_domain_are_named(tmp_path):
    folder = copy(bundle(), tmp_path)
    graph = onnx.load(folder / "act.onnx", load_external_data=False)
    graph.graph.node[5].domain = "com.microsoft"
    (folder / "act.onnx").write_bytes(graph.SerializeToString())
    sign(folder)
    row = verdicts(folder)["graphs"]
    assert row.verdict == "failed" and "standard domain" in row.text and "com.microsoft" in row.text


def test_the_command_s_exit_code_tells(tmp_path, capsys):
    assert main.main(["engine", "check", str(bundle()), "--no-tensorrt"]) == 0
    folder = copy(bundle(), tmp_path)
    (folder / "text.onnx").write_bytes(b"")
    assert main.main(["engine", "check", str(folder)]) == 1
    assert "failed" in capsys.readouterr().out
    assert main.main(["engine", "list", str(bundle())]) == 0
    assert "auto: " in capsys.readouterr().out


def test_golden_inputs_come_back_as_they_were(tmp_path):
    cases = golden.read(bundle() / GOLDEN)
    golden.write(tmp_path / "again.npz", cases)
    for one, other in zip(cases, golden.read(tmp_path / "again.npz")):
        assert one.steps == other.steps and one.look.route == other.look.route
        assert np.array_equal(one.look.images, other.look.images)
        assert not any(golden.errors(other.expected, one.expected).values())


def test_golden_inputs_are_plain_arrays_only(tmp_path):
    path = tmp_path / GOLDEN
    np.savez(path, **{"0/look/images": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(BundleError, match="plain arrays"):
        golden.read(path)
    path.write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(BundleError, match="plain arrays"):
        golden.read(path)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp8", "int8"])
def test_tensorrt_builds_every_graph(precision):
    rows = [row for row in check(bundle(precision)) if row.what.startswith("tensorrt-rtx")]
    assert len(rows) == 5 and all(row.verdict == "ok" for row in rows)
