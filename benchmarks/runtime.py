"""Does the runtime keep up, join smoothly, hold its rate and react? Beside openpi's and LeRobot's own loops.

What each part does, and how it is fair, is told at the head of `runtime_overhead`, `runtime_seams`,
`runtime_jitter` and `runtime_reaction`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 60.0  # of each loop and each latency; the other parts take their share of it
PICTURE = Path("runs/runtime.png")
LOOPS = ("wallwm", "openpi", "lerobot")


@dataclass(frozen=True)
class Sizes:
    """How much of everything: overhead, seams and jitter in seconds, moved objects in numbers.

    `tables` and `ways`: which latencies of the overhead, and which ways of reacting.
    """

    overhead_s: float
    seams_s: float
    jitter_s: float
    moves: int
    tables: tuple[str, ...]
    ways: tuple[str, ...]


QUICK = Sizes(3.0, 6.0, 2.0, 1, ("constant_100_ms",), ("synchronous", "overlapped"))


def sizes(seconds: float) -> Sizes:
    """Of a run whose loops are measured for so long [s]."""
    from benchmarks.runtime_overhead import LATENCIES
    from benchmarks.runtime_reaction import WAYS

    moves = max(round(seconds / 4), 2)
    return Sizes(seconds, min(25.0, seconds), min(30.0, seconds), moves, tuple(LATENCIES), tuple(WAYS))


def measure(seconds: float = SECONDS, *, quick: bool = False) -> dict[str, Any]:
    """Every part's figures, the important ones first."""
    from rich.console import Console

    from benchmarks import runtime_jitter, runtime_overhead, runtime_reaction, runtime_seams
    from benchmarks.peers import environment

    size, console, load = QUICK if quick else sizes(seconds), Console(stderr=True), os.getloadavg()[0]
    with console.status("beginning") as status, tempfile.TemporaryDirectory() as folder:
        say, place = _teller(status, console), Path(folder)
        peers = environment.prepare(say, install=not quick)
        found = {
            "overhead": runtime_overhead.run(size.overhead_s, peers, place / "overhead", say, size.tables),
            "seams": runtime_seams.run(size.seams_s, peers, place / "seams", say),
            "jitter": runtime_jitter.run(size.jitter_s, say),
            "reaction": runtime_reaction.run(size.moves, place / "reaction", say, size.ways),
        }
    figures = assemble(found) | {
        "what": runtime_overhead.WHAT,
        "missing": list(dict.fromkeys(_missing(found))),
        "quick": quick,
        "load_1min_before": round(load, 2),
        "load_1min_after": round(os.getloadavg()[0], 2),
    }
    _draw(figures)
    return figures


def assemble(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that stand for everything, then every part's own."""
    from benchmarks.runtime_seams import worst

    constant, jitter = found["overhead"]["constant_100_ms"], found["jitter"]
    return {
        "overhead_ms_p99": {loop: constant[loop].get("ms_p99") for loop in LOOPS},
        "seam": worst(found["seams"]),
        "jitter_ms_p99": {name: jitter[name]["ms_p99"] for name in ("wallwm", "rclpy_timer")},
        "reaction_ms": {
            name: row.get("ms_p50") for name, row in found["reaction"].items() if isinstance(row, dict)
        },
        **found,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """A table for each part."""
    from benchmarks import runtime_tables

    runtime_tables.show(figures, console)


def _teller(status: Any, console: Any) -> Callable[[str], None]:
    """Where there is no terminal, a line for every step of the work."""

    def tell(what: str) -> None:
        status.update(what)
        if not console.is_terminal:
            console.print(what)

    return tell


def _missing(found: Any) -> Iterator[str]:
    """Every reason for which figures are not there."""
    for key, value in found.items() if isinstance(found, dict) else ():
        if key == "missing":
            yield value
        yield from _missing(value)


def _draw(figures: dict[str, Any]) -> None:
    """The picture, in runs/ like everything that commands write."""
    from benchmarks import runtime_plot

    PICTURE.parent.mkdir(exist_ok=True)
    runtime_plot.draw(figures, PICTURE)
