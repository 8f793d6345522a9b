"""Sight-cone masks at run time: poses of the cameras, masks that follow the arms, what is refused. No ROS."""

from __future__ import annotations

import dataclasses
from threading import Event, Thread

import numpy as np
import pytest
from tiny_engine import TinyEngine, tiny_spec

from wallwm_model.errors import ConfigError
from wallwm_model.geometry import SightMasks
from wallwm_model.policy import Policy
from wallwm_model.sim.robot import HOME, JOINTS
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import PolicyConfig, load_robot
from wallwm_ros.core.inference import Planner
from wallwm_ros.core.sight import Sight, SightMaker, SightUse
from wallwm_ros.core.sight_picture import ALONE, HEIGHT, shares, tinted
from wallwm_ros.core.synchronizer import Match

SPEC, ROBOT = tiny_spec(), load_robot("sim")
CALIBRATIONS = load_calibrations(ROBOT)
CAMERAS = [CALIBRATIONS[camera.name] for camera in SPEC.cameras]
ALWAYS = PolicyConfig(frustum_mask="always")
VIEWS, PATCHES = len(CAMERAS), SPEC.patches[0] * SPEC.patches[1]


@pytest.fixture(scope="module")
def kinematics():
    pytest.importorskip("mujoco")
    from wallwm_model.forward_kinematics import load_kinematics

    return load_kinematics(ROBOT)


def bent(column, by):
    """The home posture with one joint moved [rad]."""
    posture = HOME.copy()
    posture[JOINTS.index(column)] += by
    return posture


def sight(kinematics, method="frustum"):
    return Sight(CAMERAS, kinematics, JOINTS, SPEC.patches, method)


def test_the_cameras_are_where_the_simulator_has_them(kinematics):
    import mujoco

    from wallwm_model.sim.robot import MODEL_CAMERA
    from wallwm_model.sim.simulation import Simulation

    simulation = Simulation(image_size=32)
    simulation.data.qvel[:] = 0
    mujoco.mj_forward(simulation.model, simulation.data)
    for camera, pose in zip(CAMERAS, sight(kinematics).poses(simulation.state()), strict=True):
        index = simulation.model.camera(MODEL_CAMERA.get(camera.name, camera.name)).id
        assert pose[:3, 3] == pytest.approx(simulation.data.cam_xpos[index], abs=2e-5)
        # MuJoCo's cameras look along -z with y up, optical frames along z with y down.
        turned = simulation.data.cam_xmat[index].reshape(3, 3) @ np.diag((1.0, -1.0, -1.0))
        assert pose[:3, :3] == pytest.approx(turned, abs=1e-4)


def test_only_the_camera_on_the_arm_that_moves_moves(kinematics):
    looked = sight(kinematics)
    before, after = looked.poses(HOME), looked.poses(bent("left_waist", 0.3))
    moved = [not np.allclose(one, other) for one, other in zip(before, after, strict=True)]
    assert moved == [camera.name == "wrist_cam_left" for camera in CAMERAS]


@pytest.mark.parametrize("method", ["frustum", "cone"])
def test_masks_follow_the_arms_and_equal_those_made_from_scratch(kinematics, method):
    live = sight(kinematics, method)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(6):
        posture = HOME + rng.uniform(-0.4, 0.4, len(HOME))
        mask = live.mask(posture).copy()
        fresh = SightMasks(CAMERAS, SPEC.patches, method).update(live.poses(posture))
        assert np.array_equal(mask, fresh)
        found.append(mask)
    assert all(mask.shape == (VIEWS * PATCHES,) * 2 and mask.dtype == bool for mask in found)
    for mask in found:
        assert np.array_equal(mask, mask.T)
        blocks = mask.reshape(VIEWS, PATCHES, VIEWS, PATCHES)
        assert all(blocks[view, :, view].all() for view in range(VIEWS))
    assert any(not np.array_equal(found[0], mask) for mask in found[1:])
    assert any(not mask.all() for mask in found)


def maker(spec=SPEC, calibrations=CALIBRATIONS, kinematics=None):
    def load():
        if kinematics is None:
            raise ConfigError("the profile names no description")
        return kinematics

    return SightMaker(spec, calibrations, load)


@pytest.mark.parametrize("mask", ["off", "train_only"])
def test_without_a_wish_for_masks_nothing_is_needed(mask):
    assert maker(calibrations={}).make(PolicyConfig(frustum_mask=mask)) is None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            maker(dataclasses.replace(SPEC, takes_mask=False)),
            "frustum_mask: always needs a bundle that was trained with masks; tiny was not",
        ),
        (
            maker(calibrations={"head_cam": CALIBRATIONS["head_cam"]}),
            "frustum_mask: always needs the calibration of every camera; the robot profile names none for "
            "wrist_cam_left, wrist_cam_right",
        ),
        (
            maker(),
            "frustum_mask: always needs the robot's kinematics; the profile names no description",
        ),
    ],
)
def test_masks_that_cannot_be_made_are_refused_with_the_reason(made, words):
    with pytest.raises(ConfigError) as error:
        made.make(ALWAYS)
    assert str(error.value) == words


def test_a_link_or_joint_that_the_robot_does_not_have_is_refused(kinematics):
    lost = dataclasses.replace(CALIBRATIONS["head_cam"], link="mast")
    with pytest.raises(ConfigError, match="mast"):
        maker(calibrations={**CALIBRATIONS, "head_cam": lost}, kinematics=kinematics).make(ALWAYS)
    renamed = dataclasses.replace(SPEC, joints=("left_hip", *SPEC.joints[1:]))
    with pytest.raises(ConfigError, match="left_waist"):
        maker(renamed, kinematics=kinematics).make(ALWAYS)


def test_fixed_cameras_need_no_kinematics():
    fixed = {name: dataclasses.replace(camera, link="world") for name, camera in CALIBRATIONS.items()}
    made = maker(calibrations=fixed).make(ALWAYS)
    assert np.array_equal(made.mask(HOME), made.mask(bent("left_waist", 0.5)))


def test_kinematics_are_loaded_once_and_only_if_needed(kinematics):
    asked = []
    made = SightMaker(SPEC, CALIBRATIONS, lambda: asked.append(1) or kinematics)
    made.make(PolicyConfig())
    assert asked == []
    for method in ("frustum", "cone"):
        made.make(PolicyConfig(frustum_mask="always", mask_method=method))
    assert asked == [1]


def test_kinematics_are_loaded_before_masks_are_wanted_and_waited_for_only_once(kinematics):
    asked = []
    made = SightMaker(SPEC, CALIBRATIONS, lambda: asked.append(1) or kinematics)
    assert made.prepare() == "" and asked == [1]
    assert made.make(ALWAYS) is not None and made.prepare() == "" and asked == [1]


@pytest.mark.parametrize("failure", [ConfigError("no URDF came"), ImportError("no URDF came")])
def test_kinematics_that_cannot_be_loaded_matter_only_when_masks_are_wanted(failure):
    asked = []

    def load():
        asked.append(1)
        raise failure

    made = SightMaker(SPEC, CALIBRATIONS, load)
    assert made.prepare() == "no URDF came"
    assert made.make(PolicyConfig()) is None
    for _ in range(2):
        with pytest.raises(ConfigError, match="always needs the robot's kinematics; no URDF came"):
            made.make(ALWAYS)
    assert asked == [1]


def test_without_a_camera_that_moves_or_with_one_uncalibrated_no_kinematics_are_loaded():
    fixed = {name: dataclasses.replace(camera, link="world") for name, camera in CALIBRATIONS.items()}
    assert maker(calibrations=fixed).prepare() == ""
    assert maker(calibrations={"wrist_cam_left": CALIBRATIONS["wrist_cam_left"]}).prepare() == ""


def test_what_was_made_stays_until_other_masks_are_wanted(kinematics):
    made = maker(kinematics=kinematics)
    first = made.make(ALWAYS)
    for other in ({"settle_velocity": 0.1}, {"still_position": 0.02}, {"publish_sight": True}):
        assert made.make(dataclasses.replace(ALWAYS, **other)) is first
    cone = made.make(dataclasses.replace(ALWAYS, mask_method="cone"))
    assert cone is not first and made.make(ALWAYS) is first
    assert np.array_equal(cone.mask(HOME), sight(kinematics, "cone").mask(HOME))


class Interrupted:
    """Kinematics that remember one posture, as real ones do; in the midst of it somebody else is let in."""

    def __init__(self, kinematics):
        self.kinematics, self.joints, self.somebody = kinematics, None, None

    def pose(self, link, joints):
        self.joints = dict(joints)
        if self.somebody is not None:
            somebody, self.somebody = Thread(target=self.somebody), None
            somebody.start()
            somebody.join(0.3)  # over in a moment if nothing keeps them out
        return self.kinematics.pose(link, self.joints)


@pytest.mark.parametrize("what", ["another method", "the same masks"])
def test_another_thread_never_gives_a_mask_another_posture(kinematics, what):
    robot = Interrupted(kinematics)
    made = maker(kinematics=robot)
    one, other, finished = made.make(ALWAYS), dataclasses.replace(ALWAYS, mask_method="cone"), Event()
    here, there = bent("left_waist", 0.4), bent("left_waist", -0.4)

    def meddle():
        if what == "another method":
            made.make(other)
        else:
            one.mask(there)
        finished.set()

    robot.somebody = meddle
    assert np.allclose(one.poses(here), sight(kinematics).poses(here), atol=1e-12)
    assert finished.wait(10)
    assert np.array_equal(one.mask(here), sight(kinematics).mask(here))


def test_a_mask_only_to_look_at_needs_no_bundle_that_takes_one(kinematics):
    without = dataclasses.replace(SPEC, takes_mask=False)
    assert maker(without, kinematics=kinematics).make(PolicyConfig(publish_sight=True)) is not None


def plan(use):
    engine = TinyEngine(SPEC)
    pictures = {camera.name: np.full((192, 192, 3), 50, np.uint8) for camera in SPEC.cameras}
    match = Match(pictures, {"/joint_states": bent("left_waist", 0.2)}, stamp_ns=123, spread_ns=0)
    planner = Planner(Policy(engine), SPEC, ROBOT, lambda _, picture: picture)
    planner.sight = use
    return engine.looks, planner.plan(match, "reach", 0.0, 0)


def test_the_model_gets_the_mask_of_the_observations_own_posture(kinematics):
    (look,), made = plan(SightUse(sight(kinematics), attend=True))
    assert np.array_equal(look.mask, sight(kinematics).mask(bent("left_waist", 0.2)))
    assert not np.array_equal(look.mask, sight(kinematics).mask(bent("left_waist", -0.8)))
    assert made.timings_ms["mask"] > 0


def test_without_masks_the_model_gets_none_and_no_time_is_spent():
    (look,), made = plan(None)
    assert look.mask is None and "mask" not in made.timings_ms


def test_a_mask_that_is_only_shown_stays_away_from_the_model(kinematics):
    shown = []
    (look,), _ = plan(SightUse(sight(kinematics), attend=False, show=lambda *given: shown.append(given)))
    assert look.mask is None
    ((pictures, mask, stamp_ns),) = shown
    assert set(pictures) == set(CALIBRATIONS) and stamp_ns == 123
    assert np.array_equal(mask, sight(kinematics).mask(bent("left_waist", 0.2)))


def test_shares_count_the_other_views_patches():
    mask = np.kron(np.eye(2, dtype=bool), np.ones((2, 2), bool))
    mask[0, 2] = mask[2, 0] = mask[0, 3] = mask[3, 0] = True
    assert shares(mask, 2).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_the_tint_shows_who_sees_what():
    grey = {name: np.full((48, 64, 3), 100, np.uint8) for name in ("a", "b")}
    mask = np.kron(np.eye(2, dtype=bool), np.ones((2, 2), bool))
    mask[0, 2] = mask[2, 0] = True  # the left half of either view
    found = tinted(grey, ("a", "b"), mask, (1, 2))
    assert found.shape == (HEIGHT, 512, 3) and found.dtype == np.uint8
    dark = found[:, 128:256]
    assert (np.abs(dark.astype(int) - ALONE * 100) <= 1).all()
    green = found[:, :128].reshape(-1, 3)
    assert (green[:, 1] > 100).all() and (green[:, 0] < 100).all()
    assert np.array_equal(found[:, :256], found[:, 256:])
