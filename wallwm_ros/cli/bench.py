"""`./wallwm bench NAME`: measurements of this machine, printed as a table and written as JSON."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from wallwm_model.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def command(
    name: Annotated[str, typer.Argument(help="What to measure; an unknown name lists all.")],
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of each measurement.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller sample, where there is one.")] = False,
    runs: Annotated[int | None, typer.Option(min=1, help="faults: how often each case.")] = None,
    only: Annotated[str | None, typer.Option(help="faults: cases with this in their names.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.05, help="soak: how long.")] = None,
    bundles: Annotated[
        list[str] | None, typer.Option("--bundle", help="engine: NAME=FOLDER, the teacher first; may be repeated.")
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=0, help="engine: scenes per bundle.")] = None,
) -> None:
    """Measure this machine or the model (transport, latency, model ...); prints tables and writes JSON."""
    benchmark = _load(name)
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--json must name a file in an existing folder; found no folder {out.parent}")
    if any("=" not in text for text in bundles or ()):
        raise ConfigError(f"--bundle must be NAME=FOLDER; found {', '.join(bundles)}")
    given = {"runs": runs, "only": only, "minutes": minutes, "bundles": bundles or None, "episodes": episodes}
    options = _options(name, benchmark, quick=quick or None, **given)
    if "out" in inspect.signature(benchmark.measure).parameters:
        options["out"] = out
    figures = benchmark.measure(seconds if seconds is not None else benchmark.SECONDS, **options)
    figures["machine"] = machine()
    _print(name, figures, getattr(benchmark, "show", None))
    write(figures, out)


def write(figures: dict[str, Any], out: Path | None) -> None:
    """The figures as JSON, if a file was named."""
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _options(name: str, benchmark: ModuleType, **given: Any) -> dict[str, Any]:
    """What was given, as the benchmark's own options.

    Raises:
        ConfigError: it has no such option.
    """
    given = {key: value for key, value in given.items() if value is not None}
    known = inspect.signature(benchmark.measure).parameters
    for key in given:
        if key not in known:
            valid = ", ".join(f"--{option}" for option in ("json", *known) if option != "out")
            raise ConfigError(f"--{key} is no option of {name}; valid: {valid}")
    return given


def names() -> list[str]:
    """The benchmarks there are; the other files beside them are parts of these."""
    files = FOLDER.glob("[a-z]*.py")
    return sorted(path.stem for path in files if "\ndef measure(" in path.read_text(encoding="utf-8"))


def machine() -> dict[str, Any]:
    """What the figures depend on; `load` is the system's load average before they can have raised it much."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_5min": round(os.getloadavg()[1], 2),
        "python": platform.python_version(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "not set"),
    }


def _load(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(f"expected a benchmark of {', '.join(names())}; found {name!r}")
    return part(name)


def part(name: str) -> ModuleType:
    """The file of that name in benchmarks/, which is no package, as a module; loaded once."""
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        raise ConfigError(f"expected the file {path.name} in {FOLDER}; found none")
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    if spec.name in sys.modules:
        return sys.modules[spec.name]
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _print(name: str, figures: dict[str, Any], show: Callable[..., None] | None) -> None:
    """One table of all figures, or the benchmark's own tables and then the plain figures."""
    from rich.console import Console
    from rich.table import Table

    if show is not None:
        show(figures, Console())
        figures = {key: value for key, value in figures.items() if not _nested(value)}
    table = Table(title=name, show_header=False)
    for key, value in flat(figures):
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


def _nested(value: Any) -> bool:
    """A table of its own: rows of rows, or more rows than fit a summary."""
    if not isinstance(value, dict):
        return False
    return len(value) > 8 or any(isinstance(row, dict) for row in value.values())


def flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as rows, `outer inner`."""
    rows: list[tuple[str, Any]] = []
    for key, value in figures.items():
        rows += flat(value, f"{prefix}{key} ") if isinstance(value, dict) else [(prefix + key, value)]
    return rows
