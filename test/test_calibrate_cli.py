"""`./wallwm calibrate`: from pictures to a calibration file, and refusals in one sentence."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_fixtures import held_pictures, rig, robot_pictures

pytest.importorskip("typer")

from wallwm_model.calibration import load_calibration  # noqa: E402
from wallwm_model.transforms import angle_between  # noqa: E402
from wallwm_ros.cli.main import main  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402

CAMERA = "wrist_cam_left"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Folders `held` and `robot` of pictures, the latter with joints.csv."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("held", "robot"):
        (folder / name).mkdir()
    for number, picture in enumerate(held_pictures()):
        cv2.imwrite(str(folder / "held" / f"{number:02d}.png"), picture)
    rows = []
    for number, (picture, joints) in enumerate(robot_pictures()):
        cv2.imwrite(str(folder / "robot" / f"{number:02d}.png"), picture)
        rows.append({"image": f"{number:02d}.png", **joints})
    with (folder / "robot" / "joints.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def file(tmp_path) -> Path:
    """A calibration file of the robot's."""
    path = tmp_path / "robot.yaml"
    path.write_text(data_path("calibration/sim.yaml").read_text())
    return path


def calibrate(*words: object) -> int:
    return main(["calibrate", *map(str, words)])


def refused(capsys, *words: object) -> str:
    """What a command says on being refused."""
    capsys.readouterr()
    assert calibrate(*words) != 0
    errors = capsys.readouterr().err
    assert "Traceback" not in errors and "unexpected" not in errors
    assert len(errors.strip().splitlines()) == 1, errors
    return errors


def test_lens_then_mount_end_up_near_the_truth(pictures, file, tmp_path, capsys):
    before = load_calibration(file)
    untouched = file.read_bytes()
    place = ("--camera", CAMERA, "--file", file, "--out", tmp_path / "report")
    assert calibrate("intrinsics", "--images", pictures / "held", *place) == 0, capsys.readouterr().err
    assert calibrate("handeye", "--images", pictures / "robot", *place) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    draft = file.with_suffix(".new.yaml")
    assert file.read_bytes() == untouched and f"mv {draft} {file}" in output
    after, true = load_calibration(draft), rig()
    found, old = after.cameras[CAMERA], before.cameras[CAMERA]
    assert abs(found.K[0, 0] / true.lens.K[0, 0] - 1) < 0.005 and (found.width, found.height) == (640, 480)
    assert np.linalg.norm(found.T_link_camera_optical[:3, 3] - true.X[:3, 3]) < 2e-3
    assert angle_between(found.T_link_camera_optical[:3, :3], true.X[:3, :3]) < np.radians(0.2)
    # Only what was measured has changed.
    assert (found.link, found.frame, found.depth_band_m) == (old.link, old.frame, old.depth_band_m)
    assert {n: c for n, c in after.cameras.items() if n != CAMERA} == {
        n: c for n, c in before.cameras.items() if n != CAMERA
    }
    origin, today = found.provenance, datetime.date.today().isoformat()
    assert origin.date == today and set(origin.residuals) >= {"reprojection_px", "handeye_mm", "handeye_deg"}
    assert "12 poses" in origin.method and "14 views, plumb_bob" in origin.method
    for part in ("intrinsics", "handeye"):
        for ending in ("png", "html"):
            assert (tmp_path / "report" / f"{CAMERA}-{part}.{ending}").stat().st_size > 10_000


def test_write_changes_the_file_itself(pictures, file, tmp_path):
    assert (
        calibrate(
            "intrinsics",
            "--camera",
            CAMERA,
            "--images",
            pictures / "held",
            "--file",
            file,
            "--out",
            tmp_path,
            "--write",
        )
        == 0
    )
    assert load_calibration(file).cameras[CAMERA].width == 640
    assert not file.with_suffix(".new.yaml").exists()


def test_a_new_camera_needs_its_link(pictures, tmp_path, capsys):
    words = (
        "intrinsics",
        "--camera",
        CAMERA,
        "--images",
        pictures / "held",
        "--file",
        tmp_path / "n.yaml",
        "--out",
        tmp_path,
    )
    assert "--link must name the link" in refused(capsys, *words)
    assert calibrate(*words, "--link", "left_gripper") == 0
    assert "has not been measured" in capsys.readouterr().out
    assert load_calibration(tmp_path / "n.new.yaml").cameras[CAMERA].link == "left_gripper"


LENS, MOUNT = f"intrinsics --camera {CAMERA}", f"handeye --camera {CAMERA}"
MISTAKES = {
    "camera": ("intrinsics --camera wrist_cam_lef", "did you mean wrist_cam_left?"),
    "robot": (f"{LENS} --robot simm", "did you mean sim?"),
    "model": (f"{LENS} --model fish", "plumb_bob, rational_polynomial, equidistant"),
    "squares": (f"{LENS} --squares nine", "COLUMNSxROWS"),
    "sizes": (f"{LENS} --square 0.02", "0 < marker < square"),
    "folder": (f"{LENS} --images no/where", "found no folder no/where"),
    "two sources": (f"{LENS} --images a --recording b", "found both"),
    "recording": (f"{LENS} --recording no.mcap", "found none at no.mcap"),
    "joints alone": (f"{MOUNT} --joints j.csv", "--joints goes with --images"),
    "same link": ("handeye --camera head_cam --images no", "found both on world"),
    "link": (f"{MOUNT} --images ROBOT --link left_griper --file lens.yaml", "did you mean left_gripper?"),
    "board's link": (f"{MOUNT} --images ROBOT --board-link tabel --file lens.yaml", "the link 'tabel'"),
    "size": (f"{MOUNT} --images ROBOT", "its calibrated lens, 192x192; found 640x480"),
    "no joints": (f"{MOUNT} --images HELD --file lens.yaml", "without joint positions"),
    "board": (f"{LENS} --images HELD --squares 7x6", "9x6 squares, not 7x6"),
    "dictionary": (f"{LENS} --images HELD --dictionary DICT_6X6_100", "those of DICT_5X5_"),
    "marker": (f"{LENS} --images HELD --marker 0.016", "markers must be 0.53 of a square"),
    "no report": (f"{LENS} --images HELD --file lens.yaml --out lens.yaml", "the report must be written to"),
    "no such folder": (f"{LENS} --images no --file no/where.yaml", "found no folder no"),
    "practice camera": ("practice --camera hand_cam", "head_cam, wrist_cam_left"),
    "board picture": ("board --out board.jpg", "must be written as .png"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_in_a_sentence(mistake, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lens.yaml").write_text(_with_lens())
    words, sentence = MISTAKES[mistake]
    words = words.replace("ROBOT", str(pictures / "robot")).replace("HELD", str(pictures / "held"))
    assert sentence in refused(capsys, *words.split())
    assert not list(tmp_path.glob("**/*.new.yaml"))


def _with_lens() -> str:
    """The robot's calibration with a camera of the pictures' size."""
    text = data_path("calibration/sim.yaml").read_text()
    return text.replace("width: 192", "width: 640").replace("height: 192", "height: 480")


def test_mirrored_pictures_are_refused_by_name(pictures, tmp_path, capsys):
    for path in sorted((pictures / "held").glob("*.png"))[:3]:
        cv2.imwrite(str(tmp_path / path.name), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:, ::-1])
    text = refused(capsys, "intrinsics", "--camera", CAMERA, "--images", tmp_path)
    assert "found 0 in 3 pictures; not used: 3 mirrored board" in text


def test_a_board_to_print_has_the_told_size(tmp_path, capsys):
    out = tmp_path / "board.png"
    assert calibrate("board", "--squares", "7x5", "--square", 0.04, "--marker", 0.03, "--out", out) == 0
    picture = cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    dots_per_m = int.from_bytes(out.read_bytes()[41:45], "big")
    assert out.read_bytes()[37:41] == b"pHYs"
    assert picture.shape[1] / dots_per_m == pytest.approx(8 * 0.04, rel=0.002)
    assert "320 x 240 mm" in capsys.readouterr().out


def test_practice_writes_what_the_tools_read(tmp_path, capsys):
    out = tmp_path / "practice"
    assert (
        calibrate(
            "practice",
            "--out",
            out,
            "--camera",
            "head_cam",
            "--views",
            1,
            "--poses",
            1,
            "--model",
            "equidistant",
        )
        == 0
    )
    assert len(list((out / "intrinsics").iterdir())) == 1 and (out / "handeye" / "joints.csv").is_file()
    true = load_calibration(out / "truth.yaml").cameras["head_cam"]
    assert (true.distortion_model, true.link, true.width) == ("equidistant", "world", 640)
    assert load_calibration(out / "calibration.yaml") == load_calibration(data_path("calibration/sim.yaml"))
