"""A calibration's residuals as one picture and one HTML page, for people who decide whether to trust it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.detect import View
from wallwm_model.calibration_tools.handeye import HandEye
from wallwm_model.calibration_tools.intrinsics import Intrinsics
from wallwm_model.errors import CalibrationError

_ACCENT, _DARK, _WARM = "#13808a", "#20262e", "#d1603d"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#20262e}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .8rem;border-bottom:1px solid #d5dade;"
    "text-align:right}th:first-child,td:first-child{text-align:left}img{width:100%}h1{font-size:1.4rem}"
)
Rows = Sequence[Sequence[str]]


def report_intrinsics(
    folder: Path, name: str, result: Intrinsics, notes: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Write NAME.png and NAME.html into a folder; returns both paths.

    Raises:
        CalibrationError: the folder cannot be written.
    """
    figure, axes = _figure(f"{name}: {result.model}, {len(result.views)} views, {result.rms_px:.3f} px RMS")
    views, residuals = result.views, result.fit.residuals
    _draw_per_view(axes[0, 0], [v.source for v in views], result.per_view_px)
    _draw_vectors(axes[0, 1], views, residuals)
    _draw_coverage(axes[1, 0], views)
    _draw_distortion(axes[1, 1], result)
    K, deviation = result.fit.K, result.deviation
    values = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *result.fit.D]
    names = ["fx [px]", "fy [px]", "cx [px]", "cy [px]", *(f"D[{i}]" for i in range(len(result.fit.D)))]
    lens_rows = [(n, f"{v:.6g}", f"{s:.2g}") for n, v, s in zip(names, values, deviation)]
    facts = [
        ("board", str(result.board)),
        ("picture", f"{result.size[0]}x{result.size[1]}"),
        ("views", str(len(views))),
        ("left out, fit badly", ", ".join(result.dropped) or "none"),
        ("corners, disbelieved", f"{sum(len(v.ids) for v in views)}, {result.outliers}"),
        ("RMS", f"{result.rms_px:.3f} px"),
    ]  # fmt: skip
    sections = [("Result", ("", "value", "standard deviation"), lens_rows)]
    return _write(folder, name, f"Intrinsics of {name}", figure, facts, sections, notes)


def report_handeye(folder: Path, name: str, result: HandEye, notes: Sequence[str] = ()) -> tuple[Path, Path]:
    """Write NAME.png and NAME.html into a folder; returns both paths. Raises as `report_intrinsics`."""
    count, fit = len(result.samples), result.fit
    robot = f"{fit.robot_m * 1e3:.2f} mm, {np.degrees(fit.robot_rad):.3f} degrees per axis"
    scale = f"{result.scale:.4f} ± {result.scale_deviation:.4f} of the told size"
    certain = f"{result.deviation_m * 1e3:.2f} mm, {np.degrees(result.deviation_rad):.3f} degrees"
    title = f"{name}: {count} poses, certain to {certain}"
    figure, axes = _figure(title)
    views = [s.view for s in result.samples]
    per_view = [np.sqrt((r**2).sum(1).mean()) for r in result.residuals]
    _draw_per_view(axes[0, 0], [v.source for v in views], per_view)
    _draw_vectors(axes[0, 1], views, result.residuals)
    _draw_coverage(axes[1, 0], views)
    _draw_agreement(axes[1, 1], result)
    facts = [
        ("poses", str(count)),
        ("left out, contradict the others", ", ".join(result.dropped) or "none"),
        ("RMS of corners predicted through the robot", f"{result.rms_px:.3f} px"),
        ("the robot's own error, from the data", robot),
        ("uncertainty of the mount", certain),
        ("squares by the robot's motion", scale),
    ]  # fmt: skip
    methods = [
        (a.method, f"{a.distance_m * 1e3:.2f}", f"{np.degrees(a.angle_rad):.3f}", f"{a.rms_px:.3f}")
        for a in result.agreement
    ]
    methods.append(("joint refinement (the result)", "0", "0", f"{result.rms_px:.3f}"))
    header = ("method", "from the result [mm]", "[degrees]", "RMS [px]")
    pose = [tuple(f"{v:.6f}" for v in row) for row in result.X]
    sections = [("Methods compared", header, methods), ("T_link_camera_optical", ("", "", "", ""), pose)]
    return _write(folder, name, f"Hand-eye of {name}", figure, facts, sections, notes)


def _figure(title: str):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, color=_DARK)
    return figure, figure.subplots(2, 2)


def _draw_per_view(axes, names: Sequence[str], rms: Sequence[float]) -> None:
    axes.bar(range(len(rms)), rms, color=_ACCENT)
    axes.axhline(float(np.median(rms)), color=_DARK, linewidth=1, linestyle="--", label="median")
    step = max(1, len(names) // 15)
    axes.set_xticks(
        range(0, len(names), step), [n[-18:] for n in names[::step]], rotation=60, ha="right", fontsize=7
    )
    axes.set(title="RMS of each view", ylabel="px")
    axes.legend(frameon=False)


def _draw_vectors(axes, views: Sequence[View], residuals: Sequence[np.ndarray]) -> None:
    pixels, vectors = np.concatenate([v.pixels for v in views]), np.concatenate(residuals)
    width, height = views[0].size
    typical = max(float(np.median(np.linalg.norm(vectors, axis=1))), 1e-6)
    factor = 0.025 * width / typical
    colours = np.linalg.norm(vectors, axis=1).clip(0, 4 * typical)
    arrows = axes.quiver(*pixels.T, *vectors.T, colours, angles="xy", scale_units="xy", scale=1 / factor,
                         width=0.0025, cmap="viridis")  # fmt: skip
    axes.figure.colorbar(arrows, ax=axes, label="px", shrink=0.8)
    _picture_axes(axes, width, height, f"residuals, drawn {factor:.0f} times as long")


def _draw_coverage(axes, views: Sequence[View]) -> None:
    width, height = views[0].size
    rows, columns = 9, 12
    x, y = np.concatenate([v.pixels for v in views]).T
    counts = np.histogram2d(
        y, x, bins=(np.linspace(0, height, rows + 1), np.linspace(0, width, columns + 1))
    )[0]
    image = axes.imshow(counts, extent=(0, width, height, 0), cmap="GnBu", vmin=0)
    axes.plot(x, y, ".", color=_DARK, markersize=1.5, alpha=0.6)
    axes.figure.colorbar(image, ax=axes, label="corners", shrink=0.8)
    _picture_axes(axes, width, height, "where corners were seen")


def _draw_distortion(axes, result: Intrinsics) -> None:
    """How far the lens moves points of an ideal pinhole (of an ideal equidistant lens for a fisheye)."""
    width, height = result.size
    grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 22), np.linspace(0, height - 1, 17)), -1).reshape(
        -1, 2
    )
    rays = lens.rays(grid, result.fit.K, result.model, result.fit.D)
    sound = np.isfinite(rays).all(1) & (np.hypot(*rays.T) < 15)
    points = np.column_stack([rays[sound], np.ones(sound.sum())])
    plain = lens.project(
        points, np.zeros(3), np.zeros(3), result.fit.K, result.model, np.zeros(len(result.fit.D))
    )[0]
    shift = grid[sound] - plain
    far = np.linalg.norm(shift, axis=1)
    axes.quiver(
        *plain.T,
        *shift.T,
        far,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.002,
        headwidth=4,
        cmap="viridis",
    )
    axes.plot(*result.fit.K[:2, 2], "+", color=_WARM, markersize=14, markeredgewidth=2)
    ideal = "equidistant lens" if result.model == "equidistant" else "pinhole"
    _picture_axes(axes, width, height, f"distortion against an ideal {ideal}; + principal point")


def _draw_agreement(axes, result: HandEye) -> None:
    names = [a.method for a in result.agreement]
    where, half = np.arange(len(names)), 0.38
    axes.barh(
        where - half / 2, [a.distance_m * 1e3 for a in result.agreement], half, color=_ACCENT, label="mm"
    )
    axes.barh(
        where + half / 2,
        [np.degrees(a.angle_rad) for a in result.agreement],
        half,
        color=_WARM,
        label="degrees",
    )
    axes.set_yticks(where, names)
    axes.axvline(result.deviation_m * 1e3, color=_DARK, linestyle="--", linewidth=1, label="uncertainty [mm]")
    axes.set(title="closed-form methods, away from the result")
    axes.invert_yaxis()
    axes.legend(frameon=False)


def _picture_axes(axes, width: int, height: int, title: str) -> None:
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), title=title, aspect="equal")


def _write(
    folder: Path, name: str, title: str, figure, facts: Rows, sections, notes: Sequence[str]
) -> tuple[Path, Path]:
    picture, page = folder / f"{name}.png", folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture)
        data = base64.b64encode(picture.read_bytes()).decode()
        body = [f"<h1>{html.escape(title)}</h1>", _table((), facts)]
        body += [f"<p>{html.escape(note)}</p>" for note in notes]
        body.append(f'<img alt="residuals" src="data:image/png;base64,{data}">')
        for heading, header, rows in sections:
            body += [f"<h2>{html.escape(heading)}</h2>", _table(header, rows)]
        top = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        page.write_text(f"{top}<style>{_STYLE}</style>{''.join(body)}</html>", encoding="utf-8")
    except OSError as error:
        raise CalibrationError(f"the report must be written to {folder}; found {error.strerror}") from None
    return picture, page


def _table(header: Sequence[str], rows: Rows) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{f'<tr>{head}</tr>' if any(header) else ''}{''.join(lines)}</table>"
