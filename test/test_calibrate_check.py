"""Bumped mounts: found, named and measured; untouched rigs left in peace; doubt admitted."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")

from wallwm_model.calibration_check import twists  # noqa: E402
from wallwm_model.calibration_check.adjustment import Rig  # noqa: E402
from wallwm_model.calibration_check.consistency import check, quantile, survival  # noqa: E402
from wallwm_model.calibration_check.noise import NoiseModel  # noqa: E402
from wallwm_model.calibration_check.prior import BOARD, load_baseline, save_baseline  # noqa: E402
from wallwm_model.calibration_check.report import as_json, sentences  # noqa: E402
from wallwm_model.calibration_check.sighting import choose_tilts, link_jacobian, sight  # noqa: E402
from wallwm_model.errors import ConfigError, ObservationError  # noqa: E402
from wallwm_model.sim import bumped_rig  # noqa: E402
from wallwm_model.transforms import angle_between  # noqa: E402
from wallwm_ros.cli.bench import part  # noqa: E402

CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
FIVE, DEGREE = 5e-3, np.radians(1.0)


@pytest.fixture(scope="module")
def bench():
    return part("bump").Bench(np.random.default_rng(11), NoiseModel(), postures=5)


@pytest.fixture(scope="module")
def rig(bench):
    return bench.sample()


def mounts(trial):
    return {name: camera.T_link_camera_optical for name, camera in trial.believed.items()}


def judged(bench, trial, sightings, prior=None):
    return check(Rig(mounts(trial), sightings, bench.noise, prior), CAMERAS)


def test_twists_and_motions_are_each_others_inverse():
    rng = np.random.default_rng(0)
    for size in (1e-9, 1e-5, 0.3, 2.5):
        twist = np.concatenate([rng.normal(size=3), size * bumped_rig._direction(rng)])
        assert twists.log(twists.exp(twist)) == pytest.approx(twist, abs=1e-9)
        T, other = twists.exp(rng.normal(size=6)), twists.exp(1e-3 * twist)
        carried = twists.exp(twists.adjoint(T) @ (1e-3 * twist)) @ T
        assert carried == pytest.approx(T @ other, abs=1e-12)


@pytest.mark.parametrize(
    ("chance", "freedom", "value"), [(0.05, 6, 12.592), (0.001, 12, 32.909), (0.5, 2, 1.386)]
)
def test_chi_square_is_that_of_the_tables(chance, freedom, value):
    assert quantile(chance, freedom) == pytest.approx(value, abs=1e-3)
    assert survival(value, freedom) == pytest.approx(chance, rel=1e-3)


def test_an_untouched_rig_is_called_sound(bench, rig):
    verdict = bench.examine(rig)
    assert not verdict.off and verdict.fits and not verdict.unseen
    assert "every camera" in sentences(verdict)[0]


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_bumped_camera_is_named_and_the_amount_lies_within_its_uncertainty(bench, rig, camera):
    bumped = bumped_rig.bump(rig, camera, FIVE, DEGREE, np.random.default_rng(2))
    verdict = bench.examine(bumped)
    assert verdict.named == {camera}
    shift, true = verdict.off[0], bumped.off(camera)
    assert abs(shift.mm - 1e3 * np.linalg.norm(true[:3])) < 4 * shift.mm_sigma
    assert abs(shift.degrees - np.degrees(np.linalg.norm(true[3:]))) < 4 * shift.degrees_sigma
    assert sentences(verdict)[0].startswith(f"{camera} is off: its mount has moved by")
    assert as_json(verdict)["cameras"][camera]["chance"] < 1e-4


def test_two_bumped_cameras_are_both_named(bench, rig):
    rng = np.random.default_rng(3)
    both = bumped_rig.bump(rig, "wrist_cam_left", 2 * FIVE, 3 * DEGREE, rng)
    both = bumped_rig.bump(both, "head_cam", 2 * FIVE, 3 * DEGREE, rng)
    assert bench.examine(both).named == {"head_cam", "wrist_cam_left"}


def test_two_cameras_at_one_posture_cannot_tell_which_of_them_it_was(bench, rig):
    bumped = bumped_rig.bump(rig, "head_cam", 2 * FIVE, 3 * DEGREE, np.random.default_rng(4))
    sightings = [s for s in bench.sightings(bumped) if s.posture == 0 and s.camera != "wrist_cam_right"]
    verdict = judged(bench, bumped, sightings)
    assert verdict.off and not verdict.named
    suspects = {shift.part for shift in verdict.off}.union(*verdict.alternatives)
    assert suspects == {"head_cam", "wrist_cam_left"}
    assert verdict.unseen == ("wrist_cam_right",)
    assert all(row.shift is None for row in verdict.findings if row.camera not in verdict.bumped)
    assert json.loads(json.dumps(as_json(verdict), allow_nan=False))["unseen"] == ["wrist_cam_right"]
    assert any("more postures" in sentence for sentence in sentences(verdict))


def test_a_bumped_wrist_camera_is_told_from_a_bumped_head_camera_once_the_arm_has_turned(bench, rig):
    bumped = bumped_rig.bump(rig, "wrist_cam_left", 2 * FIVE, 3 * DEGREE, np.random.default_rng(5))
    sightings = [s for s in bench.sightings(bumped) if s.camera != "wrist_cam_right"]
    assert judged(bench, bumped, sightings).named == {"wrist_cam_left"}


def test_a_baseline_notices_smaller_bumps_and_does_not_mind_a_board_put_elsewhere(bench, rig, tmp_path):
    first = bench.examine(rig)
    save_baseline(tmp_path / "baseline.json", first.baseline, rig.believed)
    prior = load_baseline(tmp_path / "baseline.json", rig.believed)
    later = bumped_rig.look_anew(rig, bench.kinematics, 5, bench.rng)
    sightings = bench.sightings(later)
    verdict = bench.examine(later, sightings, prior)
    assert not verdict.bumped and {shift.part for shift in verdict.off} == {BOARD}
    bare = {row.camera: row for row in judged(bench, later, sightings).findings}
    for row in verdict.findings:
        assert row.detectable_mm < 0.7 * bare[row.camera].detectable_mm
    bumped = bumped_rig.bump(later, "head_cam", 4e-3, 0.0, np.random.default_rng(6))
    assert bench.examine(bumped, prior=prior).named == {"head_cam"}


def test_a_baseline_of_another_calibration_is_refused(bench, rig, tmp_path):
    path = tmp_path / "baseline.json"
    save_baseline(path, bench.examine(rig).baseline, rig.believed)
    with pytest.raises(ConfigError, match="belong to this calibration"):
        load_baseline(path, rig.true)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="--save wrote"):
        load_baseline(path, rig.believed)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_baseline(tmp_path / "none.json", rig.believed)


def test_sightings_that_contradict_each_other_are_not_explained_away(bench, rig):
    sightings = bench.sightings(rig)
    slipped = twists.exp(np.array((0.02, 0, 0, 0, 0, 0.1)))
    for index in (1, 7, 11):  # the board was pushed, three times, by different amounts
        moved = sightings[index].T_camera_board @ np.linalg.matrix_power(slipped, index)
        sightings[index] = dataclasses.replace(sightings[index], T_camera_board=moved)
    verdict = judged(bench, rig, sightings)
    assert not verdict.fits
    assert any("no explanation" in sentence for sentence in sentences(verdict))


def test_one_picture_or_a_few_corners_say_nothing(bench, rig):
    with pytest.raises(ObservationError, match="two cameras"):
        judged(bench, rig, bench.sightings(rig)[:1])
    camera = rig.believed["head_cam"]
    ids, pixels = bumped_rig.corners(
        rig.true["head_cam"], bench.kinematics, rig.postures[0], rig.T_world_board
    )
    joints = bumped_rig.measured(rig.postures[0], bench.noise, bench.rng)
    with pytest.raises(ObservationError, match="at least 6 corners"):
        sight(camera, 0, bumped_rig.BOARD.corners[ids[:5]], pixels[:5], bench.kinematics, joints)


def test_one_fixed_camera_alone_is_not_called_sound_however_often_it_looks(bench, rig):
    """All its pictures place the board in the same place, wherever its mount is."""
    bumped = bumped_rig.bump(rig, "head_cam", 8 * FIVE, 10 * DEGREE, np.random.default_rng(6))
    for trial in (rig, bumped):
        alone = [s for s in bench.sightings(trial) if s.camera == "head_cam"]
        assert len(alone) > 2
        with pytest.raises(ObservationError, match="found 5 pictures of it, from head_cam, with nothing to"):
            judged(bench, trial, alone)


def test_a_camera_that_no_move_would_show_of_is_listed_as_not_checked(bench, rig):
    sightings = bench.sightings(rig)
    sound = bench.examine(rig, sightings)
    assert sound.sound and not sound.blind
    blind = {"head_cam": {"shift": None}}
    rows = [dataclasses.replace(row, **blind.get(row.camera, {})) for row in sound.findings]
    verdict = dataclasses.replace(sound, findings=tuple(rows))
    assert verdict.blind == ("head_cam",) and not verdict.sound
    said = sentences(verdict)
    assert said[0].startswith("every camera that was checked is where")
    assert "no move would show in what was seen: head_cam" in said[1]
    assert as_json(verdict)["blind"] == ["head_cam"] and as_json(verdict)["sound"] is False


def test_a_doubt_between_board_and_camera_is_not_sound(bench, rig):
    verdict = dataclasses.replace(bench.examine(rig), alternatives=(frozenset({"head_cam"}),))
    assert not verdict.sound and not verdict.bumped
    assert not any("every camera" in sentence for sentence in sentences(verdict))


@pytest.mark.parametrize(
    ("model", "D"),
    [
        ("plumb_bob", (-0.3, 0.1, 1e-3, -5e-4, 0.0)),
        ("rational_polynomial", (-0.25, 0.08, 1e-3, 5e-4, 0.01, 0.02, 0.005, 0.0)),
        ("equidistant", (0.03, -0.01, 0.005, -0.002)),
    ],
)
def test_lenses_that_bend_lines_are_straightened(bench, rig, model, D):
    camera = dataclasses.replace(rig.true["wrist_cam_left"], distortion_model=model, D=D)
    ids, pixels = bumped_rig.corners(camera, bench.kinematics, rig.postures[0], rig.T_world_board)
    joints = bumped_rig.measured(rig.postures[0], bench.noise, bench.rng)
    group = sight(camera, 0, bumped_rig.BOARD.corners[ids], pixels, bench.kinematics, joints)
    best = min(group, key=lambda one: one.square_sum)
    pose = bumped_rig.board_in_camera(camera, bench.kinematics, rig.postures[0], rig.T_world_board)
    assert best.T_camera_board == pytest.approx(pose, abs=1e-5)
    assert len(ids) >= 12 and best.square_sum < 1e-4


def test_a_lift_is_as_uncertain_as_slides_are_and_not_as_turns_are():
    urdf = pytest.importorskip("test_forward_kinematics").URDF
    kinematics = pytest.importorskip("wallwm_model.urdf_kinematics").UrdfKinematics(urdf)
    joints = {"turn": 0.3, "bend": -0.4, "slide": 0.02}
    noise = NoiseModel(joint_deg=0.05, joint_mm=0.2)
    sigma = noise.joint_sigma(link_jacobian(kinematics, "finger_l", joints))
    assert sigma == pytest.approx([np.radians(0.05), np.radians(0.05), 0.2e-3])


def test_of_two_tilts_that_look_alike_the_one_the_others_agree_with_is_taken(bench, rig):
    groups = []
    for name, camera in rig.true.items():
        ids, pixels = bumped_rig.corners(camera, bench.kinematics, rig.postures[0], rig.T_world_board)
        joints = bumped_rig.measured(rig.postures[0], bench.noise, bench.rng)
        points = bumped_rig.BOARD.corners[ids]
        group = sight(rig.believed[name], 0, points, pixels, bench.kinematics, joints)
        groups.append(group[::-1])  # the likelier one last
    assert any(len(group) == 2 for group in groups)
    for chosen in choose_tilts(groups, mounts(rig)):
        true = rig.true[chosen.camera]
        pose = bumped_rig.board_in_camera(true, bench.kinematics, rig.postures[0], rig.T_world_board)
        assert angle_between(chosen.T_camera_board[:3, :3], pose[:3, :3]) < np.radians(1.5)


def test_the_pose_of_a_board_scatters_as_its_covariance_says(bench, rig):
    camera, rng = rig.true["head_cam"], np.random.default_rng(7)
    ids, pixels = bumped_rig.corners(camera, bench.kinematics, rig.postures[0], rig.T_world_board)
    joints = bumped_rig.measured(rig.postures[0], bench.noise, rng)
    pose = bumped_rig.board_in_camera(camera, bench.kinematics, rig.postures[0], rig.T_world_board)
    points, found = bumped_rig.BOARD.corners[ids], []
    for _ in range(150):
        noisy = pixels + 0.2 * rng.normal(size=pixels.shape)
        group = sight(camera, 0, points, noisy, bench.kinematics, joints)
        chosen = min(group, key=lambda one: one.square_sum)
        error = twists.log(chosen.T_camera_board @ np.linalg.inv(pose))
        found.append(error @ chosen.information @ error / 0.2**2)  # chi-square, 6 degrees of freedom
    assert np.mean(found) == pytest.approx(6.0, rel=0.25)
