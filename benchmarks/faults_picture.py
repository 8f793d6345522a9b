"""The picture of a fault matrix: time to hold, case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Write the PNG: p50 as bars, the largest as marks; cases beyond limits or with lost results in red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(rows)[::-1]
    figure = Figure(figsize=(9, 0.28 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        row = rows[name]
        hold, bad = row["hold_ms"], row["violations"] or row["lost_results"] or row["recovers"] is False
        if hold["p50"] is None:
            axes.text(0, place, " goes on", va="center", fontsize=8, color="grey")
            continue
        axes.barh(place, hold["p50"], color="tab:red" if bad else "tab:blue", height=0.7)
        axes.plot(hold["max"], place, "|", color="black", markersize=9)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("from the fault to the last command that moved [ms]: bar p50, mark largest")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.grid(axis="x", alpha=0.3)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
