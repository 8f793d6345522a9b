"""One `act` graph of any length, or one per length: which is faster, which is smaller? Nano's sizes, untrained."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console

    from wallwm_model.engines.explain import Graph

SECONDS = 60.0  # about
LENGTHS = (16, 32, 64)
CHUNKS = (8, 16, 24, 37, 64)  # steps of the chunks that are timed
ENGINES = ("openvino", "onnx")
ROUNDS = 60


def measure(seconds: float = SECONDS, *, quick: bool = False) -> dict[str, Any]:
    """Time of one denoising step [ms], the first call of a new length too, and memory of the graphs [MB]."""
    with tempfile.TemporaryDirectory() as place:
        kinds = {"free": Path(place) / "free", "per_length": Path(place) / "fixed"}
        tokens = write(kinds["free"], ()), write(kinds["per_length"], LENGTHS)
        times = timed(kinds, tokens[0], 5 if quick else ROUNDS)
        memory: dict[str, dict[str, float]] = {}
        for engine in ENGINES:
            for kind, folder in kinds.items():
                command = [sys.executable, str(Path(__file__)), engine, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                memory.setdefault(engine, {})[kind] = float(done.stdout.split()[-1])
    return {**times, "memory_mb": memory, "lengths": list(LENGTHS)}


def write(folder: Path, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """The `act` graphs of an untrained model; the shape of the video that they read."""
    import torch

    from wallwm_model.bundle import verify
    from wallwm_model.deploy.export import a_look, trace_act
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.network.config import preset
    from wallwm_model.network.model import Observe, WallWM

    spec = verify(Path(__file__).resolve().parents[1] / "models" / "nano")
    torch.manual_seed(0)
    model = WallWM(preset(spec.preset), spec).eval().requires_grad_(False)
    folder.mkdir()
    for name, graph in trace_act(model, spec, Shapes(lengths)).items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    shape = tuple(Observe(model, spec.horizon, past=False)(*a_look(model, spec).values())[0].shape)
    np.save(folder / "shape.npy", np.array(shape))
    return shape


def timed(kinds: dict[str, Path], video: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """p50 of a step, all kinds in turns; and the first call of each length, which a free graph may pay for."""
    step: dict = {}
    first: dict = {}
    loaded = {(engine, kind): graphs(engine, folder) for engine in ENGINES for kind, folder in kinds.items()}
    times: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(rounds + 1):
        for (engine, kind), found in loaded.items():
            for steps in CHUNKS:
                began = time.perf_counter()
                call(found, steps, video)
                times.setdefault((engine, kind, steps), []).append(1e3 * (time.perf_counter() - began))
    for (engine, kind, steps), values in times.items():
        step.setdefault(engine, {}).setdefault(kind, {})[str(steps)] = float(np.median(values[1:]))
        first.setdefault(engine, {}).setdefault(kind, {})[str(steps)] = values[0]
    return {"step_ms_p50": step, "first_ms": first}


def graphs(engine: str, folder: Path) -> dict[int, Graph]:
    """Length -> graph; 0: of any length."""
    paths = sorted(folder.glob("*.onnx"))
    if engine == "openvino":
        import openvino

        from wallwm_model.engines.openvino import _graph

        settings = {
            "INFERENCE_NUM_THREADS": 2,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        made = [_graph(core.compile_model(core.read_model(path), "CPU", settings)) for path in paths]
    else:
        import onnxruntime

        from wallwm_model.engines.onnx import _graph, _options

        made = [
            _graph(
                onnxruntime.InferenceSession(str(p), _options(2, False), providers=["CPUExecutionProvider"])
            )
            for p in paths
        ]
    return {int(path.stem[4:] or 0): graph for path, graph in zip(paths, made)}


def call(found: dict[int, Graph], steps: int, video: tuple[int, ...]) -> None:
    """One denoising step of a chunk, as `GraphEngine` asks for it."""
    length = 0 if 0 in found else min(n for n in found if n >= steps)
    rng = np.random.default_rng(0)
    inputs = {
        "noisy": rng.standard_normal((1, length or steps, 14), dtype=np.float32),
        "t": np.full((1, length or steps), 0.5, np.float32),
        "video": rng.standard_normal(video, dtype=np.float32),
        "state": np.zeros((1, 14), np.float32),
        "window": np.zeros(1, np.int64),
    }
    found[length](inputs | ({"steps": np.array([steps], np.int64)} if length else {}))


def show(found: dict[str, Any], console: Console) -> None:
    """Time of a step and of the first one, by length."""
    from rich.table import Table

    table = Table(
        "engine", "graphs", *(f"{steps} steps" for steps in CHUNKS), "MB", title="one step, ms p50 (first)"
    )
    for engine, kinds in found["step_ms_p50"].items():
        for kind, row in kinds.items():
            first = found["first_ms"][engine][kind]
            cells = (f"{ms:.1f} ({first[steps]:.0f})" for steps, ms in row.items())
            table.add_row(engine, kind, *cells, f"{found['memory_mb'][engine][kind]:.0f}")
    console.print(table)


def grown(engine: str, folder: Path) -> float:
    """What this process grows by when it loads the graphs and asks for every length [MB]."""
    import onnxruntime  # noqa: F401
    import openvino  # noqa: F401

    from benchmarks.engine_speed import resident

    before, video = resident(), tuple(int(size) for size in np.load(folder / "shape.npy"))
    found = graphs(engine, folder)
    for steps in CHUNKS:
        call(found, steps, video)
    return resident() - before


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(grown(sys.argv[1], Path(sys.argv[2])))
