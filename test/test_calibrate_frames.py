"""Pictures from a folder, joints from files, and joints over time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wallwm_model.calibration_tools.frames import JointTrack, folder_frames
from wallwm_model.errors import WallWMError

MS = 1_000_000


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 10), 99, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_pictures_come_in_the_order_of_their_names(folder):
    frames = list(folder_frames(folder))
    assert [f.source for f in frames] == ["a.jpg", "b.png"]
    assert frames[0].picture.shape == (8, 10) and frames[0].joints is None


def test_joints_from_csv_and_from_yaml_are_the_same(folder):
    (folder / "joints.csv").write_text("image,elbow,wrist\na.jpg,0.5,-1\n")
    (folder / "other.yaml").write_text("a.jpg: {elbow: 0.5, wrist: -1}\n")
    for joints in (None, folder / "other.yaml"):
        first, second = folder_frames(folder, joints)
        assert first.joints == {"elbow": 0.5, "wrist": -1.0} and second.joints is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picture,elbow\na.jpg,1\n", "must have a column image and one per joint; found picture, elbow"),
        ("image,elbow\na.jpg,much\n", "a.jpg: positions must be numbers"),
        ("image,elbow\na.jpg,nan\n", "a.jpg: positions must be finite; found elbow"),
        ("image,elbow\nz.png,1\n", "must name the pictures of"),
        ("", "must have a column image and one per joint; found none"),
    ],
)
def test_joints_that_do_not_fit_are_refused(folder, text, words):
    (folder / "joints.csv").write_text(text)
    with pytest.raises(WallWMError) as refused:
        list(folder_frames(folder))
    assert words in str(refused.value)


def test_pictures_that_are_not_there_are_refused(folder, tmp_path):
    with pytest.raises(WallWMError, match="found no folder"):
        list(folder_frames(tmp_path / "nowhere"))
    (folder / "c.png").write_bytes(b"no picture")
    with pytest.raises(WallWMError, match="c.png must be a picture"):
        list(folder_frames(folder))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WallWMError, match="must hold pictures .* found none"):
        list(folder_frames(empty))
    with pytest.raises(WallWMError, match="cannot be read"):
        list(folder_frames(folder, folder / "gone.csv"))


def test_joints_between_two_messages_are_between_them():
    track = JointTrack()
    track.add(1000 * MS, {"elbow": 1.0})
    track.add(1010 * MS, {"elbow": 1.002, "wrist": 5.0})
    joints, moving = track.at(1005 * MS)
    assert joints == {"elbow": pytest.approx(1.001), "wrist": 5.0} and not moving
    assert track.newest_ns == 1010 * MS


def test_a_robot_that_moved_shortly_before_or_after_is_moving():
    track = JointTrack()
    for k in range(100):
        track.add(k * 10 * MS, {"elbow": 0.0 if k < 50 else 0.1})
    assert [track.at(t * MS)[1] for t in (100, 300, 500, 700, 900)] == [False, True, True, True, False]


def test_joints_far_from_a_picture_say_nothing():
    track = JointTrack()
    assert track.at(0) == ({}, False) and track.newest_ns == 0
    track.add(1000 * MS, {"elbow": 1.0})
    assert track.at(1200 * MS) == ({}, False)


def test_what_is_old_can_be_forgotten():
    track = JointTrack()
    for k in range(10):
        track.add(k * 50 * MS, {"elbow": float(k)})
    track.forget_before(400 * MS)
    assert track.at(0) == ({}, False) and track.at(450 * MS)[0] == {"elbow": 9.0}
