"""Finding a mount: closed forms, refinement, and motions that cannot determine it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_fixtures import BOARD, X, Z, exact_samples, make_lens, rig, robot_pictures

from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import Detector, View
from wallwm_model.calibration_tools.handeye import Sample, calibrate_handeye
from wallwm_model.calibration_tools.handeye_solvers import METHODS
from wallwm_model.calibration_tools.lens import transform
from wallwm_model.calibration_tools.report import report_handeye
from wallwm_model.errors import CalibrationError
from wallwm_model.transforms import angle_between, inverse

LENS = make_lens("plumb_bob")
TURNS = np.random.default_rng(1).uniform(-0.6, 0.6, (16, 3)) * (1, 1, 1.5)


def solve(samples, lens=LENS, board=BOARD, **options):
    return calibrate_handeye(board, samples, lens.K, lens.model, lens.D, **options)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    return transform(rng.uniform(-1.5, 1.5, 3), rng.uniform(-0.5, 0.5, 3))


@pytest.mark.parametrize("method", METHODS)
def test_closed_forms_are_exact_without_noise(method):
    rng = np.random.default_rng(4)
    for _ in range(5):
        x, z = random_pose(rng), random_pose(rng)
        M = np.array([random_pose(rng) for _ in range(6)])
        B = np.array([inverse(x) @ m @ z for m in M])
        found_x, found_z = METHODS[method](M, B)
        np.testing.assert_allclose(found_x, x, atol=1e-8)
        np.testing.assert_allclose(found_z, z, atol=1e-8)


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_mount_is_found_and_its_uncertainty_is_honest(model):
    lens = make_lens(model)
    result = solve(exact_samples(lens, TURNS), lens)
    assert np.linalg.norm(result.X[:3, 3] - X[:3, 3]) < min(1e-3, 5 * result.deviation_m)
    assert angle_between(result.X[:3, :3], X[:3, :3]) < min(1e-3, 5 * result.deviation_rad)
    assert np.linalg.norm(result.Z[:3, 3] - Z[:3, 3]) < 2e-3
    assert abs(result.scale - 1) < 4 * result.scale_deviation
    assert {a.method for a in result.agreement} == set(METHODS)


def test_the_refinement_beats_every_closed_form_where_pictures_err_more_than_the_robot():
    off = {name: [] for name in ("refinement", *METHODS)}
    for seed in range(5):
        rng, samples = (
            np.random.default_rng(seed),
            exact_samples(LENS, TURNS, seed, robot_m=5e-5, robot_rad=5e-5),
        )
        noisy = [
            replace(s.view, pixels=s.view.pixels + rng.normal(0, 0.3, s.view.pixels.shape)) for s in samples
        ]
        result = solve([replace(s, view=view) for s, view in zip(samples, noisy)])
        off["refinement"].append(np.linalg.norm(result.X[:3, 3] - X[:3, 3]))
        for form in result.agreement:
            off[form.method].append(np.linalg.norm(form.X[:3, 3] - X[:3, 3]))
    rms = {name: np.sqrt(np.mean(np.square(errors))) for name, errors in off.items()}
    assert all(rms["refinement"] < 0.8 * rms[name] for name in METHODS), rms


def test_a_board_held_by_the_robot_before_a_fixed_camera():
    """Camera at X in the world, board at Z on a link; M is the link's pose, and errs on its side."""
    rng = np.random.default_rng(0)
    errors = [transform(rng.normal(0, 5e-4, 3), rng.normal(0, 2e-4, 3)) for _ in TURNS]
    exact = exact_samples(LENS, TURNS, robot_m=0, robot_rad=0)
    samples = [Sample(s.view, s.M @ error) for s, error in zip(exact, errors)]
    result = solve(samples, camera_moves=False)
    assert np.linalg.norm(result.X[:3, 3] - X[:3, 3]) < 1.5e-3
    assert angle_between(result.X[:3, :3], X[:3, :3]) < 2e-3


def test_pictures_of_the_simulated_robot_give_the_mount_that_drew_them():
    detector, pose, one = Detector(BOARD), rig().kinematics.pose, rig()
    samples = []
    for picture, joints in robot_pictures():
        view = detector.find(picture)
        if isinstance(view, View):
            samples.append(
                Sample(view, inverse(pose(one.camera_link, joints)) @ pose(one.board_link, joints))
            )
    result = solve(samples, one.lens)
    assert np.linalg.norm(result.X[:3, 3] - one.X[:3, 3]) < 1.5e-3
    assert angle_between(result.X[:3, :3], one.X[:3, :3]) < np.radians(0.15)


def few():
    return exact_samples(LENS, TURNS[:6])


def translations():
    return exact_samples(LENS, np.zeros((12, 3)) + (0.4, 0.2, 0.0))


def one_axis():
    return exact_samples(LENS, np.linspace(-1.2, 1.2, 12)[:, None] * (0, 0, 1.0))


def silent_robot():
    samples = exact_samples(LENS, TURNS)
    return [replace(s, M=samples[0].M) for s in samples]


def shuffled():
    samples = exact_samples(LENS, TURNS)
    return [replace(s, M=samples[(i + 5) % len(samples)].M) for i, s in enumerate(samples)]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (few, "too few poses: at least 8 with the board in sight are needed; found 6"),
        (translations, "degenerate motion, pure translation"),
        (one_axis, "degenerate motion, parallel rotation axes"),
        (silent_robot, "while the robot reports none"),
        (shuffled, "robot and pictures contradict each other"),
    ],
)
def test_poor_motion_is_refused_with_the_reason(samples, words):
    with pytest.raises(CalibrationError, match=words):
        solve(samples())


def test_squares_of_another_size_are_noticed_by_the_robots_motion():
    wrong = Board(square_m=0.033, marker_m=0.0242)
    with pytest.raises(
        CalibrationError, match=r"squares must have the told size; .* 0\.9\d\d \+- 0\.0\d\d of it"
    ):
        solve(exact_samples(LENS, TURNS), board=wrong)


def test_a_posture_that_contradicts_the_others_is_left_out_by_name():
    samples = exact_samples(LENS, TURNS)
    samples[4] = Sample(
        replace(samples[4].view, source="slipped"), transform((0.05, 0, 0), (0.02, 0, 0)) @ samples[4].M
    )
    result = solve(samples)
    assert result.dropped == ("slipped",) and len(result.samples) == len(samples) - 1
    assert np.linalg.norm(result.X[:3, 3] - X[:3, 3]) < 1e-3


def test_the_report_shows_every_method(tmp_path):
    result = solve(exact_samples(LENS, TURNS))
    picture, page = report_handeye(tmp_path, "cam", result)
    text = page.read_text()
    assert picture.stat().st_size > 20_000 and all(name in text for name in METHODS)
    with pytest.raises(CalibrationError, match="must be written to"):
        (tmp_path / "file").write_text("")
        report_handeye(tmp_path / "file", "cam", result)
