"""Memory of processes over time: sampled, fitted by a line, drawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

WARM_UP = 0.2  # part of the time that does not count: caches and pools fill up
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Memory:
    """Resident memory of some processes [MiB].

    Attributes:
        times_s: when it was looked at, from the first time on [s].
        used_mb: process -> what it held then; None: it was not there.
    """

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.used_mb: dict[str, list[float | None]] = {}
        self._begin_s = 0.0

    def look(self, now_s: float, pids: dict[str, int]) -> None:
        """Sample every process; `now_s` is any steady time [s]."""
        self._begin_s = now_s if not self.times_s else self._begin_s
        for name in pids:
            self.used_mb.setdefault(name, [None] * len(self.times_s))
        self.times_s.append(now_s - self._begin_s)
        for name, values in self.used_mb.items():
            values.append(resident_mb(pids[name]) if name in pids else None)

    def growth_pct(self) -> dict[str, float]:
        """By how much each process grew after warming up, as the fitted line has it [% of where it began]."""
        return {name: growth_pct(np.array(self.times_s), values) for name, values in self.used_mb.items()}


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process [MiB]; None if there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
    except (OSError, IndexError):
        return None


def growth_pct(times_s: np.ndarray, values: list[float | None]) -> float:
    """Growth over the time after warming up, by a straight line through what was used [%]."""
    known = np.array([np.nan if value is None else value for value in values])
    chosen = (times_s >= WARM_UP * times_s[-1]) & np.isfinite(known)
    if chosen.sum() < 3:
        return 0.0
    slope, begin = np.polyfit(times_s[chosen] - times_s[chosen][0], known[chosen], 1)
    return float(100 * slope * (times_s[chosen][-1] - times_s[chosen][0]) / begin)


def draw(memory: Memory, path: Path, title: str) -> None:
    """Write the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    minutes = np.array(memory.times_s) / 60
    for name, grown in memory.growth_pct().items():
        axes.plot(minutes, memory.used_mb[name], label=f"{name}, {grown:+.1f} %")
    axes.axvline(WARM_UP * minutes[-1], color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("time [min]; growth is counted from the dotted line on")
    axes.set_ylabel("resident memory [MiB]")
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
