"""How exact are intrinsics and hand-eye? Random cameras on the simulated robot, drawn board, noise and blur.

Each rig goes the way of an integrator: pictures of a hand-held board -> lens; pictures from many postures,
    with
joints as 12-bit encoders report them, and that measured lens -> mount. Errors are against the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.detect import Detector, View
from wallwm_model.calibration_tools.handeye import HandEye, Sample, calibrate_handeye
from wallwm_model.calibration_tools.intrinsics import Intrinsics, calibrate_intrinsics
from wallwm_model.errors import CalibrationError
from wallwm_model.sim.calibration_rig import Rig, random_rig
from wallwm_model.sim.calibration_views import board_views, robot_views
from wallwm_model.transforms import angle_between, inverse

RIGS, VIEWS, POSES = 20, 30, 20
AIMS = {
    "intrinsics_error_pct_max": 0.5,
    "reprojection_px_max": 0.3,
    "handeye_mm_max": 1.5,
    "handeye_deg_max": 0.15,
}
_FIRST_NOISE_SEED = 1000
_STEEPEST = np.tan(np.radians(80.0))  # a fisheye's corners may lie beyond what its lens sees

Progress = Callable[[int, int], None]


def run(
    rigs: int = RIGS,
    views: int = VIEWS,
    poses: int = POSES,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Worst errors over all rigs, whether the aims hold, and a table with one row per rig.

    Args:
        rigs: random rigs; of five, two are plumb_bob, two fisheye, one rational; of three, two wrists, one
            head.
        views: pictures for the lens.
        poses: postures for the mount.
        seed: of the first rig.
        progress: called with rigs done and in all.
    """
    table = []
    for number in range(rigs):
        table.append(_row(random_rig(seed + number), views, poses))
        progress(number + 1, rigs)
    done = [row for row in table if "refused" not in row]
    if not done:
        raise CalibrationError(f"at least one rig must be calibrated; {table[0]['refused']}")
    worst = {
        "intrinsics_error_pct_max": max(row["intrinsics_pct"] for row in done),
        "reprojection_px_max": max(row["reprojection_px"] for row in done),
        "handeye_mm_max": max(row["handeye_mm"] for row in done),
        "handeye_deg_max": max(row["handeye_deg"] for row in done),
    }
    return {
        **worst,
        "rigs_refused": len(table) - len(done),
        "aims_hold": len(done) == len(table) and all(worst[key] <= aim for key, aim in AIMS.items()),
        "map_px_max": max(row["map_px"] for row in done),
        "closed_form_mm_max": {
            name: max(row["closed_form_mm"][name] for row in done) for name in done[0]["closed_form_mm"]
        },
        "views": views,
        "poses": poses,
        "table": table,
    }


def _row(rig: Rig, views: int, poses: int) -> dict[str, Any]:
    rng, detector = np.random.default_rng(_FIRST_NOISE_SEED + rig.seed), Detector(rig.board)
    row = {"rig": rig.seed, "camera": rig.camera, "model": rig.lens.model, "board_on": rig.board_link}
    try:
        found = [detector.find(picture) for picture, _ in board_views(rig, views, rng)]
        measured = calibrate_intrinsics(rig.board, [v for v in found if isinstance(v, View)], rig.lens.model)
        samples = []
        for picture, joints in robot_views(rig, poses, rng):
            view = detector.find(picture)
            if isinstance(view, View):
                pose = rig.kinematics.pose
                samples.append(
                    Sample(view, inverse(pose(rig.camera_link, joints)) @ pose(rig.board_link, joints))
                )
        K, D = measured.fit.K, measured.fit.D
        mount = calibrate_handeye(rig.board, samples, K, rig.lens.model, D, rig.camera_link != "world")
    except CalibrationError as error:
        return {**row, "refused": str(error)}
    return {**row, **_lens_errors(rig, measured), **_mount_errors(rig, mount)}


def _lens_errors(rig: Rig, measured: Intrinsics) -> dict[str, Any]:
    true, K = rig.lens.K, measured.fit.K
    places = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
    # Each against its own value, the principal point too.
    off = {name: 100 * abs(K[at] - true[at]) / true[at] for name, at in places.items()}
    return {
        "intrinsics_pct": _round(max(off.values())),
        "intrinsics_pct_each": {name: _round(value) for name, value in off.items()},
        "reprojection_px": _round(measured.rms_px),
        "map_px": _round(_map_error(rig, measured)),
        "views_used": len(measured.views),
        "corners_disbelieved": measured.outliers,
    }


def _map_error(rig: Rig, measured: Intrinsics) -> float:
    """RMS over the whole picture between true and measured projection [px], after the best turn.

    A small turn of the optical frame is the mount's business: with it the parameters may differ a little and
    the lens still be the same.
    """
    width, height = rig.lens.size
    grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 24), np.linspace(0, height - 1, 18)), -1).reshape(
        -1, 2
    )
    flat = lens.rays(grid, rig.lens.K, rig.lens.model, rig.lens.D)
    seen = np.isfinite(flat).all(1) & (np.linalg.norm(flat, axis=1) < _STEEPEST)
    # Where a strong lens folds over, a pixel has no ray.
    back = rig.lens.project(np.column_stack([np.where(seen[:, None], flat, 0), np.ones(len(flat))]))
    seen &= np.linalg.norm(back - grid, axis=1) < 0.01
    grid, flat = grid[seen], flat[seen]
    points = np.column_stack([flat, np.ones(len(flat))])
    points /= np.linalg.norm(points, axis=1, keepdims=True)

    def off(turn: np.ndarray) -> np.ndarray:
        pixels = lens.project(points, turn, np.zeros(3), measured.fit.K, measured.model, measured.fit.D)[0]
        return (pixels - grid).ravel()

    best = least_squares(off, np.zeros(3), x_scale=1e-3)
    return float(np.sqrt(2 * np.mean(best.fun**2)))


def _mount_errors(rig: Rig, mount: HandEye) -> dict[str, Any]:
    distance = 1e3 * np.linalg.norm(mount.X[:3, 3] - rig.X[:3, 3])
    angle = np.degrees(angle_between(mount.X[:3, :3], rig.X[:3, :3]))
    return {
        "handeye_mm": _round(distance),
        "handeye_deg": _round(angle),
        "handeye_px": _round(mount.rms_px),
        "handeye_mm_claimed": _round(1e3 * mount.deviation_m),
        "handeye_deg_claimed": _round(np.degrees(mount.deviation_rad)),
        "closed_form_mm": {name: _round(value) for name, value in _closed_forms(rig, mount).items()},
        "poses_used": len(mount.samples),
    }


def _closed_forms(rig: Rig, mount: HandEye) -> dict[str, float]:
    """How far each method alone would be from the truth [mm]."""
    return {a.method: 1e3 * float(np.linalg.norm(a.X[:3, 3] - rig.X[:3, 3])) for a in mount.agreement}


def _round(value: float) -> float:
    return round(float(value), 4)
