"""Can calibration be made, checked and trusted? Tools, masks against brute force, bumped mounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wallwm_ros.cli.bench import part

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 1200.0  # about; every part does a fixed amount of work
# The figures that stand for everything, and the part that each comes from.
KEYS = {
    "intrinsics_error_pct_max": "calibration_tools",
    "reprojection_px_max": "calibration_tools",
    "handeye_mm_max": "calibration_tools",
    "handeye_deg_max": "calibration_tools",
    "mask_recall": "masks",
    "mask_precision": "masks",
    "bump_detected": "bump",
    "false_alarms": "bump",
    "mask_ms": "masks",
}
# What --quick asks of each part: to see that everything runs, not to say anything.
QUICK = {
    "calibration_tools": {"rigs": 1},
    "masks": {"rigs_count": 4, "scenes": 1, "updates": 3},
    "bump": {"clean": 1, "bumped": 0, "rendered": 1},
}
_PROGRESS = {"calibration_tools": "progress", "masks": "on_progress", "bump": "progress"}
_TITLES = {"calibration_tools": "intrinsics and hand-eye", "masks": "sight masks", "bump": "bumped mounts"}


def measure(seconds: float = SECONDS, *, quick: bool = False) -> dict[str, Any]:
    """Every part's figures, the important ones first."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: dict[str, dict[str, Any]] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        for name, title in _TITLES.items():
            task = bar.add_task(title, total=None)
            found[name] = part(name).run(
                **(QUICK[name] if quick else {}), **{_PROGRESS[name]: _teller(bar, task)}
            )
    return assemble(found) | {"quick": quick}


def assemble(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Parts' figures -> `KEYS` at the top, everything else under the part's name."""
    top = {key: found[name][key] for key, name in KEYS.items()}
    rest = {
        name: {key: value for key, value in figures.items() if KEYS.get(key) != name}
        for name, figures in found.items()
    }
    return top | rest


def _teller(bar: Any, task: Any) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return tell


def show(figures: dict[str, Any], console: Console) -> None:
    """A table for each part."""
    _show_tools(figures["calibration_tools"], console)
    part("masks").table(figures["masks"] | {key: figures[key] for key in KEYS if KEYS[key] == "masks"})
    part("bump").show(figures["bump"] | {key: figures[key] for key in KEYS if KEYS[key] == "bump"}, console)


def _show_tools(figures: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    columns = {
        "rig": "rig",
        "camera": "camera",
        "model": "lens",
        "intrinsics_pct": "intrinsics off [%]",
        "reprojection_px": "RMS [px]",
        "handeye_mm": "mount off [mm]",
        "handeye_deg": "mount off [degrees]",
    }
    table = Table(title="intrinsics and hand-eye, random rigs")
    for heading in columns.values():
        table.add_column(heading)
    for row in figures["table"]:
        table.add_row(*(_text(row.get(key, row.get("refused", ""))) for key in columns))
    console.print(table)


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
