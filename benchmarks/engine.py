"""Engines and precisions side by side: latency, memory, size, what 8 bits and fewer steps cost in the simulator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import engine_quality, engine_remote, engine_robots, engine_speed
from benchmarks.engine_speed import STEPS, THREADS, Say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SECONDS = 600.0  # about; every part does a fixed amount of work
BUNDLE = Path(__file__).resolve().parents[1] / "models" / "nano"
PRECISIONS = ("fp32", "bf16", "fp8", "int8")
ROUNDS, EVENTS, EPISODES = 40, 60, 100
MARKS_MS = (10, 20, 50, 100, 200, 500)  # of the plot


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
        bundles: NAME=FOLDER of bundles (students, other precisions) whose chunks and success are compared; the first is
            the teacher. The first of each precision stands for it elsewhere. None: the shipped model in all of them.
        episodes: scenes per bundle; 0 leaves success out.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from wallwm_model.bundle import precision_of
    from wallwm_model.deploy.export import convert
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.deploy.writing import Options

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
        named = {name: Path(folder) for name, folder in given.items()} or precisions(Path(place), say, quick=quick)
        made = {precision_of(folder): folder for folder in reversed(named.values())}
        say("exporting for several robots")
        several = Path(place) / "several"
        convert(next(iter(named.values())), several, Options(), Shapes(batch=True))
        found = engine_speed.latency(made, say, rounds=3 if quick else ROUNDS)
        found |= {
            "size_ratio": {name: engine_speed.size(folder)["ratio_to_fp32"] for name, folder in made.items()},
            "memory_mb": engine_speed.memory(made, say),
            **engine_quality.errors(named, say, events=4 if quick else EVENTS),
            "success": engine_quality.success(named, say, episodes) if episodes else {},
            "remote_overhead_ms": remote(say, quick=quick),
            "robots": engine_robots.throughput(several, say, chunks=1 if quick else 10),
            "bundles": {name: str(folder) for name, folder in given.items()}
            or "models/nano in every precision",
            "chunk_steps": engine_speed.CHUNK,
            "quick": quick,
        }
    if out is not None:
        draw(found, out.with_suffix(".png"))
    return found


def precisions(place: Path, say: Say, *, quick: bool) -> dict[str, Path]:
    """The shipped bundle in every precision, made by `wallwm export`; the first is the source itself."""
    from wallwm_model.deploy.export import convert
    from wallwm_model.deploy.writing import Options

    made = {"fp32": BUNDLE}
    for name in ("int8",) if quick else PRECISIONS[1:]:
        say(f"exporting {name}")
        # A bound that holds at once: the quick run shows that it works, and keeps no layer.
        options = Options(name, observations=3, error=1.0) if quick else Options(name)
        convert(BUNDLE, place / name, options, say=lambda text, name=name: say(f"exporting {name}: {text}"))
        made[name] = place / name
    return made


def remote(say: Say, *, quick: bool) -> dict[str, Any]:
    """Overhead of a remote engine per call, by size of the pictures; why not, where it cannot be measured."""
    from benchmarks.peers.environment import prepare

    peers = prepare(say, install=not quick)
    return engine_remote.overhead(peers, calls=60 if quick else 300, say=say)


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
            panel.set_yticks(MARKS_MS, [str(ms) for ms in MARKS_MS], minor=False)
            panel.yaxis.set_minor_formatter("")
        axes[0].set_ylabel("observation to chunk, p50 [ms]")
        axes[1].legend(frameon=False, fontsize=7)
        figure.savefig(path)
        pyplot.close(figure)


def show(found: dict[str, Any], console: Console) -> None:
    """Tables of latency, of errors and success, of remote calls, and of several robots."""
    console.print(latencies(found, found["memory_mb"], f"{THREADS[0]} threads"))
    console.print(latencies(found["one_thread"], {}, "1 thread"))
    for table in (quality(found), remote_calls(found["remote_overhead_ms"]), robots(found["robots"])):
        console.print(table)


def latencies(found: dict[str, Any], memory: dict[str, Any], threads: str) -> Table:
    """Time from an observation to its chunk; memory, where it was measured."""
    from rich.table import Table

    steps = (f"{count} steps" for count in STEPS)
    table = Table("engine", "precision", *steps, "MB", title=f"observation to chunk, ms p50 / p99, {threads}")
    for engine, rows in found["latency_ms_p50"].items():
        for precision, p50 in rows.items():
            p99 = found["latency_ms_p99"][engine][precision]
            used = memory.get(engine, {}).get(precision)
            told = (f"{ms:.1f} / {p99[count]:.1f}" for count, ms in p50.items())
            table.add_row(engine, precision, *told, "" if used is None else f"{used:.0f}")
    return table


def quality(found: dict[str, Any]) -> Table:
    """Distance from the expert's motion, and success."""
    from rich.table import Table

    columns = ("end mm", "p90", "way mm", "rad", "success")
    table = Table("bundle", *columns, title="beside the expert, held-out events")
    for name, row in found["action_error_mm"].items():
        done = found["success"].get(name)
        told = f"{done['success']} / {done['episodes']}" if done else ""
        figures = (row[key] for key in ("end_mm", "end_mm_p90", "way_mm", "joints_rad"))
        table.add_row(name, *(f"{value:.3g}" for value in figures), told)
    return table


def remote_calls(found: dict[str, Any]) -> Table:
    """What a call costs beside the engine's own time, by the size of its pictures."""
    from rich.table import Table

    table = Table("pair", *(f"{size} px" for size in found), title="overhead of a remote call, ms p50 / p99")
    for pair in next(iter(found.values())):
        cells = (rows.get(pair, {"missing": ""}) for rows in found.values())
        told = (c["missing"] if "missing" in c else f"{c['ms_p50']:.2f} / {c['ms_p99']:.2f}" for c in cells)
        table.add_row(pair, *told)
    return table


def robots(found: dict[str, Any]) -> Table:
    """One server for several robots, in turn and together."""
    from rich.table import Table

    table = Table("robots", "in turn", "together", title="chunks per second of one server, and ms of each, p50")
    for count, row in found.items():
        told = (f"{row[way]['chunks_per_s']:.1f}, {row[way]['ms_p50']:.0f} ms" for way in ("in_turn", "together"))
        table.add_row(count, *told)
    return table
