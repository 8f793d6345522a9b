"""What `calibrate check` has seen, and what it makes of it; the same for robots, recordings and folders."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.consistency import Verdict
from wallwm_model.calibration_check.examine import Examiner
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.calibration_check.overlay import overlay
from wallwm_model.calibration_check.prior import load_baseline, save_baseline
from wallwm_model.calibration_check.report import as_json, sentences
from wallwm_model.calibration_check.snapshot import Claims, Snapshot
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import View
from wallwm_model.errors import ConfigError, ObservationError
from wallwm_model.forward_kinematics import ForwardKinematics

SIDE = 480  # height of the overlays, at least [px]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What is to be checked, and how.

    Attributes:
        robot: profile.
        file: calibration file; None: the one that the profile names.
        images: folder with a folder per camera, pictures and joints.csv in each.
        recording: rosbag2 folder or file. With neither: live topics.
        board: lies still in sight of the cameras; None: only overlays are made.
        postures: of the arms in which the board is looked at.
        timeout_s: end of the wait for postures [s].
        joint_deg: standard deviation of joint angles [degrees].
        since: baseline to count from; None: from the calibration.
        save: where to keep the outcome as a baseline.
        patches: (rows, columns) of the sight mask.
        method: of the mask.
        surface_m: height of a level surface in the world to draw frustums on [m]; None: their depth band.
        out: folder for pictures and report.json; None: runs/check-<time>.
        watch: go on publishing overlays until Ctrl-C.
    """

    robot: str
    file: Path | None = None
    images: Path | None = None
    recording: Path | None = None
    board: Board | None = None
    postures: int = 6
    timeout_s: float = 120.0
    joint_deg: float = NoiseModel.joint_deg
    since: Path | None = None
    save: Path | None = None
    patches: tuple[int, int] = (4, 4)
    method: str = "frustum"
    surface_m: float | None = None
    out: Path | None = None
    watch: bool = False


class Session:
    """Collects postures and ends in a verdict.

    Args:
        order: what is wanted.
        calibrations: camera -> calibration, in view order.
        kinematics: of the robot.
        say: tells the user.

    Raises:
        ConfigError: a baseline that does not fit.
    """

    def __init__(
        self,
        order: Order,
        calibrations: Mapping[str, CameraCalibration],
        kinematics: ForwardKinematics,
        say: Say,
    ) -> None:
        self._order, self._say = order, say
        self._claims = Claims(calibrations, kinematics, order.patches, order.method, order.surface_m)
        prior = load_baseline(order.since, self._claims.calibrations) if order.since else None
        noise = NoiseModel(joint_deg=order.joint_deg)
        self._examiner = Examiner(self._claims, order.board, noise, prior) if order.board else None
        self._snapshots: list[Snapshot] = []

    @property
    def postures(self) -> int:
        """Postures that are of use so far."""
        return len(self._snapshots)

    @property
    def done(self) -> bool:
        """Enough postures."""
        return self.postures >= (self._order.postures if self._examiner else 1)

    def add(self, snapshot: Snapshot) -> None:
        """Take in one posture, if a camera sees the board in it."""
        if self._examiner is None:
            self._snapshots.append(snapshot)
            return
        found = self._examiner.add(snapshot)
        seen = ", ".join(f"{name}: {_corners(view)}" for name, view in found.items())
        if any(isinstance(view, View) for view in found.values()):
            self._snapshots.append(snapshot)
            self._say(f"posture {self.postures}: {seen}")
        else:
            self._say(f"no camera sees the board here ({seen})")

    def overlays(self, snapshot: Snapshot, verdict: Verdict | None = None) -> dict[str, np.ndarray]:
        """Camera -> (H, W, 3) uint8 RGB; after a verdict with dots where the board's corners should be."""
        moment, corners = self._claims.moment(snapshot), None
        if verdict is not None and self._examiner is not None:
            T = verdict.T_world_board
            corners = self._examiner.board.corners @ T[:3, :3].T + T[:3, 3]
        return {
            name: overlay(moment, name, picture, SIDE, corners) for name, picture in snapshot.pictures.items()
        }

    def finish(self) -> Verdict | None:
        """Judge; tell the user; write pictures, report and baseline.

        Raises:
            ObservationError: nothing was seen that says anything.
            ConfigError: a file that cannot be written, or a baseline of a rig that is not sound.
        """
        if self._examiner is None and not self._snapshots:
            raise ObservationError("pictures and joints of one moment must be there; found none")
        verdict = self._examiner.verdict() if self._examiner else None
        if verdict is not None:  # said first: drawing takes its time, and may fail
            _print(verdict)
            for sentence in sentences(verdict):
                self._say(sentence)
        self._write(verdict)
        if verdict is not None and self._order.save:
            self._keep(self._order.save, verdict)
        return verdict

    def _write(self, verdict: Verdict | None) -> None:
        name = datetime.datetime.now().strftime("check-%Y-%m-%d_%H-%M-%S")
        folder = self._order.out or Path("runs") / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, snapshot in enumerate(self._snapshots, start=1):
                for camera, picture in self.overlays(snapshot, verdict).items():
                    _, data = cv2.imencode(".png", picture[:, :, ::-1])
                    (folder / f"posture_{number:02d}_{camera}.png").write_bytes(data.tobytes())
            if verdict is not None:
                text = json.dumps(as_json(verdict), indent=1)
                (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--out must be a folder to write to; {folder}: {error.strerror}") from None
        self._say(f"overlays: {folder}")

    def _keep(self, path: Path, verdict: Verdict) -> None:
        if not verdict.sound:
            raise ConfigError(
                "--save keeps a rig in which every camera was seen to be in place; found "
                f"{'; '.join(sentences(verdict))}"
            )
        save_baseline(path, verdict.baseline, self._claims.calibrations)
        self._say(f"baseline: {path}")


def _corners(view: View | str) -> str:
    return view if isinstance(view, str) else f"{len(view.ids)} corners"


def _print(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="camera mounts")
    for heading in ("camera", "seen", "noise px", "off mm", "off degrees", "chance", "notices from"):
        table.add_column(heading, no_wrap=heading == "camera")
    for row in verdict.findings:
        shift, unknown = row.shift, "unknown"
        table.add_row(
            row.camera,
            str(row.pictures),
            f"{row.pixel:.2f}",
            unknown if shift is None else f"{shift.mm:.1f} ± {shift.mm_sigma:.1f}",
            unknown if shift is None else f"{shift.degrees:.2f} ± {shift.degrees_sigma:.2f}",
            f"{row.chance:.1g}",
            f"{row.detectable_mm:.1f} mm, {row.detectable_deg:.2f}°",
            style="bold red" if row.camera in verdict.bumped else None,
        )
    Console().print(table)
