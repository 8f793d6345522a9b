"""The picture of one episode: what was commanded and what the joints did, with the seams marked."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np


@dataclass
class Trace:
    """Commanded and measured positions over one episode.

    Attributes:
        joints: names, D entries.
        time_s: N times since the episode began [s].
        command: N rows of D commanded positions [rad or m].
        measured: N rows of D measured positions [rad or m].
        chunk: N plan generations; a change is a seam between chunks.
        events: (start time [s], event type) of every event.
    """

    joints: tuple[str, ...] = ()
    time_s: list[float] = field(default_factory=list)
    command: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    chunk: list[tuple[int, int]] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    def seams(self) -> list[float]:
        """Times at which another chunk took over [s]."""
        pairs = enumerate(pairwise(self.chunk), start=1)
        return [self.time_s[i] for i, (old, new) in pairs if old != new]


def columns(joints: tuple[str, ...]) -> list[list[int]]:
    """Joint numbers per column: one per arm where names start with left_ and right_, else two halves."""
    left = [i for i, name in enumerate(joints) if name.startswith("left_")]
    right = [i for i, name in enumerate(joints) if name.startswith("right_")]
    if left and len(left) + len(right) == len(joints):
        return [left, right] if right else [left]
    half = (len(joints) + 1) // 2
    return [list(range(half)), list(range(half, len(joints)))] if len(joints) > 1 else [[0]]


def draw(trace: Trace, path: Path, title: str) -> bool:
    """Write the PNG; False when there is nothing to draw."""
    if len(trace.time_s) < 2 or not trace.joints:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = columns(trace.joints)
    rows = max(len(group) for group in groups)
    figure = Figure(figsize=(7.5 * len(groups), 1.25 * rows + 1.4), layout="constrained")
    axes = figure.subplots(rows, len(groups), sharex=True, squeeze=False)
    for column, group in enumerate(groups):
        for row in range(rows):
            if row < len(group):
                _joint(axes[row, column], trace, group[row])
                _seams(axes[row, column], trace, names=row == 0)
            else:
                axes[row, column].set_axis_off()
        axes[rows - 1, column].set_xlabel("time [s]")
        arms = {trace.joints[joint].split("_")[0] for joint in group}
        if len(arms) == 1 and arms <= {"left", "right"}:
            axes[0, column].set_title(f"{arms.pop()} arm", pad=16, fontsize=9, fontweight="bold")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=12)
    FigureCanvasAgg(figure).print_png(str(path))
    return True


def _joint(axis, trace: Trace, joint: int) -> None:
    name = trace.joints[joint]
    gripper = name.endswith("gripper")
    scale, unit = (1000.0, "mm") if gripper else (1.0, "rad")
    command = scale * np.asarray(trace.command)[:, joint]
    measured = scale * np.asarray(trace.measured)[:, joint]
    axis.plot(trace.time_s, measured, color="#e07b39", lw=1.6, label="measured")
    axis.plot(trace.time_s, command, color="#1f5fa8", lw=1.0, ls=(0, (5, 2)), label="commanded")
    axis.set_ylabel(f"{name.split('_', 1)[-1].replace('_', ' ')}\n[{unit}]", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.margins(x=0.0, y=0.12)
    axis.grid(alpha=0.25, lw=0.5)
    # A joint that holds still would fill the panel with noise; show at least this much.
    least = 10.0 if gripper else 0.1
    low, high = axis.get_ylim()
    if high - low < least:
        axis.set_ylim((low + high - least) / 2, (low + high + least) / 2)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _seams(axis, trace: Trace, *, names: bool) -> None:
    for number, seam in enumerate(trace.seams()):
        axis.axvline(seam, color="#7a3fa0", lw=1.1, ls=":", label="new chunk" if not number else None)
    for number, (start, name) in enumerate(trace.events):
        axis.axvline(start, color="#333333", lw=0.9, label="event starts" if not number else None)
        if names:
            axis.annotate(
                name, (start, 1.0), xycoords=("data", "axes fraction"), xytext=(2, 2),
                textcoords="offset points", fontsize=8, color="#333333",
            )  # fmt: skip
