"""`./wallwm calibrate board` and `practice`: a board to print, and pictures to try the tools on."""

from __future__ import annotations

import csv
import datetime
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from wallwm_model.calibration import (
    Calibration,
    CameraCalibration,
    Provenance,
    load_calibration,
    save_calibration,
)
from wallwm_model.calibration_tools.board import Board
from wallwm_model.errors import ConfigError
from wallwm_ros.core.paths import data_path

DOTS_PER_M = 300 / 0.0254


@dataclass(frozen=True)
class PracticeOrder:
    """What the user asked for.

    Attributes:
        out: folder to write.
        camera: of the robot `sim`.
        model: lens model.
        views, poses: pictures for intrinsics and for hand-eye.
        seed: of lens, mount and pictures.
        board: what is shown.
    """

    out: Path = Path("runs/practice")
    camera: str = "wrist_cam_left"
    model: str = "plumb_bob"
    views: int = 30
    poses: int = 20
    seed: int = 0
    board: Board = field(default_factory=Board)


def print_board(board: Board, out: Path, console: Console) -> None:
    """Write a board as a picture of 300 dots per inch.

    Raises:
        ConfigError: it cannot be written.
    """
    square_px = round(board.square_m * DOTS_PER_M)
    picture = board.picture(square_px)
    _write(out, picture)
    width, height = (n / square_px * board.square_m * 1e3 for n in picture.shape[::-1])
    console.print(f"[green]written[/] {escape(str(out))}: {board}")
    console.print(
        f"print it {width:.0f} x {height:.0f} mm large, without scaling, and glue it to something flat and "
        "stiff; then measure a square and a marker on the print: those are --square and --marker"
    )


def make_practice(order: PracticeOrder, console: Console) -> None:
    """Draw pictures of a board as a camera of the simulated robot would see it, and write what is to be
    found.

    Raises:
        ConfigError: an unknown camera or lens model, or a folder that cannot be written.
    """
    from wallwm_model.calibration_tools.lens import MODELS
    from wallwm_model.sim.calibration_rig import random_rig
    from wallwm_model.sim.calibration_views import board_views, robot_views
    from wallwm_model.sim.robot import CAMERAS

    if order.camera not in CAMERAS:
        raise ConfigError(f"--camera must be one of {', '.join(CAMERAS)}; found {order.camera!r}")
    if order.model not in MODELS:
        raise ConfigError(f"--model must be one of {', '.join(MODELS)}; found {order.model!r}")
    rig = random_rig(order.seed, order.model, order.camera, order.board)
    rng = np.random.default_rng(order.seed + 1)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("drawing", total=order.views + order.poses)
        for number, (picture, _) in enumerate(board_views(rig, order.views, rng)):
            _write(order.out / "intrinsics" / f"view_{number:03d}.png", picture)
            progress.advance(bar)
        joints = {}
        for number, (picture, measured) in enumerate(robot_views(rig, order.poses, rng)):
            name = f"pose_{number:03d}.png"
            _write(order.out / "handeye" / name, picture)
            joints[name] = measured
            progress.advance(bar)
    _write_joints(order.out / "handeye" / "joints.csv", joints)
    _write_calibrations(order, rig)
    console.print(
        f"[green]written[/] {escape(str(order.out))}: intrinsics/, handeye/ with joints.csv, calibration.yaml"
    )
    console.print(
        f"what is to be found: {escape(str(order.out / 'truth.yaml'))}; the board hangs on {rig.board_link}"
    )


def _write_calibrations(order: PracticeOrder, rig) -> None:
    """`calibration.yaml` with drawing-board values to start from, and `truth.yaml`."""
    nominal = load_calibration(data_path("calibration/sim.yaml"))
    camera, lens = nominal.cameras[order.camera], rig.lens
    today = datetime.date.today().isoformat()
    true = CameraCalibration(
        camera.name, *lens.size, lens.K, lens.model, lens.D, rig.camera_link, rig.X,
        frame=camera.frame, depth_band_m=camera.depth_band_m,
        provenance=Provenance(today, f"what the pictures in {order.out.name} were drawn with"),
    )  # fmt: skip
    save_calibration(order.out / "calibration.yaml", nominal)
    save_calibration(
        order.out / "truth.yaml", Calibration(nominal.robot, {**nominal.cameras, camera.name: true})
    )


def _write_joints(path: Path, joints: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(joints.values())))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        writer.writerows([name, *(f"{row[c]:.6f}" for c in columns)] for name, row in joints.items())


def _write(path: Path, picture: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", picture)[1].tobytes()
        if path.suffix.lower() != ".png":
            raise ConfigError(f"a picture must be written as .png; found {path}")
        path.write_bytes(_with_resolution(data))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _with_resolution(png: bytes) -> bytes:
    """A PNG that says how large it prints: the chunk pHYs after the header."""
    import struct
    import zlib

    body = b"pHYs" + struct.pack(">IIB", round(DOTS_PER_M), round(DOTS_PER_M), 1)
    chunk = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]
