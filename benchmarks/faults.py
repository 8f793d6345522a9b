"""What happens when something breaks? Every fault, while the arm moves, through the real nodes."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallwm_model.errors import ConfigError
from wallwm_ros.cli.bench import part, write

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 2700.0  # about; every case is played so often, however long it takes
RUNS = 20
SEED = 0
ORDERS = ("position", "velocity", "acceleration", "jerk", "workspace")


def measure(
    seconds: float = SECONDS,
    *,
    quick: bool = False,
    runs: int | None = None,
    only: str | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Time to hold, violations and lost results of every case; interrupted, of those played until then.

    Args:
        quick: a few cases, once each.
        runs: so often each case.
        only: the cases whose names have this in them.
        out: where the figures go while they come in; the picture goes beside it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    chosen = choose(only, quick=quick)
    count = runs or (1 if quick else RUNS)
    figures = summary({}, count)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=count * len(chosen))
        rows: dict[str, dict[str, Any]] = {}

        def played(case: str, found: list[Any], failure: str | None = None) -> None:
            nonlocal figures
            bar.update(task, description=case, completed=sum(row["runs"] for row in rows.values()))
            rows[case] = row_of(found, failure)
            figures = summary(rows, count)
            write(figures, out)

        try:
            for simulated in (False, True):
                play([case for case in chosen if case.simulated == simulated], count, simulated, played)
        except KeyboardInterrupt:
            figures["interrupted"] = True
    if out is not None and figures["cases"]:
        part("faults_picture").draw(figures["cases"], out.with_suffix(".png"))
    return figures


def choose(only: str | None, *, quick: bool) -> list[Any]:
    """The cases asked for.

    Raises:
        ConfigError: `only` is in no case's name; lists them.
    """
    cases = part("faults_cases")
    found = [case for case in cases.matrix() if only is None or only in case.name]
    if not found:
        names = ", ".join(case.name for case in cases.matrix())
        raise ConfigError(f"--only must be part of a case's name, of {names}; found {only!r}")
    if quick and only is None:
        return [case for case in found if case.name in cases.QUICK]
    return found


def play(cases: list[Any], count: int, simulated: bool, played: Callable[..., None]) -> None:
    """All runs of cases that share a system, which is started anew after a run that could not be ended."""
    waiting = [(case, index) for case in cases for index in range(count)]
    rng = random.Random(SEED)
    found: dict[str, list[Any]] = {case.name: [] for case in cases}
    while waiting:
        with tempfile.TemporaryDirectory() as folder:
            with part("faults_stage").Stage(Path(folder), simulated=simulated) as stage:
                player = part("faults_run").Player(stage, rng)
                while waiting:
                    case, index = waiting.pop(0)
                    run = player.play(case, index)
                    found[case.name].append(run)
                    last = index == count - 1
                    failure = player.recovers() if last and not run.trouble else None
                    played(case.name, found[case.name], failure)
                    if run.trouble or failure:
                        break


def row_of(found: list[Any], failure: str | None) -> dict[str, Any]:
    """One case's figures; `failure`: why nothing works after it, None: not looked at yet."""
    holds = sorted(run.hold_ms for run in found if run.hold_ms is not None)
    verdicts = [run.verdict for run in found if run.verdict is not None]
    return {
        "runs": len(found),
        "violations": sum(verdict.violations for verdict in verdicts),
        "commands": sum(verdict.judged for verdict in verdicts),
        "commands_guessed": sum(verdict.guessed for verdict in verdicts),
        "lost_results": sum(run.lost for run in found),
        "hold_ms": {
            "p50": holds[(len(holds) - 1) // 2] if holds else None,
            "max": holds[-1] if holds else None,
        },
        "endings": dict(Counter(run.ending for run in found if run.ending).most_common()),
        "text": next((run.text for run in found if run.text), ""),
        "reason": next((run.reason for run in found if run.reason), ""),
        "largest_share": {
            order: max((verdict.shares[order] for verdict in verdicts), default=0.0) for order in ORDERS
        },
        "first_violation": next((verdict.first for verdict in verdicts if verdict.first), ""),
        "troubles": [run.trouble for run in found if run.trouble],
        "recovers": None if failure is None else not failure,
        "recovery": failure or "",
    }


def summary(rows: dict[str, dict[str, Any]], count: int) -> dict[str, Any]:
    """All cases together."""
    holds = [row["hold_ms"]["max"] for row in rows.values() if row["hold_ms"]["max"] is not None]
    return {
        "what": f"{len(rows)} faults, {count} runs each, both modes in turn, while the arm moves",
        "violations": sum(row["violations"] for row in rows.values()),
        "commands": sum(row["commands"] for row in rows.values()),
        "commands_guessed": sum(row["commands_guessed"] for row in rows.values()),
        "lost_results": sum(row["lost_results"] for row in rows.values()),
        "hold_ms_max": max(holds, default=None),
        "troubles": sum(len(row["troubles"]) for row in rows.values()),
        "not_recovered": sum(row["recovers"] is False for row in rows.values()),
        "runs": sum(row["runs"] for row in rows.values()),
        "interrupted": False,
        "cases": rows,
    }


def show(figures: dict[str, Any], console: Console) -> None:
    """The table by case."""
    from rich.table import Table

    table = Table(title=figures["what"])
    for heading in ("case", "runs", "beyond limits", "lost", "hold p50 [ms]", "max", "endings", "after it"):
        table.add_column(heading)
    for name, row in figures["cases"].items():
        endings = ", ".join(f"{count} {ending}" for ending, count in row["endings"].items())
        holds = [
            "-" if row["hold_ms"][key] is None else f"{row['hold_ms'][key]:.0f}" for key in ("p50", "max")
        ]
        after = {None: "", True: "works", False: "fails"}[row["recovers"]]
        plain = [str(row[key]) for key in ("runs", "violations", "lost_results")]
        table.add_row(name, *plain, *holds, endings, "; ".join([after, *row["troubles"][:1]]).strip("; "))
    console.print(table)
