"""Engines and precisions side by side: latency, memory, size, what 8 bits and fewer steps cost in the simulator."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wallwm_ros.cli.bench import part

if TYPE_CHECKING:
    from rich.console import Console

    from wallwm_model.engines import Engine, Look

SECONDS = 600.0  # about; every part does a fixed amount of work
BUNDLE = Path(__file__).resolve().parents[1] / "models" / "nano"
STEPS = (1, 2, 4, 10, 50)
THREADS = (2, 1)  # the first is the node's default, whose figures stand at the top of the JSON
ENGINES = ("openvino", "onnx", "torch")
PRECISIONS = ("fp32", "bf16", "fp8", "int8")
CHUNK = 24  # steps of the chunks, a usual event
ROUNDS, EVENTS, EPISODES, SEED = 40, 60, 100, 1000
TEACHER = ("torch", "fp32", 10)  # what speed is compared with
Say = Callable[[str], None]


def measure(
    seconds: float = SECONDS,
    *,
    quick: bool = False,
    bundles: list[str] | None = None,
    episodes: int | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Everything of this page.

    Args:
        bundles: NAME=FOLDER of further bundles (students, other precisions); the first is the teacher, and all are
            compared in action error and success. None: the shipped model in every precision.
        episodes: scenes per bundle; 0 leaves success out.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    episodes = (2 if quick else EPISODES) if episodes is None else episodes
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        tempfile.TemporaryDirectory() as place,
    ):
        task = bar.add_task("starting", total=None)

        def say(what: str) -> None:
            bar.update(task, description=what)

        given = dict(text.split("=", 1) for text in bundles or ())
        teacher = Path(next(iter(given.values()), BUNDLE))
        made = precisions(teacher, Path(place), say, quick=quick)
        named = {name: Path(folder) for name, folder in given.items()} or made
        found = latency(made, say, rounds=3 if quick else ROUNDS)
        found |= {
            "size_ratio": {name: _size(folder)["ratio_to_fp32"] for name, folder in made.items()},
            "memory_mb": memory(made, say),
            **errors(named, say, events=4 if quick else EVENTS),
            "success": success(named, say, episodes) if episodes else {},
            "remote_overhead_ms": remote(say, quick=quick),
            "bundles": {name: str(folder) for name, folder in given.items()}
            or "models/nano in every precision",
            "chunk_steps": CHUNK,
            "quick": quick,
        }
    if out is not None:
        draw(found, out.with_suffix(".png"))
    return found


def precisions(source: Path, place: Path, say: Say, *, quick: bool) -> dict[str, Path]:
    """The same bundle in every precision, made by `wallwm export`; the first is the source itself."""
    from wallwm_model.deploy.export import convert
    from wallwm_model.deploy.writing import Options

    made = {"fp32": source}
    for name in ("int8",) if quick else PRECISIONS[1:]:
        say(f"exporting {name}")
        # A bound that holds at once: the quick run shows that it works, and keeps no layer.
        options = Options(name, observations=3, error=1.0) if quick else Options(name)
        convert(source, place / name, options, lambda text, name=name: say(f"exporting {name}: {text}"))
        made[name] = place / name
    return made


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
    before = _resident()
    loaded = load_engine(Path(folder), engine, 2)
    loaded.act(loaded.observe(_look(loaded)), CHUNK, 2, 0)
    return _resident() - before


def _resident() -> float:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def errors(named: Mapping[str, Path], say: Say, events: int) -> dict[str, Any]:
    """How far chunks lie from the expert's, and from the teacher's: at the gripper [mm], in the joints [rad].

    Every bundle acts with its own steps; the teacher, the first, with 50 and 10 beside its own.
    """
    from wallwm_model.engines import load_engine

    say("the expert acts in held-out scenes")
    held, first = list(expert(events)), next(iter(named))
    wanted = [event[-1] for event in held]
    loaded = {name: load_engine(folder, "auto", 2) for name, folder in named.items()}
    asked = {f"{first}, {steps} steps": (loaded[first], steps) for steps in (50, 10)}
    asked |= {name: (engine, engine.spec.euler_steps) for name, engine in loaded.items()}
    rows, beside, reference = {}, {}, None
    for name, (engine, steps) in asked.items():
        say(f"action error of {name}")
        found = acted(engine, held, steps)
        reference = reference or found  # the teacher's 50 steps come first
        rows[name], beside[name] = apart(found, wanted), apart(found, reference)
    return {"action_error_mm": rows, "beside_teacher_50_mm": beside}


def expert(events: int) -> Iterator[tuple[np.ndarray, np.ndarray, str, np.ndarray]]:
    """Held-out events: pictures, joints at the start [rad or m], caption, the expert's chunk (T, D) [rad or m]."""
    from wallwm_model.data.episode import run_episode
    from wallwm_model.sim.scene import TASKS
    from wallwm_model.sim.simulation import Simulation

    sim, seed = Simulation(), 80_000
    while events > 0:
        for sample in run_episode(sim, TASKS[seed % len(TASKS)], seed, disturbed=0.0).samples[:events]:
            chunk = sample["actions"][: sample["length"]]
            yield sample["frames"], sample["state"][0], sample["caption"], chunk
            events -= 1
        seed += 1


def acted(engine: Engine, held: list[tuple], steps: int) -> list[np.ndarray]:
    """An engine's chunks for the expert's events, as long as the expert's [rad or m]."""
    from wallwm_model.deploy.observations import looks_of

    found = []
    for number, (frames, state, caption, wanted) in enumerate(held):
        look = next(looks_of(engine.spec, frames, 0, state, caption))
        chunk = engine.act(engine.observe(look), len(wanted), steps, number)
        found.append(engine.spec.normalisation.decode(chunk))
    return found


def apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, float]:
    """Distance of chunks: grippers at the end and on the way [mm], joints [rad], medians over events."""
    from wallwm_model.sim import kinematics

    ends, ways, joints = [], [], []
    for one, other in zip(found, wanted):
        distance = 1e3 * np.linalg.norm(
            kinematics.forward(one)[0] - kinematics.forward(other)[0], axis=-1
        ).max(-1)
        ends.append(distance[-1])
        ways.append(distance.mean())
        joints.append(np.sqrt(np.mean((one - other) ** 2)))
    return {
        "end_mm": float(np.median(ends)),
        "end_mm_p90": float(np.quantile(ends, 0.9)),
        "way_mm": float(np.median(ways)),
        "joints_rad": float(np.median(joints)),
    }


def success(named: Mapping[str, Path], say: Say, episodes: int) -> dict[str, dict[str, Any]]:
    """Whole pick-and-place tasks in event mode, on the same held-out scenes."""
    from wallwm_model.engines import load_engine
    from wallwm_model.eval.closed_loop import EventDriver
    from wallwm_model.eval.modes import compare
    from wallwm_model.policy import Policy

    drivers = {name: EventDriver(Policy(load_engine(folder, "auto", 2))) for name, folder in named.items()}
    return compare(
        drivers, tasks=("pick_place",), variations=("plain",), episodes=episodes, seed=SEED,
        report=lambda name, done, good: say(f"success of {name}: {good} of {done}"),
    )["success"]  # fmt: skip


def remote(say: Say, *, quick: bool) -> dict[str, Any]:
    """Overhead of a remote engine per call, by size of the pictures; why not, where it cannot be measured."""
    from benchmarks.peers.environment import prepare

    peers = prepare(say, install=not quick)
    return part("engine_remote").overhead(peers, calls=60 if quick else 300, say=say)


def _size(folder: Path) -> dict[str, float]:
    """Bytes of a bundle's weights and graphs, and as a share of true fp32."""
    from wallwm_model.bundle import WEIGHTS, graphs_in, read_manifest

    said = read_manifest(folder).get("size")
    if said:
        return said
    stored = (folder / WEIGHTS).stat().st_size  # an earlier bundle, whose weights are of 16 bits
    whole = stored + sum(path.stat().st_size for path in graphs_in(folder).values())
    return {"bytes": whole, "ratio_to_fp32": whole / (whole + stored)}


def draw(found: dict[str, Any], path: Path) -> None:
    """Time of a chunk over denoising steps, a line per engine and precision."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 120}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
        for panel, table, title in (
            (axes[0], found["latency_ms_p50"], f"{THREADS[0]} threads"),
            (axes[1], found["one_thread"]["latency_ms_p50"], "1 thread"),
        ):
            for engine, rows in table.items():
                for precision, by_steps in rows.items():
                    dashes = {"openvino": "-", "onnx": "--", "torch": ":"}[engine]
                    colour = f"C{PRECISIONS.index(precision)}"
                    x = [int(steps) for steps in by_steps]
                    panel.plot(
                        x,
                        list(by_steps.values()),
                        dashes,
                        color=colour,
                        marker=".",
                        label=f"{engine} {precision}",
                    )
            panel.set(xscale="log", yscale="log", xlabel="denoising steps", title=title)
            panel.set_xticks(STEPS, [str(steps) for steps in STEPS])
        axes[0].set_ylabel("observation to chunk, p50 [ms]")
        axes[1].legend(frameon=False, fontsize=7)
        figure.savefig(path)
        pyplot.close(figure)


def show(found: dict[str, Any], console: Console) -> None:
    """Tables of latency, of errors and of success."""
    from rich.table import Table

    for title, key in (("2 threads", None), ("1 thread", "one_thread")):
        rows = found[key] if key else found
        table = Table(
            "engine",
            "precision",
            *(f"{steps} steps" for steps in STEPS),
            title=f"observation to chunk, ms p50 / p99, {title}",
        )
        for engine, precisions_ in rows["latency_ms_p50"].items():
            for precision, by_steps in precisions_.items():
                last = rows["latency_ms_p99"][engine][precision]
                table.add_row(
                    engine, precision, *(f"{ms:.1f} / {last[steps]:.1f}" for steps, ms in by_steps.items())
                )
        console.print(table)
    table = Table(
        "bundle", "end mm", "p90", "way mm", "rad", "success", title="beside the expert, held-out events"
    )
    for name, row in found["action_error_mm"].items():
        done = found["success"].get(name)
        told = f"{done['success']} / {done['episodes']}" if done else ""
        table.add_row(
            name, *(f"{row[k]:.3g}" for k in ("end_mm", "end_mm_p90", "way_mm", "joints_rad")), told
        )
    console.print(table)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(grown(*sys.argv[1:]))
