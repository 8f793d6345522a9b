"""The figures of the runtime benchmark as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(figures: dict[str, Any], console: Console) -> None:
    """One table for each part; a peer that is missing says why."""
    for name, rows in figures["overhead"].items():
        title = f"overhead per chunk less the engine [ms], policy {name.replace('_', ' ')}"
        _table(console, title, rows, {"ms_p50": "p50", "ms_p99": "p99", "ms_max": "largest", "n": "chunks"})
    columns = {
        "skipped": "skipped", "replayed": "replayed",
        "velocity_step_p50": "v p50", "velocity_step": "v max",
        "acceleration_step_p50": "a p50", "acceleration_step": "a max", "acceleration_limit_share": "a used",
    }  # fmt: skip
    for name, rows in figures["seams"]["scenarios"].items():
        _table(
            console,
            f"joins, {name}: steps of velocity (v) and acceleration (a) as shares of the limits",
            rows,
            columns,
        )
    jitter = {name: row for name, row in figures["jitter"].items() if isinstance(row, dict)}
    title = f"control period at {figures['jitter']['rate_hz']:g} Hz off by [ms], all cores busy"
    spread = {"ms_p50": "p50", "ms_p99": "p99", "ms_p99_9": "p99.9", "ms_max": "largest", "n": "periods"}
    _table(console, title, jitter, spread)
    reaction = {name: row for name, row in figures["reaction"].items() if isinstance(row, dict)}
    title = "from an object moved to the first command that differs [ms]"
    faster = {"ms_p50": "p50", "ms_max": "largest", "times_faster_p50": "times faster", "n": "moves"}
    _table(console, title, reaction, faster)
    for sentence in figures["missing"]:
        console.print(sentence)


def _table(console: Console, title: str, rows: dict[str, dict[str, Any]], columns: dict[str, str]) -> None:
    table = Table(title=Text(title))
    table.add_column("")
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        table.add_row(name.replace("_", " "), *_cells(row, columns))
    console.print(table)


def _cells(row: dict[str, Any], columns: Iterable[str]) -> list[str]:
    """Three digits each; dashes for what is missing."""
    values = [row.get(key) for key in columns]
    return [
        "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        for value in values
    ]
