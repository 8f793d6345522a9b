"""`wallwm engine check`: is a bundle whole, standard, and does it answer as it did when it was exported?"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model import golden
from wallwm_model.bundle import GOLDEN, graphs_in, precision_of, read_manifest, verify, verify_graphs
from wallwm_model.engines.choice import ENGINES, installed, obstacle
from wallwm_model.engines.loader import load_engine
from wallwm_model.errors import WallWMError
from wallwm_model.onnx_file import STANDARD, GraphFile
from wallwm_model.spec import ModelSpec

OPSETS = range(20, 24)
EIGHT = ("fp8", "int8")
# Largest error of an answer, relative to its size: on the runtime that wrote it down, and on others, which may round
# to 8 or 16 bits elsewhere; and of the whole bundle beside the network in float32.
SAME = {"fp32": 1e-3, "bf16": 1e-3, "fp8": 5e-3, "int8": 5e-3}
OTHER = {"fp32": 1e-3, "bf16": 0.05, "fp8": 0.05, "int8": 0.05}
EXACT = {"fp32": 1e-3, "bf16": 0.05, "fp8": 0.15, "int8": 0.15}
EXPORT, NETWORK = "the answers of export", "the float32 network"  # what an engine is held against


@dataclass(frozen=True)
class Row:
    """One thing that was looked at: `verdict` is `ok`, `failed` or `skipped`."""

    what: str
    verdict: str
    text: str


def check(folder: Path, tensorrt: bool = True) -> Iterator[Row]:
    """Everything that can be checked here, in order; a broken bundle ends the list.

    Args:
        tensorrt: build the graphs with TensorRT for RTX, where it is installed.
    """
    found: list = []

    def whole() -> str:
        found.append(verify(folder))
        listed = read_manifest(folder)
        return (
            f"{len(listed['files'])} files have the SHA-256 of the manifest; licence {listed.get('licence')}"
        )

    def standard() -> str:
        found.append(verify_graphs(folder))
        return _standard(found[1])

    yield (row := _try("files", whole))
    if row.verdict == "ok":
        yield (row := _try("graphs", standard))
    if row.verdict != "ok":
        return
    spec, files = found
    precision = precision_of(folder)
    yield _try("precision", lambda: _precision(precision, files))
    cases = []
    yield (row := _try("golden inputs", lambda: _golden(folder, cases)))
    if row.verdict == "failed":
        return
    for name in ENGINES:
        yield _engine(folder, name, cases, precision)
    if tensorrt:
        yield from _tensorrt(folder, spec)


def _try(what: str, look: Callable[[], str]) -> Row:
    try:
        text = look()
    except WallWMError as error:
        return Row(what, "failed", str(error))
    return Row(what, "skipped" if text.startswith("skipped: ") else "ok", text.removeprefix("skipped: "))


def _standard(files: dict[str, GraphFile]) -> str:
    """What the graphs use; WallWMError for anything outside the standard domain."""
    for name, file in files.items():
        strange = sorted({domain for domain, _ in file.operators if domain not in STANDARD})
        version = max((v for domain, v in file.opsets.items() if domain in STANDARD), default=0)
        if strange or version not in OPSETS:
            raise WallWMError(
                f"{name}.onnx must use the standard domain, opset {OPSETS.start} to {OPSETS.stop - 1}; found opset "
                f"{version} and domains {', '.join(strange) or 'of the standard only'}"
            )
    opsets = sorted({version for file in files.values() for version in file.opsets.values()})
    return (
        f"{', '.join(files)}: standard domain, opset {', '.join(map(str, opsets))}, weights inside the bundle"
    )


def _precision(name: str, files: dict[str, GraphFile]) -> str:
    """WallWMError unless the weights are stored as the manifest says."""
    total = sum(sum(file.weights.values()) for file in files.values())
    eight = {kind: sum(file.weights[kind] for file in files.values()) for kind in EIGHT}
    if name in EIGHT:
        if eight[name] < 0.5 * total:
            raise WallWMError(
                f"a bundle of {name} must hold most weights in 8 bits; found {eight[name]:,} of {total:,}"
            )
        return f"{name}: {eight[name]:,} of {total:,} weights that the graphs name are stored in 8 bits"
    if any(eight.values()):
        raise WallWMError(f"a bundle of {name} must hold no weights of 8 bits; found {max(eight.values()):,}")
    return f"{name}: {total:,} weights that the graphs name, none of 8 bits"


def _golden(folder: Path, cases: list) -> str:
    if GOLDEN not in read_manifest(folder)["files"]:
        return "skipped: this bundle was exported before there were golden inputs; engines are only built"
    cases += golden.read(folder / GOLDEN)
    return f"{len(cases)} looks with their answers"


def _engine(folder: Path, name: str, cases: list[golden.Case], precision: str) -> Row:
    """Load an engine and ask it; the torch engine is held against the network's own answers."""
    if problem := obstacle(name):
        return Row(name, "skipped", problem)

    def ask() -> str:
        try:
            engine = load_engine(folder, name, threads=1)
        except WallWMError as error:
            if name == "torch":  # a bundle for inference only, or of an earlier network
                return f"skipped: {error}"
            raise
        try:
            return compare(engine, cases, precision)
        finally:
            engine.close()

    return _try(name, ask)


def compare(engine, cases: list[golden.Case], precision: str) -> str:
    """The largest errors in words; WallWMError where one is too large."""
    if not cases:
        return "loads"
    worst: dict[str, float] = {}
    for case in cases:
        found = golden.ask(engine, case.look, case.steps)
        against = {} if engine.name == "torch" else {EXPORT: golden.errors(found, case.expected)}
        for beside, errors in (against | {NETWORK: golden.errors(found, case.exact)}).items():
            for name, error in errors.items():
                if name == "text" and precision != "fp32":  # a greedy choice, which rounding may tip
                    continue
                limit = _limit(engine.name, precision, beside, name)
                if not np.isfinite(error) or error > limit:
                    raise WallWMError(
                        f"answers must be within {limit:.2g} of {beside}; "
                        f"{name} of engine {engine.name} is off by {error:.2g}"
                    )
                worst[beside] = max(worst.get(beside, 0.0), error)
    return "; ".join(f"within {error:.1e} of {beside}" for beside, error in worst.items())


def _limit(engine: str, precision: str, beside: str, name: str) -> float:
    """Largest relative error of one answer.

    Reasoning attends to few things: 8 bits tip it by more from one runtime to the other than they do the rest.
    """
    if beside == NETWORK:
        return EXACT[precision]
    if engine == "onnx":
        return SAME[precision]
    return (EXACT if name == "latents" else OTHER)[precision]


def _tensorrt(folder: Path, spec: ModelSpec) -> Iterator[Row]:
    """Parse and build every graph, for a GPU with FP8; it needs none."""
    if not installed("tensorrt_rtx"):
        yield Row("tensorrt-rtx", "skipped", "it needs the package tensorrt-rtx, which is not installed")
        return
    from wallwm_model.engines.tensorrt_build import build

    trt = importlib.import_module("tensorrt_rtx")
    for name, path in graphs_in(folder).items():

        def make(path: Path = path) -> str:
            size = len(build(trt, path, spec, anywhere=True)) / 1e6
            return f"version {trt.__version__} parses and builds it ({size:.1f} MB)"

        yield _try(f"tensorrt-rtx {name}", make)
