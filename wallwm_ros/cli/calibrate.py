"""`./wallwm calibrate COMMAND`: make, bring over and check the calibration of a robot's cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Calibrate a robot's cameras.", no_args_is_help=True)
BUMPED, INCONCLUSIVE = 3, 4  # exit codes of `check`

Robot = Annotated[str, typer.Option(help="Robot profile: a name in config/robots, or a path.")]
CameraName = Annotated[str, typer.Option(help="Camera, as in the robot profile.")]
FILE_HELP = "Calibration file; default: the robot profile's, else calibration/<robot>.yaml."
CalibrationFile = Annotated[Path | None, typer.Option("--file", help=FILE_HELP)]

Images = Annotated[Path | None, typer.Option(help="Folder of pictures, instead of live topics.")]
Recording = Annotated[
    Path | None, typer.Option(help="rosbag2 folder, .mcap or .db3 file, instead of live topics.")
]
Topic = Annotated[str, typer.Option(help="Topic of the pictures; default: the robot profile's.")]
Squares = Annotated[str, typer.Option(help="Squares of the board, COLUMNSxROWS.")]
Square = Annotated[float, typer.Option(help="Side of a square as measured on the print, in m.")]
Marker = Annotated[float, typer.Option(help="Side of a marker as measured on the print, in m.")]
Dictionary = Annotated[str, typer.Option(help="OpenCV's name of the markers.")]
Legacy = Annotated[bool, typer.Option(help="Board printed by OpenCV before 4.6.")]
LensModel = Annotated[str, typer.Option(help="plumb_bob, rational_polynomial or equidistant (fisheye).")]
ReportFolder = Annotated[Path, typer.Option("--out", help="Folder for the report.")]
Write = Annotated[bool, typer.Option("--write", help="Change the file itself, not a draft beside it.")]


@app.callback()
def group() -> None:
    """Calibrate a robot's cameras."""


@app.command("intrinsics")
def intrinsics(
    camera: CameraName,
    robot: Robot = "sim",
    images: Images = None,
    recording: Recording = None,
    topic: Topic = "",
    squares: Squares = "9x6",
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
    legacy: Legacy = False,
    model: LensModel = "plumb_bob",
    views: Annotated[int, typer.Option(min=10, help="Views to collect.")] = 30,
    link: Annotated[str, typer.Option(help="Link that carries a camera which is new in the file.")] = "",
    file: CalibrationFile = None,
    out: ReportFolder = Path("runs/calibration"),
    write: Write = False,
) -> None:
    """Measure a camera's lens with a ChArUco board."""
    from rich.console import Console

    from wallwm_model.calibration_tools.board import Board
    from wallwm_ros.calibrate.intrinsics import IntrinsicsOrder, run_intrinsics
    from wallwm_ros.calibrate.sources import Source

    board = Board.parse(squares, square, marker, dictionary, legacy)
    source = Source(images, None, recording, topic)
    order = IntrinsicsOrder(camera, robot, source, board, model, views, link, file, out, write)
    run_intrinsics(order, Console(soft_wrap=True))


@app.command("handeye")
def handeye(
    camera: CameraName,
    robot: Robot = "sim",
    images: Images = None,
    joints: Annotated[
        Path | None,
        typer.Option(help="Joints of the pictures, CSV or YAML; default: joints.csv in the folder."),
    ] = None,
    recording: Recording = None,
    topic: Topic = "",
    joint_topic: Annotated[str, typer.Option(help="JointState topic; default: the robot profile's.")] = "",
    board_link: Annotated[
        str,
        typer.Option(help="What carries the board: world if it lies still, or the gripper that holds it."),
    ] = "world",
    link: Annotated[str, typer.Option(help="What carries the camera; default: as in the file.")] = "",
    squares: Squares = "9x6",
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
    legacy: Legacy = False,
    poses: Annotated[int, typer.Option(min=8, help="Postures to collect.")] = 20,
    file: CalibrationFile = None,
    out: ReportFolder = Path("runs/calibration"),
    write: Write = False,
) -> None:
    """Measure where a camera sits on its link."""
    from rich.console import Console

    from wallwm_model.calibration_tools.board import Board
    from wallwm_ros.calibrate.handeye import HandEyeOrder, run_handeye
    from wallwm_ros.calibrate.sources import Source

    board = Board.parse(squares, square, marker, dictionary, legacy)
    source = Source(images, joints, recording, topic, joint_topic)
    order = HandEyeOrder(camera, robot, source, board, board_link, link, poses, file, out, write)
    run_handeye(order, Console(soft_wrap=True))


@app.command("board")
def board(
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("board.png"),
    squares: Squares = "9x6",
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
) -> None:
    """Draw a ChArUco board to print."""
    from rich.console import Console

    from wallwm_model.calibration_tools.board import Board
    from wallwm_ros.calibrate.practice import print_board

    print_board(Board.parse(squares, square, marker, dictionary, False), out, Console(soft_wrap=True))


@app.command("practice")
def practice(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/practice"),
    camera: CameraName = "wrist_cam_left",
    model: LensModel = "plumb_bob",
    views: Annotated[int, typer.Option(min=1, help="Pictures for intrinsics.")] = 30,
    poses: Annotated[int, typer.Option(min=1, help="Pictures for hand-eye.")] = 20,
    seed: Annotated[int, typer.Option(help="Of lens, mount and pictures.")] = 0,
) -> None:
    """Draw pictures of a board, to try the tools without a camera."""
    from rich.console import Console

    from wallwm_ros.calibrate.practice import PracticeOrder, make_practice

    make_practice(PracticeOrder(out, camera, model, views, poses, seed), Console(soft_wrap=True))


@app.command("import")
def import_(
    camera: CameraName,
    robot: Robot = "sim",
    intrinsics: Annotated[
        Path | None, typer.Option(help="ost.yaml of camera_calibration or camera_info_manager.")
    ] = None,
    handeye: Annotated[Path | None, typer.Option(help="Result of easy_handeye or easy_handeye2.")] = None,
    link: Annotated[str, typer.Option(help="The profile's name for the link in the hand-eye file.")] = "",
    frame: Annotated[str, typer.Option(help="frame_id of the camera's pictures.")] = "",
    depth_band: Annotated[
        tuple[float, float] | None, typer.Option(help="Nearest and farthest depth of the scene, in m.")
    ] = None,
    rectified: Annotated[
        bool | None, typer.Option("--rectified/--raw", help="Whether the published pictures are rectified.")
    ] = None,
    date: Annotated[str, typer.Option(help="YYYY-MM-DD; default: that of the newest file.")] = "",
    file: CalibrationFile = None,
    write: Write = False,
) -> None:
    """Take over what camera_calibration or easy_handeye found."""
    from wallwm_ros.calibrate.files import Import, import_camera

    values = (robot, camera, intrinsics, handeye, link, frame, depth_band, rectified, file, date, write)
    import_camera(Import(*values), typer.echo)


@app.command("export")
def export(
    camera: CameraName,
    out: Annotated[Path, typer.Option(help="File to write.")],
    robot: Robot = "sim",
    file: CalibrationFile = None,
) -> None:
    """Write a camera's intrinsics for camera_info_manager."""
    from wallwm_ros.calibrate.files import export_camera

    export_camera(robot, camera, out, file, typer.echo)


@app.command("check")
def check(
    robot: Robot = "sim",
    file: Annotated[Path | None, typer.Option(help="Default: the files that the profile names.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder with a folder of pictures and joints.csv for each camera.")
    ] = None,
    recording: Recording = None,
    board: Annotated[
        bool,
        typer.Option("--board/--no-board", help="Judge the mounts by a board that lies still, or only draw."),
    ] = True,
    squares: Squares = "9x6",
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
    legacy: Legacy = False,
    postures: Annotated[int, typer.Option(help="Postures of the arms to look from.")] = 6,
    timeout: Annotated[float, typer.Option(min=1, help="Wait for postures at most this long, in s.")] = 120.0,
    joint_noise: Annotated[float, typer.Option(help="How exact joint angles are, in degrees.")] = 0.05,
    since: Annotated[Path | None, typer.Option(help="Baseline to compare with, from --save.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the outcome as a baseline.")] = None,
    patches: Annotated[str, typer.Option(help="Patches of the sight mask, ROWSxCOLUMNS.")] = "4x4",
    method: Annotated[str, typer.Option(help="Sight mask: frustum or cone.")] = "frustum",
    surface: Annotated[
        float | None, typer.Option(help="Draw frustums down to this height in the world, in m.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for pictures; default: runs/check-<time>.")] = None,
    watch: Annotated[bool, typer.Option(help="Go on drawing until Ctrl-C.")] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Only draw masks that follow the simulated arms, into this PNG.")
    ] = None,
) -> None:
    """See whether the calibration still holds, and which camera was bumped.

    Exit codes: 0 all cameras were checked and are in place (or --no-board), 1 an error, 2 wrong usage, 3 a
    camera is off, 4 none is known to be off, but not all could be checked or not all that was seen explained.
    """
    from wallwm_model.calibration_tools.board import Board
    from wallwm_ros.calibrate.check import check as run_check
    from wallwm_ros.calibrate.check import draw_figure, parse_patches
    from wallwm_ros.calibrate.check_session import Order

    order = Order(
        robot,
        file,
        images=images,
        recording=recording,
        board=Board.parse(squares, square, marker, dictionary, legacy) if board else None,
        postures=postures,
        timeout_s=timeout,
        joint_deg=joint_noise,
        since=since,
        save=save,
        patches=parse_patches(patches),
        method=method,
        surface_m=surface,
        out=out,
        watch=watch,
    )
    if figure is not None:
        draw_figure(order, figure, typer.echo)
        return
    verdict = run_check(order, typer.echo)
    if verdict is not None and not verdict.sound:
        raise typer.Exit(BUMPED if verdict.bumped else INCONCLUSIVE)
