"""`./wallwm calibrate intrinsics`: collect views of a board, fit the lens, report, write."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.coverage import Coverage
from wallwm_model.calibration_tools.intrinsics import MIN_VIEWS, Intrinsics, calibrate_intrinsics
from wallwm_model.calibration_tools.lens import MODELS
from wallwm_model.calibration_tools.record import new_camera, with_intrinsics
from wallwm_model.calibration_tools.report import report_intrinsics
from wallwm_model.errors import CalibrationError, ConfigError
from wallwm_ros.calibrate.collect import Collected, gather
from wallwm_ros.calibrate.results import Place
from wallwm_ros.calibrate.sources import Source, find_camera, open_frames
from wallwm_ros.core.robot_file import load_robot


@dataclass(frozen=True)
class IntrinsicsOrder:
    """What the user asked for.

    Attributes:
        camera, robot: names in the robot profile.
        source: of the pictures.
        board: what is shown.
        model: lens model.
        views: wanted number.
        link: that carries the camera; needed for one that the calibration file does not have.
        file: calibration file; None: the profile's.
        out: folder for the report.
        write: change the file itself.
    """

    camera: str
    robot: str = "sim"
    source: Source = field(default_factory=Source)
    board: Board = field(default_factory=Board)
    model: str = "plumb_bob"
    views: int = 30
    link: str = ""
    file: Path | None = None
    out: Path = Path("runs/calibration")
    write: bool = False


def run_intrinsics(order: IntrinsicsOrder, console: Console) -> Intrinsics:
    """Carry an order out.

    Raises:
        WallWMError: something that was asked for is not there, or the data is too poor; nothing is written
            then.
    """
    if order.model not in MODELS:
        raise CalibrationError(f"--model must be one of {', '.join(MODELS)}; found {order.model!r}")
    profile = load_robot(order.robot)
    camera = find_camera(profile, order.camera)
    place = Place.of(profile, camera.name, order.file, order.write)
    known = place.read(profile.name)
    old = known.cameras.get(camera.name)
    if old is None and not order.link:
        raise ConfigError(
            f"camera {camera.name} is new in {place.file}: --link must name the link that carries it, "
            "or world"
        )
    with open_frames(order.source, profile, camera, with_joints=False) as (frames, _):
        collected = gather(
            frames, order.board, lambda size: Coverage.guessed(order.board, size, order.model, order.views),
            lambda coverage, _: coverage.needs(), console, order.source.live, not order.source.images,
        )  # fmt: skip
    collected.require(MIN_VIEWS)
    collected.check_markers()
    with console.status("fitting the lens ..."):
        result = calibrate_intrinsics(order.board, collected.views, order.model)
    new = with_intrinsics(
        old or new_camera(camera.name, result.size, order.link), result, datetime.date.today()
    )
    _tell(result, collected, console)
    _, page = report_intrinsics(order.out, f"{camera.name}-intrinsics", result, [summary(collected)])
    console.print(f"[green]report[/] {escape(str(page))}")
    place.save(known, new, old, lambda text: console.print(escape(text), soft_wrap=True))
    if old is None:
        console.print(
            f"[yellow]the mount of {camera.name} has not been measured[/]: ./wallwm calibrate handeye"
        )
    return result


def summary(collected: Collected) -> str:
    """How many pictures were used, and why others were not."""
    from collections import Counter

    from wallwm_model.calibration_tools.detect import REASONS

    reasons = Counter(REASONS[miss.reason] for miss in collected.misses) + collected.skipped
    others = ", ".join(f"{count} {why}" for why, count in reasons.most_common())
    text = f"{len(collected.frames)} of {collected.count} pictures used"
    return f"{text}; not used: {others}" if others else text


def _tell(result: Intrinsics, collected: Collected, console: Console) -> None:
    console.print(summary(collected))
    K, deviation = result.fit.K, result.deviation
    console.print(
        f"RMS {result.rms_px:.3f} px; "
        f"fx {K[0, 0]:.2f} +- {deviation[0]:.2f}, fy {K[1, 1]:.2f} +- {deviation[1]:.2f}, "
        f"cx {K[0, 2]:.2f} +- {deviation[2]:.2f}, cy {K[1, 2]:.2f} +- {deviation[3]:.2f} px"
    )
    if result.dropped:
        console.print(f"left out, they fit badly: {escape(', '.join(result.dropped))}")
