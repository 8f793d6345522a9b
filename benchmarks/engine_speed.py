"""What engines and precisions cost: latency of a chunk, memory of a process, size of a bundle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wallwm_model.engines import Engine, Look

STEPS = (1, 2, 4, 10, 50)
THREADS = (2, 1)  # the first is the node's default, whose figures stand at the top of the JSON
ENGINES = ("openvino", "onnx", "torch")
CHUNK = 24  # steps of the chunks, a usual event
TEACHER = ("torch", "fp32", 10)  # what speed is compared with
Say = Callable[[str], None]


def latency(made: Mapping[str, Path], say: Say, rounds: int) -> dict[str, Any]:
    """Observation to chunk [ms]: every engine, precision and number of steps, in turns within each round."""
    tables: dict[int, dict[tuple[str, str, int], list[float]]] = {}
    missing: dict[str, str] = {}
    for threads in THREADS:
        engines = _engines(made, threads, missing)
        look = _look(next(iter(engines.values())))
        times: dict[tuple[str, str, int], list[float]] = {}
        for turn in range(rounds + 1):  # the first warms up
            say(f"latency, {threads} threads: round {turn} of {rounds}")
            for (name, precision), engine in engines.items():
                for steps in STEPS:
                    began = time.perf_counter()
                    engine.act(engine.observe(look), CHUNK, steps, 0)
                    if turn:
                        times.setdefault((name, precision, steps), []).append(
                            1e3 * (time.perf_counter() - began)
                        )
        for engine in engines.values():
            engine.close()
        tables[threads] = times
    first = tables[THREADS[0]]
    return {
        "latency_ms_p50": _table(first, 0.5),
        "latency_ms_p99": _table(first, 0.99),
        "one_thread": {"latency_ms_p50": _table(tables[1], 0.5), "latency_ms_p99": _table(tables[1], 0.99)},
        "speedup_vs_teacher": _speedups(first),
        "not_measured": missing,
    }


def _engines(
    made: Mapping[str, Path], threads: int, missing: dict[str, str]
) -> dict[tuple[str, str], Engine]:
    from wallwm_model.engines import load_engine
    from wallwm_model.errors import WallWMError

    found = {}
    for name in ENGINES:
        for precision, folder in made.items():
            try:
                found[name, precision] = load_engine(folder, name, threads)
            except WallWMError as error:
                missing[f"{name} {precision}"] = str(error)
    return found


def _look(engine: Engine) -> Look:
    from wallwm_model.deploy.observations import noise

    return next(noise(engine.spec, 0))


def _table(
    times: Mapping[tuple[str, str, int], list[float]], share: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Engine -> precision -> steps -> quantile."""
    out: dict = {}
    for (engine, precision, steps), values in times.items():
        out.setdefault(engine, {}).setdefault(precision, {})[str(steps)] = float(np.quantile(values, share))
    return out


def _speedups(times: Mapping[tuple[str, str, int], list[float]]) -> dict[str, float]:
    """`engine precision steps` -> the teacher's time by its own, round by round (median); none without a teacher."""
    if TEACHER not in times:
        return {}
    teacher = np.array(times[TEACHER])
    return {
        " ".join(map(str, key)): float(np.median(teacher / np.array(values)))
        for key, values in times.items()
        if key[2] <= 4
    }


def memory(made: Mapping[str, Path], say: Say) -> dict[str, dict[str, float]]:
    """Engine -> precision -> what a process grows by when it loads the bundle and acts once [MB]."""
    out: dict[str, dict[str, float]] = {}
    for name in ENGINES:
        for precision, folder in made.items():
            say(f"memory of {name}, {precision}")
            command = [sys.executable, str(Path(__file__)), name, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
            if done.returncode == 0:
                out.setdefault(name, {})[precision] = float(done.stdout.split()[-1])
    return out


def grown(engine: str, folder: str) -> float:
    """What this process grows by [MB]."""
    import importlib

    from wallwm_model.engines import load_engine
    from wallwm_model.engines.choice import ENGINES as known

    for package in known[engine].packages:
        importlib.import_module(package)
    before = resident()
    loaded = load_engine(Path(folder), engine, 2)
    loaded.act(loaded.observe(_look(loaded)), CHUNK, 2, 0)
    return resident() - before


def resident() -> float:
    """What this process holds in memory [MB]."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def size(folder: Path) -> dict[str, float]:
    """Bytes of a bundle's weights and graphs, and as a share of true fp32."""
    from wallwm_model.bundle import WEIGHTS, graphs_in, read_manifest

    said = read_manifest(folder).get("size")
    if said:
        return said
    stored = (folder / WEIGHTS).stat().st_size  # an earlier bundle, whose weights are of 16 bits
    whole = stored + sum(path.stat().st_size for path in graphs_in(folder).values())
    return {"bytes": whole, "ratio_to_fp32": whole / (whole + stored)}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(grown(*sys.argv[1:]))
