"""Graphs in float32 -> the files of a bundle, in the precision asked for."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor

from wallwm_model import golden
from wallwm_model.bundle import CARD, GOLDEN, MANIFEST, WEIGHTS, read_manifest, write_manifest
from wallwm_model.deploy.card import card
from wallwm_model.deploy.layers import prepare
from wallwm_model.deploy.observations import held_out
from wallwm_model.deploy.quantise import SCHEMES
from wallwm_model.deploy.sensitivity import Measured, Quantiser
from wallwm_model.deploy.sessions import engine_of, session
from wallwm_model.deploy.weights import LARGE, WeightFile
from wallwm_model.engines import Look, load_engine
from wallwm_model.errors import ConfigError
from wallwm_model.spec import ModelSpec

PRECISIONS = ("fp32", "bf16", *SCHEMES)
ERROR = 0.01  # of chunks in 8 bits, root mean square, in units of a joint's spread
OBSERVATIONS = 24  # moments that calibration looks at
GOLDEN_LOOKS = 3  # one per window and route
LICENCE = Path(__file__).resolve().parents[2] / "LICENSE"
Say = Callable[[str], None]


@dataclass
class Source:
    """A model before it becomes a bundle.

    Attributes:
        graphs: tidy, in float32, weights inside and rounded to what 16 bits can hold.
        state: name -> weight, for further training; those of the language side apart.
    """

    spec: ModelSpec
    graphs: dict[str, ModelProto]
    state: dict[str, Tensor] = field(default_factory=dict)
    language: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How a bundle is made.

    Attributes:
        precision: `fp32`, `bf16`, `fp8` or `int8`.
        steps: Euler steps of the specification; 0: as trained.
        data: held-out folder of `wallwm data sim` to calibrate on; None: fresh scenes.
        observations: moments to calibrate on.
        error: largest error of chunks in 8 bits, see `ERROR`.
    """

    precision: str = "fp32"
    steps: int = 0
    data: Path | None = None
    observations: int = OBSERVATIONS
    error: float = ERROR

    def __post_init__(self) -> None:
        """Raises ConfigError for an unknown precision or numbers that mean nothing."""
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}; found {self.precision!r}")
        if self.steps < 0 or self.observations < 1 or not self.error > 0:
            raise ConfigError("steps must be 0 or more, observations 1 or more, error more than 0")


def write(source: Source, out: Path, options: Options, say: Say = lambda text: None, **facts) -> None:
    """Write a whole bundle: specification, graphs, weights, golden inputs, licence, card, manifest.

    Raises:
        ConfigError: data of training scenes.
        BundleError: a bound that cannot be held.
    """
    spec = dataclasses.replace(source.spec, euler_steps=options.steps or source.spec.euler_steps)
    eight = options.precision in SCHEMES
    looks, seen = held_out(spec, options.observations if eight else GOLDEN_LOOKS, options.data)
    exact = {name: session(graph) for name, graph in source.graphs.items()}
    answers = [
        golden.ask(engine_of(exact, spec), look, golden.steps_of(spec)) for look in looks[:GOLDEN_LOOKS]
    ]
    del exact
    found, plain = None, sum(graph.ByteSize() - _inside(graph) for graph in source.graphs.values())
    if eight:
        prepared = {name: prepare(_copy(graph)) for name, graph in source.graphs.items()}
        scheme = SCHEMES[options.precision]
        found = Quantiser(prepared, spec, looks, scheme, options.error, say).run()
    # From here on nothing is refused: what lies in `out` is replaced.
    out.mkdir(parents=True, exist_ok=True)
    clear(out)
    (out / "spec.json").write_text(spec.to_json())
    for name in spec.tokenizers:
        shutil.copyfile(spec.folder / name, out / name)
    numbers = write_graphs(source, out, options.precision, found.graphs if found else None)
    opset = max(g.opset_import[0].version for g in (found.graphs if found else source.graphs).values())
    facts = facts | {
        "model": spec.name,
        "precision": _precision(options.precision),
        "opset": opset,
        "batch": "dynamic" if _batches(source.graphs["text"]) else 1,
        "lengths": sorted(int(name[4:]) for name in source.graphs if name.startswith("act_")) or "dynamic",
        "size": _size(source, out, numbers, plain),
    }
    if found is not None:
        facts["quantisation"] = report(found, options, looks, seen)
    write_manifest(out, **facts)
    if (out / CARD).exists():
        say(f"{out / CARD} was there and stays as it is: see that it is true of the new bundle")
    _finish(out, looks, answers, facts)


def clear(out: Path) -> None:
    """Remove the graphs of the bundle that lies there, and nothing else: they would read weights in the new file.

    Raises:
        BundleError: what lies there is no sound bundle.
    """
    if (out / MANIFEST).is_file():
        for name in read_manifest(out)["files"]:
            if (out / name).parent == out and name.endswith(".onnx"):
                (out / name).unlink(missing_ok=True)


def write_graphs(
    source: Source, out: Path, precision: str = "fp32", quantised: dict[str, ModelProto] | None = None
) -> int:
    """Write all graphs and the file of weights that they share; how many weights that holds.

    A bundle of 8 bits is for inference: it holds what its graphs need, and nothing to train from.
    """
    half = torch.bfloat16 if precision == "bf16" else torch.float16
    weights = WeightFile({} if quantised else source.state, half)
    graphs = quantised or source.graphs
    if not quantised and source.language:
        weights.add(source.language)
    for graph in graphs.values():
        if precision == "bf16":
            round_weights(graph)
        onnx.checker.check_model(graph, full_check=True)
        weights.take(graph)
    weights.save(out / WEIGHTS)
    for name, graph in graphs.items():
        (out / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return weights.numbers


def round_weights(graph: ModelProto) -> None:
    """Round a graph's weights to bfloat16, in place; computed constants, which fp16 does not hold, stay."""
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            if torch.equal(value.half().float(), value):
                rounded = value.bfloat16().float().numpy()
                tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))


def report(found: Measured, options: Options, looks: list[Look], seen: str) -> dict:
    """What goes into the manifest about a quantisation: the errors, the layers kept, and why."""
    layers = {name: round(error, 4) for name, error in sorted(found.layers.items(), key=lambda row: -row[1])}
    return {
        "weights": "per output channel, symmetric",
        "activations": "per tensor, symmetric, calibrated",
        "calibrated_on": seen,
        "looks": len(looks),
        "action_error": found.action_error,
        "action_error_bound": options.error,
        "remaining_error_steps": found.remaining_error,
        "other_graphs_error": found.others,
        "kept_in_16_bits": {graph: names for graph, names in found.kept.items() if names},
        "error_of_each_layer_alone_as_share_of_bound": layers,
    }


def _batches(graph: ModelProto) -> bool:
    """Whether a graph takes any number of robots."""
    return bool(graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param)


def _precision(name: str) -> dict[str, str]:
    """What `--precision` really means, in the manifest."""
    stored = {"fp32": "fp16", "bf16": "bf16"}.get(name, f"{name}, layers that are kept: fp16")
    computed = {
        "fp32": "fp32",
        "bf16": "bf16 where the engine has it, else fp32",
    }.get(name, f"{name} products where the engine has them, else fp32 with rounded values")
    return {"name": name, "stored": stored, "computed": computed}


def _size(source: Source, out: Path, numbers: int, plain: int) -> dict[str, float]:
    """Bytes of weights and graphs, beside those of the same model in true fp32."""
    graphs = sum((out / f"{name}.onnx").stat().st_size for name in source.graphs)
    whole = graphs + (out / WEIGHTS).stat().st_size
    return {
        "bytes": whole,
        "fp32_bytes": plain + 4 * numbers,
        "fp16_bytes": plain + 2 * numbers,
        "ratio_to_fp32": whole / (plain + 4 * numbers),
    }


def _finish(out: Path, looks: list[Look], answers: list[golden.Answers], facts: dict) -> None:
    """Golden answers of the bundle as written, licence and card; then the manifest with all of them."""
    engine = load_engine(out, "onnx", threads=1)
    cases = []
    for look, exact in zip(looks, answers):
        steps = golden.steps_of(engine.spec)
        cases.append(golden.Case(look, steps, golden.ask(engine, look, steps), exact))
    golden.write(out / GOLDEN, cases)
    engine.close()
    if LICENCE.is_file():
        shutil.copy(LICENCE, out / "LICENSE")
    if not (out / CARD).exists():
        (out / CARD).write_text(card(engine.spec, facts))
    write_manifest(out, **facts)


def _inside(graph: ModelProto) -> int:
    """Bytes of a graph's weights that go into the shared file."""
    return sum(len(t.raw_data) for t in graph.graph.initializer if np.prod(t.dims) >= LARGE)


def _copy(graph: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(graph)
    return made
