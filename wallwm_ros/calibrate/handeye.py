"""`./wallwm calibrate handeye`: views of a board from many postures, the camera's mount, report, write."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.coverage import Coverage, Need, rotation_spread
from wallwm_model.calibration_tools.frames import Frame
from wallwm_model.calibration_tools.handeye import HandEye, Sample, calibrate_handeye
from wallwm_model.calibration_tools.handeye_checks import MIN_POSES
from wallwm_model.calibration_tools.record import with_handeye
from wallwm_model.calibration_tools.report import report_handeye
from wallwm_model.errors import ConfigError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_model.transforms import inverse
from wallwm_model.urdf_kinematics import WORLD, known
from wallwm_ros.calibrate.collect import Collected, gather
from wallwm_ros.calibrate.intrinsics import summary
from wallwm_ros.calibrate.results import Place
from wallwm_ros.calibrate.sources import Source, find_camera, open_frames
from wallwm_ros.core.robot_file import load_robot

IN_VAIN = 20  # pictures of the board without a joint that has never come; then it never will
TURN_DEG, SECOND_TURN_DEG = 35.0, 20.0  # what guidance asks for, root mean square over pairs of postures


@dataclass(frozen=True)
class HandEyeOrder:
    """What the user asked for.

    Attributes:
        camera, robot: names in the robot profile.
        source: of pictures and joints.
        board: what is shown.
        board_link: what carries the board: world (it lies still) or a link (a gripper holds it).
        link: what carries the camera; empty: as in the calibration file.
        poses: wanted number.
        file: calibration file; None: the profile's.
        out: folder for the report.
        write: change the file itself.
    """

    camera: str
    robot: str = "sim"
    source: Source = field(default_factory=Source)
    board: Board = field(default_factory=Board)
    board_link: str = "world"
    link: str = ""
    poses: int = 20
    file: Path | None = None
    out: Path = Path("runs/calibration")
    write: bool = False


def run_handeye(order: HandEyeOrder, console: Console) -> HandEye:
    """Carry an order out.

    Raises:
        WallWMError: something that was asked for is not there, or the data is too poor; nothing is written
            then.
    """
    profile = load_robot(order.robot)
    camera = find_camera(profile, order.camera)
    place = Place.of(profile, camera.name, order.file, order.write)
    known = place.read(profile.name)
    old = known.cameras.get(camera.name)
    if old is None:
        raise ConfigError(
            f"{place.file} must hold the lens of {camera.name}; measure it first: "
            "./wallwm calibrate intrinsics"
        )
    link = order.link or old.link
    _check_links(link, order.board_link, camera.name)
    lens = old.as_published()
    with open_frames(order.source, profile, camera, with_joints=True) as (frames, kinematics):
        relative = _Relative(kinematics, link, order.board_link)
        collected = gather(
            frames, order.board, lambda size: _coverage(order, lens, size),
            lambda coverage, found: needs(order.poses, coverage, relative.of(found)),
            console, order.source.live, not order.source.images, relative.usable,
        )  # fmt: skip
        relative.require()
        collected.require(MIN_POSES)
        collected.check_markers()
        samples = [Sample(view, relative(frame.joints)) for frame, view in collected.frames]
    with console.status("fitting the mount ..."):
        result = calibrate_handeye(
            order.board, samples, lens.K, lens.distortion_model, lens.D, link != "world"
        )
    new = with_handeye(old, link, result, datetime.date.today())
    _tell(result, collected, console)
    _, page = report_handeye(order.out, f"{camera.name}-handeye", result, [summary(collected)])
    console.print(f"[green]report[/] {escape(str(page))}")
    place.save(known, new, old, lambda text: console.print(escape(text), soft_wrap=True))
    return result


def needs(wanted: int, coverage: Coverage, M: list[np.ndarray]) -> list[Need]:
    """What a mount needs: postures, and turns about two axes."""
    first, second = (
        round(float(np.degrees(turn)), 1) for turn in rotation_spread([m[:3, :3] for m in M[-60:]])
    )
    return [
        Need("postures", len(coverage.views), wanted, "move the arm to another posture and hold still"),
        Need("turn [degrees]", first, TURN_DEG, "turn the wrist further"),
        Need("about another axis", second, SECOND_TURN_DEG, "tilt the wrist as well as rolling it"),
    ]


class _Relative:
    """Joints -> T_cameralink_boardlink by forward kinematics.

    Raises:
        ConfigError: a link that the robot does not have.
    """

    def __init__(self, kinematics: ForwardKinematics, link: str, board_link: str) -> None:
        self._kinematics, self._link, self._board_link = kinematics, link, board_link
        self._in_vain: int | None = 0  # frames without a needed joint; None once one had them all
        self._last: Mapping[str, float] | None = None  # joints of the last of them
        for name in (link, board_link):
            if name != WORLD:
                known(name, kinematics.links, "the robot description")

    def __call__(self, joints: Mapping[str, float] | None) -> np.ndarray:
        camera, board = (self._kinematics.pose(name, joints or {}) for name in (self._link, self._board_link))
        return inverse(camera) @ board

    def of(self, collected: Collected) -> list[np.ndarray]:
        """Of the frames used."""
        return [self(frame.joints) for frame, _ in collected.frames]

    def usable(self, frame: Frame) -> str:
        """Why a frame cannot be used; empty: it can."""
        if not frame.joints:
            return "without joint positions"
        if frame.moving:
            return "taken while the robot moved"
        try:
            self(frame.joints)
        except ConfigError:
            if self._in_vain is not None:  # else it has come before and will come again
                self._in_vain, self._last = self._in_vain + 1, frame.joints
                if self._in_vain >= IN_VAIN:
                    raise
            return "without a joint position that is needed"
        self._in_vain = None
        return ""

    def require(self) -> None:
        """Refuse joints that never came. Raises ConfigError with their names."""
        if self._in_vain and self._last is not None:
            self(self._last)


def _check_links(link: str, board_link: str, camera: str) -> None:
    if link == board_link:
        raise ConfigError(
            f"camera {camera} and board must move against each other; found both on {link} (--board-link "
            "names the gripper that holds the board before a fixed camera)"
        )


def _coverage(order: HandEyeOrder, lens: CameraCalibration, size: tuple[int, int]) -> Coverage:
    if size != (lens.width, lens.height):
        raise ConfigError(
            f"camera {order.camera}: pictures must have the size of its calibrated lens, "
            f"{lens.width}x{lens.height}; found {size[0]}x{size[1]}"
        )
    return Coverage(order.board, size, lens.K, lens.distortion_model, lens.D, order.poses)


def _tell(result: HandEye, collected: Collected, console: Console) -> None:
    console.print(summary(collected))
    if result.dropped:
        console.print(f"left out, they contradict the others: {escape(', '.join(result.dropped))}")
    table = Table("method", "mm", "degrees", "RMS px", title="closed-form methods, away from the result")
    for a in result.agreement:
        table.add_row(
            a.method, f"{a.distance_m * 1e3:.2f}", f"{np.degrees(a.angle_rad):.3f}", f"{a.rms_px:.2f}"
        )
    console.print(table)
    console.print(
        f"mount certain to {result.deviation_m * 1e3:.2f} mm and {np.degrees(result.deviation_rad):.3f} "
        f"degrees; corners {result.rms_px:.2f} px RMS from where the robot puts them"
    )
