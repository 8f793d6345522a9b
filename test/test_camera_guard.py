"""Verdicts on what cameras say of themselves. No ROS."""

from __future__ import annotations

import dataclasses

import pytest

from wallwm_model.errors import ConfigError, SpecError
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.compatibility import CameraInfo, check_camera_info
from wallwm_ros.core.config import load_robot

TOPICS = {"head": "/head/camera_info", "left": "/left/camera_info", "right": ""}


class Judge:
    """Refuses every info that is not `good`, and counts how often it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, camera, info):
        self.asked.append((camera, info))
        if info != "good":
            raise SpecError(f"camera {camera}: K must be good; found {info}")


@pytest.fixture
def guard():
    return CameraInfoGuard(TOPICS, Judge())


def test_only_what_has_changed_is_checked(guard):
    changes = [guard.hear("head", info) for info in ("good", "good", "bad", "bad", "worse", "good")]
    assert changes == [False, False, True, False, True, True]
    assert [info for _, info in guard._check.asked] == ["good", "bad", "worse", "good"]


def test_a_wrong_camera_is_objected_to_until_it_is_right_again(guard):
    guard.hear("head", "good")
    assert guard.objection() is None
    guard.hear("left", "bad")
    objection = guard.objection()
    assert (objection.stream, objection.kind) == ("left", "camera_info")
    assert objection.text == "camera left: K must be good; found bad"
    guard.hear("left", "good")
    assert guard.objection() is None


def test_what_has_not_come_is_known_and_only_refused_on_demand(guard):
    guard.hear("head", "good")
    assert guard.unheard == ("left",)
    guard.demand(all_known=False)
    with pytest.raises(ConfigError) as error:
        guard.demand(all_known=True)
    assert "left: not checked: nothing has come from /left/camera_info" in str(error.value)
    assert "right: not checked: the robot profile names no info_topic" in str(error.value)
    assert "head" not in str(error.value)


def test_a_problem_is_refused_whatever_is_demanded(guard):
    guard.hear("left", "bad")
    with pytest.raises(ConfigError, match="camera left: K must be good"):
        guard.demand(all_known=False)


def test_verdicts_tell_every_camera(guard):
    guard.hear("head", "good")
    guard.hear("left", "bad")
    assert guard.verdicts == {
        "head": "as calibrated",
        "left": "camera left: K must be good; found bad",
        "right": "not checked: the robot profile names no info_topic",
    }


def test_the_simulated_robots_own_cameras_pass_and_a_changed_field_does_not():
    profile = load_robot("sim")
    calibrations = load_calibrations(profile)
    guard = CameraInfoGuard(
        {camera.name: camera.info_topic for camera in profile.cameras},
        lambda name, info: check_camera_info(None, calibrations[name], info),
    )
    for name, c in calibrations.items():
        own = CameraInfo(c.width, c.height, c.distortion_model, c.D, *_rows(c), frame=c.frame)
        assert not guard.hear(name, own)
    assert guard.unheard == ()
    assert guard.hear("head_cam", dataclasses.replace(own, frame=calibrations["head_cam"].frame))
    assert "camera head_cam: K must be" in guard.objection().text  # it has a wrist camera's lens now


def _rows(calibration):
    return tuple(tuple(getattr(calibration, key).ravel().tolist()) for key in ("K", "R", "P"))
