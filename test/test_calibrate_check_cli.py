"""`./wallwm calibrate check` from a folder of pictures: the whole way, from pixels to a named camera."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")
pytest.importorskip("typer")

from wallwm_model.calibration import Calibration, load_calibration, save_calibration  # noqa: E402
from wallwm_model.calibration_check.noise import NoiseModel  # noqa: E402
from wallwm_model.calibration_tools.frames import Frame  # noqa: E402
from wallwm_model.errors import CalibrationError  # noqa: E402
from wallwm_model.forward_kinematics import MujocoKinematics  # noqa: E402
from wallwm_model.sim import bumped_rig  # noqa: E402
from wallwm_ros.calibrate.stored import _placed, _postures  # noqa: E402
from wallwm_ros.cli.bench import part  # noqa: E402
from wallwm_ros.cli.main import main  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402

CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
BUMPED = "wrist_cam_right"


def write(folder, trial, bench) -> None:
    """A folder of pictures and joints for each camera."""
    for number, snapshot in enumerate(bumped_rig.pictures(trial, bench.kinematics, bench.noise, bench.rng)):
        for camera, picture in snapshot.pictures.items():
            place = folder / camera
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number:02d}.png"), picture)
            with (place / "joints.csv").open("a", newline="") as file:
                rows = csv.writer(file)
                if number == 0:
                    rows.writerow(["image", *snapshot.joints])
                rows.writerow([f"{number:02d}.png", *snapshot.joints.values()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Calibration, and pictures of the rig as calibrated and after a bump."""
    folder = tmp_path_factory.mktemp("check")
    bench = part("bump").Bench(np.random.default_rng(8), NoiseModel(), postures=3)
    trial = bench.sample()
    save_calibration(folder / "rig.yaml", Calibration("sim", trial.believed))
    write(folder / "good", trial, bench)
    write(folder / "bad", bumped_rig.bump(trial, BUMPED, 6e-3, np.radians(1.2), bench.rng), bench)
    return folder


def run(folder, images: str, *options: str) -> int:
    arguments = ["calibrate", "check", "--file", str(folder / "rig.yaml"), "--images", str(folder / images)]
    return main([*arguments, *options])


def test_a_good_rig_passes_and_a_bumped_one_is_named_against_its_baseline(folder, capsys):
    baseline = str(folder / "baseline.json")
    assert run(folder, "good", "--out", str(folder / "out_good"), "--save", baseline) == 0
    assert "every camera that saw the board is where its calibration says" in capsys.readouterr().out
    assert run(folder, "bad", "--out", str(folder / "out_bad"), "--since", baseline) == 3
    assert f"{BUMPED} is off: its mount has moved by" in capsys.readouterr().out


def test_the_report_and_an_overlay_of_every_picture_are_written(folder, capsys):
    out = folder / "out"
    assert run(folder, "bad", "--out", str(out), "--patches", "6x8", "--method", "cone") == 3
    report = json.loads((out / "report.json").read_text())
    assert [part["part"] for part in report["off"]] == [BUMPED]
    assert report["off"][0]["mm"] == pytest.approx(6.0, abs=2.5)
    assert report["off"][0]["degrees"] == pytest.approx(1.2, abs=0.4)
    pictures = sorted(out.glob("posture_*.png"))
    assert len(pictures) == 9
    seen = cv2.imread(str(pictures[0]))
    assert seen.shape == (480, 640, 3) and np.ptp(seen, axis=2).max() > 60  # colours on what was grey
    assert "camera mounts" in capsys.readouterr().out


def test_a_baseline_of_a_bumped_rig_is_not_kept(folder, capsys):
    path = folder / "bumped.json"
    assert run(folder, "bad", "--out", str(folder / "out_save"), "--save", str(path)) == 1
    assert "--save keeps a rig in which every camera was seen to be in place" in capsys.readouterr().err
    assert not path.exists()


def only(folder, name: str, cameras: tuple[str, ...]) -> str:
    """The good pictures of some cameras; the others look at nothing."""
    for camera in CAMERAS:
        place = folder / name / camera
        place.mkdir(parents=True)
        for path in sorted((folder / "good" / camera).iterdir()):
            data = path.read_bytes()
            if camera not in cameras and path.suffix == ".png":
                data = cv2.imencode(".png", np.full((480, 640), 90, np.uint8))[1].tobytes()
            (place / path.name).write_bytes(data)
    return name


def test_a_camera_that_sees_nothing_leaves_the_check_open_and_no_baseline(folder, capsys):
    name, path = only(folder, "two", CAMERAS[:2]), folder / "two.json"
    assert run(folder, name, "--out", str(folder / "out_two")) == 4
    assert f"not checked, because the board was not seen: {CAMERAS[2]}" in capsys.readouterr().out
    assert run(folder, name, "--out", str(folder / "out_two"), "--save", str(path)) == 1
    assert "--save keeps a rig" in capsys.readouterr().err and not path.exists()


def test_one_fixed_camera_alone_is_refused_and_is_no_baseline(folder, capsys):
    name, path = only(folder, "head", ("head_cam",)), folder / "head.json"
    assert run(folder, name, "--out", str(folder / "out_head"), "--save", str(path)) == 1
    assert "from head_cam, with nothing to compare them with" in capsys.readouterr().err
    assert not path.exists()


def test_pictures_before_the_first_joint_states_are_passed_over_and_counted(folder):
    """Three pictures without joints, then a lift's joint that comes and goes, and one arm missing once."""
    profile, kinematics = load_robot("sim"), MujocoKinematics()
    cameras = load_calibration(folder / "rig.yaml").cameras
    links = {camera.link for camera in cameras.values()}
    picture, still = np.zeros((4, 4), np.uint8), dict.fromkeys(profile.joint_names, 0.1)
    some = {name: x for name, x in still.items() if name != "left_elbow"}
    given = [None, None, {"lift": 0.2}, still, still | {"lift": 0.2}, some, still | {"left_waist": 0.5}]
    said: list[str] = []
    frames = [Frame(str(k), picture, k * 10**9, joints) for k, joints in enumerate(given)]
    found = list(_postures(_placed(iter(frames), "head_cam", links, kinematics, said.append)))
    assert [frame.source for frame in found] == ["3", "6"]
    assert said and said[0].startswith("head_cam: 4 pictures passed over") and "left_elbow" in said[0]
    with pytest.raises(CalibrationError, match="pictures must come with joints; in none of 3 they do"):
        list(_placed(iter(frames[:3]), "head_cam", links, kinematics, said.append))


def test_the_verdict_is_said_even_if_its_pictures_cannot_be_written(folder, capsys):
    (folder / "in_the_way").write_text("")
    assert run(folder, "bad", "--out", str(folder / "in_the_way")) == 1
    said = capsys.readouterr()
    assert f"{BUMPED} is off: its mount has moved by" in said.out and "--out must be a folder" in said.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--patches", "4by4"), "--patches must be ROWSxCOLUMNS"),
        (("--postures", "0"), "--postures must be 1 or more"),
        (("--joint-noise", "0"), "--joint-noise must be more than 0"),
        (("--no-board", "--save", "x.json"), "--save keeps what a board says"),
        (("--recording", "x.mcap"), "--images or --recording; found both"),
        (("--since", "none.json"), "baseline none.json cannot be read"),
        (("--squares", "5x5"), "a board of 5x5 squares"),
        (("--figure", "no/such/folder.png"), "--figure must name a file in an existing folder"),
        (("--method", "guess"), "method must be one of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(folder, capsys, options, sentence):
    assert run(folder, "good", "--out", str(folder / "refused"), *options) == 1
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_the_figure_shows_every_camera_at_every_moment(tmp_path, monkeypatch):
    from wallwm_model.calibration_check import figure

    monkeypatch.setattr(figure, "SIDE", 64)
    assert main(["calibrate", "check", "--figure", str(tmp_path / "masks.png")]) == 0
    picture = cv2.imread(str(tmp_path / "masks.png"))
    assert picture.shape[0] > 900 and picture.shape[1] > 900
    for colour in ((255, 190, 20), (0, 205, 255), (255, 70, 170)):
        assert (np.abs(picture[:, :, ::-1].astype(int) - colour).max(axis=2) < 40).sum() > 500
