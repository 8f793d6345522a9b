"""The figures of the runtime benchmark as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLOURS = {"wallwm": "#2a6f97", "other": "#c9c5bb", "warm": "#d1603d"}


def draw(figures: dict[str, Any], path: Path) -> None:
    """Four panels: overhead, joins, control periods, reaction; what is missing is left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 120}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
        _overhead(axes[0, 0], figures["overhead"])
        _seams(axes[0, 1], figures["seams"]["scenarios"])
        _jitter(axes[1, 0], figures["jitter"])
        _reaction(axes[1, 1], figures["reaction"])
        figure.savefig(path)
        pyplot.close(figure)


def _overhead(axes: Any, tables: dict[str, dict[str, Any]]) -> None:
    """p50 and p99 of every loop, for both policies."""
    names, values, whiskers = [], [], []
    for table, rows in tables.items():
        for loop, row in rows.items():
            if "ms_p99" in row:
                names.append(f"{loop}, {table.split('_')[0]}")
                values.append(row["ms_p50"])
                whiskers.append(row["ms_p99"] - row["ms_p50"])
    _bars(axes, names, values, "ms; line: up to p99", "stamp to chunk, less the engine", whiskers)


def _seams(axes: Any, scenarios: dict[str, dict[str, Any]]) -> None:
    """Largest step of velocity at a join, over all scenarios, as a share of the limit."""
    rules = {rule: 0.0 for rows in scenarios.values() for rule, row in rows.items() if "missing" not in row}
    for rows in scenarios.values():
        for rule in rules:
            rules[rule] = max(rules[rule], rows[rule].get("velocity_step", 0.0))
    _bars(
        axes, list(rules), list(rules.values()), "share of the speed limit", "largest velocity step at a join"
    )


def _jitter(axes: Any, figures: dict[str, Any]) -> None:
    """Three quantiles of both."""
    rows = {name: row for name, row in figures.items() if isinstance(row, dict)}
    pairs = [
        (f"{name.replace('_', ' ')}, {quantile.removeprefix('ms_').replace('_', '.')}", row[quantile])
        for name, row in rows.items()
        for quantile in ("ms_p50", "ms_p99", "ms_p99_9")
    ]
    names, values = zip(*pairs, strict=True)
    _bars(
        axes, list(names), list(values), "ms", f"control period off at {figures['rate_hz']:g} Hz, cores busy"
    )
    axes.set_xscale("log")


def _reaction(axes: Any, figures: dict[str, Any]) -> None:
    """Median of each way of working, and the largest."""
    rows = {
        name.replace("_", " "): row
        for name, row in figures.items()
        if isinstance(row, dict) and "missing" not in row
    }
    whiskers = [row["ms_max"] - row["ms_p50"] for row in rows.values()]
    values = [row["ms_p50"] for row in rows.values()]
    _bars(
        axes,
        list(rows),
        values,
        "ms; line: up to the largest",
        "object moved to first changed command",
        whiskers,
    )


def _bars(
    axes: Any,
    names: list[str],
    values: list[float],
    unit: str,
    title: str,
    whiskers: list[float] | None = None,
) -> None:
    ours = ("wallwm", "overlapped")
    colours = [_COLOURS["wallwm" if name.startswith(ours) else "other"] for name in names]
    axes.barh(names, values, color=colours)
    if whiskers:
        axes.errorbar(
            values, names, xerr=[[0.0] * len(values), whiskers], fmt="none", ecolor=_COLOURS["warm"]
        )
    axes.set(title=title, xlabel=unit)
    axes.invert_yaxis()
