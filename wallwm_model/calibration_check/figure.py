"""The masks following the arms: moments of a simulated hand-over, every camera, in one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.calibration_check.overlay import Moment, overlay
from wallwm_model.calibration_check.snapshot import Claims, Snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 288  # pictures of the simulated cameras [px]
EVENTS = ("", "reach", "take")  # shown at the end of these; "" = before the first
SEED = 4
_LEFT, _TOP, _BOTTOM, _CELL, _GAP = 0.42, 0.32, 0.56, 2.9, 0.06  # layout [inches]
_INK, _FAINT = "#1b2430", "#5a6675"
_NOTE = (
    "Colour: patches that may attend to that view, stripes: to both. "
    "Lines: how far that camera sees on the table. White: links by forward kinematics."
)


@dataclass(frozen=True)
class Row:
    """One moment of the figure: what it is called, the pictures, and what the calibration says."""

    title: str
    pictures: Mapping[str, np.ndarray]
    moment: Moment


def simulate(claims: Claims, seed: int = SEED, events: tuple[str, ...] = EVENTS) -> list[Row]:
    """Play a hand-over with the scripted expert -> one row for each event named."""
    from wallwm_model.sim.expert import Expert
    from wallwm_model.sim.robot import JOINTS
    from wallwm_model.sim.scene import sample_scene
    from wallwm_model.sim.simulation import Simulation

    simulation = Simulation(image_size=SIDE)
    simulation.reset(sample_scene("handover", seed))
    expert, rows = Expert(simulation), []
    for caption in ("", *simulation.scene.captions()):
        if caption:
            simulation.follow(expert.plan(caption))
        if caption.partition(" ")[0] in events:
            joints = dict(zip(JOINTS, simulation.state().tolist(), strict=True))
            snapshot = Snapshot(simulation.render(), joints)
            rows.append(Row(caption or "at rest", snapshot.pictures, claims.moment(snapshot)))
    simulation.close()
    return rows


def draw(rows: list[Row], path: Path) -> None:
    """Write the figure as PNG: a row per moment, a column per camera."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    views = rows[0].moment.views
    size = (_LEFT + _CELL * len(views), _TOP + _CELL * len(rows) + _BOTTOM)
    figure = Figure(figsize=size, facecolor="white", dpi=100)
    canvas = FigureCanvasAgg(figure)
    for line, row in enumerate(rows):
        for column, view in enumerate(views):
            corner = (_LEFT + _CELL * column, size[1] - _TOP - _CELL * (line + 1))
            box = (*corner, _CELL - _GAP, _CELL - _GAP)
            axes = figure.add_axes([v / s for v, s in zip(box, size * 2, strict=True)])
            picture = overlay(row.moment, view, row.pictures[view], 2 * SIDE)
            axes.imshow(picture, interpolation="antialiased")
            axes.set_axis_off()
            place = {"transform": axes.transAxes, "clip_on": False}
            if line == 0:
                axes.text(0.5, 1.035, view, ha="center", color=_INK, fontsize=11, fontweight="bold", **place)
                axes.plot([0, 1], [1.014] * 2, color=_rgb(row.moment, view), lw=3.5, **place)
            if column == 0:
                title = textwrap.fill(row.title, 34)
                axes.text(
                    -0.03, 0.5, title, rotation=90, ha="right", va="center", color=_INK, fontsize=9, **place
                )
    _legend(figure, rows[0].moment, size[1])
    canvas.draw()
    # A palette makes the file a third of the size, and nothing to be seen of it.
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(256).save(path, optimize=True)


def _legend(figure: Figure, moment: Moment, height: float) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=_rgb(moment, view), label=f"shared with {view}") for view in moment.views]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, 0.36 / height), ncols=len(handles), frameon=False,
        fontsize=9.5, labelcolor=_INK,
    )  # fmt: skip
    figure.text(0.5, 0.12 / height, _NOTE, ha="center", color=_FAINT, fontsize=8)


def _rgb(moment: Moment, view: str) -> tuple[float, ...]:
    return tuple(v / 255 for v in moment.colour(view))
