"""Intrinsics of one camera from views of a ChArUco board; refuses views that cannot determine them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.adjustment import Fit, adjust
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.coverage import GRID, Coverage
from wallwm_model.calibration_tools.detect import View, in_line
from wallwm_model.errors import CalibrationError

MIN_VIEWS = 10
MIN_REGIONS = 8  # of the picture's 12
MIN_TILT_RAD = np.radians(20.0)  # between the two most different views
MAX_DEVIATION_PCT = 0.5  # standard deviation of fx, fy; of cx, cy against the picture's size
MAX_RMS_PX = 1.0
MAX_OUTLIERS = 0.1  # share of corners that the fit disbelieves
BAD_VIEW = 4.0  # a view this many times worse than the middle one is left out
OUTLIER_WEIGHT = 0.1


@dataclass(frozen=True)
class Intrinsics:
    """Result for one camera.

    Attributes:
        board: what was shown.
        model: one of `lens.MODELS`.
        size: (width, height) [px].
        views: those used.
        dropped: names of views left out because they fit badly.
        fit: lens, poses, residuals.
    """

    board: Board
    model: str
    size: tuple[int, int]
    views: tuple[View, ...]
    dropped: tuple[str, ...]
    fit: Fit

    @property
    def rms_px(self) -> float:
        """Root mean square distance of corners from where the fit puts them [px]."""
        return self.fit.rms

    @property
    def believed_px(self) -> float:
        """RMS of the corners that the fit believes [px]."""
        pairs = [r[w >= OUTLIER_WEIGHT] for r, w in zip(self.fit.residuals, self.fit.weights)]
        return float(np.sqrt(2 * np.mean(np.concatenate(pairs) ** 2)))

    @property
    def per_view_px(self) -> np.ndarray:
        """(V,) RMS of each view [px]."""
        return _per_view(self.fit)

    @property
    def outliers(self) -> int:
        """Corners that the fit disbelieves."""
        return int(sum((w < OUTLIER_WEIGHT).sum() for w in self.fit.weights))

    @property
    def deviation(self) -> np.ndarray:
        """(4 + d,) standard deviations of fx, fy, cx, cy [px] and D."""
        return np.sqrt(np.abs(np.diag(self.fit.covariance)))


def calibrate_intrinsics(board: Board, views: Sequence[View], model: str) -> Intrinsics:
    """Lens of the camera that saw the views.

    Raises:
        CalibrationError: too few views, pictures of different sizes, too little of the picture covered, too
            little tilt, or a fit that does not hold; says which, what was found and what is needed.
    """
    if model not in lens.MODELS:
        raise CalibrationError(f"the lens model must be one of {', '.join(lens.MODELS)}; found {model!r}")
    _check_count(views)
    sizes = sorted({view.size for view in views})
    if len(sizes) > 1:
        found = ", ".join(f"{w}x{h}" for w, h in sizes)
        raise CalibrationError(f"all pictures must have the same size; found {found}")
    sound = [view for view in views if not in_line(view.ids, board.columns - 1)]
    _check_count(sound)
    _check_regions(board, sound, model)
    _check_perspective(board, sound)
    fit, kept = adjust(board.corners, sound, model)
    _check_count(kept)
    better, _ = _without_bad_views(kept, fit)
    if len(better) < len(kept):
        _check_count(better)
        fit, kept = adjust(board.corners, better, model)
        _check_count(kept)
    used = {id(view) for view in kept}
    dropped = tuple(view.source for view in views if id(view) not in used)
    result = Intrinsics(board, model, sizes[0], tuple(kept), dropped, fit)
    _check_result(result)
    return result


def _per_view(fit: Fit) -> np.ndarray:
    return np.array([np.sqrt((r**2).sum(1).mean()) for r in fit.residuals])


def _without_bad_views(views: Sequence[View], fit: Fit) -> tuple[list[View], list[str]]:
    rms = np.array([np.sqrt((w * (r**2).sum(1)).sum() / w.sum()) for r, w in zip(fit.residuals, fit.weights)])
    bad = rms > max(BAD_VIEW * float(np.median(rms)), 0.3)
    return [v for v, b in zip(views, bad) if not b], [v.source for v, b in zip(views, bad) if b]


def _check_count(views: Sequence[View]) -> None:
    if len(views) < MIN_VIEWS:
        raise CalibrationError(f"too few views: at least {MIN_VIEWS} must show the board; found {len(views)}")


def _check_regions(board: Board, views: Sequence[View], model: str) -> None:
    coverage = Coverage.guessed(board, views[0].size, model, len(views))
    for view in views:
        coverage.add(view)
    grid = coverage.grid()
    seen = int((grid >= 4).sum())
    if seen < MIN_REGIONS:
        drawing = " / ".join("".join("x" if n >= 4 else "." for n in row) for row in grid)
        raise CalibrationError(
            f"too little of the picture is covered: the board must appear in {MIN_REGIONS} of its "
            f"{GRID[0]}x{GRID[1]} regions; found {seen} (seen x, not seen ., from the top: {drawing})"
        )


def _check_perspective(board: Board, views: Sequence[View]) -> None:
    """Boards all parallel to the picture leave focal length and distance undetermined.

    Judged without a lens: an affine map from board to picture fits such views as well as a homography.
    """
    bent = []
    for view in views:
        plane = board.corners[view.ids, :2]
        flat = np.column_stack([plane, np.ones(len(plane))])
        affine = view.pixels - flat @ np.linalg.lstsq(flat, view.pixels, rcond=None)[0]
        extent = np.linalg.norm(np.ptp(view.pixels, axis=0))
        bent.append(np.sqrt((affine**2).sum(1).mean()) / extent)
    # Distortion bends every view alike; perspective makes them differ, and in most views adds to it.
    if max(bent) < 0.002:
        raise CalibrationError(
            "too little tilt: the board must be shown tilted by 15 degrees or more, to all sides; found only "
            "views parallel to the picture"
        )


def _check_result(result: Intrinsics) -> None:
    fit, (width, height) = result.fit, result.size
    fx, fy, cx, cy = fit.K[0, 0], fit.K[1, 1], fit.K[0, 2], fit.K[1, 2]
    normals = np.array([cv2.Rodrigues(pose[:3])[0][:, 2] for pose in fit.poses])
    widest = float(np.arccos(np.clip((normals @ normals.T).min(), -1, 1)))
    if widest < MIN_TILT_RAD:
        raise CalibrationError(
            f"too little tilt: views must differ by {np.degrees(MIN_TILT_RAD):.0f} degrees or more; found "
            f"{np.degrees(widest):.1f} degrees between the most different two"
        )
    share = result.outliers / sum(len(view.ids) for view in result.views)
    if result.believed_px > MAX_RMS_PX or share > MAX_OUTLIERS:
        raise CalibrationError(
            f"the board does not fit the pictures: corners must lie within {MAX_RMS_PX:g} px RMS, all but "
            f"{MAX_OUTLIERS:.0%} of them; found {result.believed_px:.2f} px and {share:.0%} farther off (is "
            f"the board flat, is the lens model {result.model} right, is the focus fixed?)"
        )
    if not (0 < cx < width and 0 < cy < height) or not 0.4 < fx / fy < 2.5:
        raise CalibrationError(
            f"the principal point must lie in the picture and fx, fy be alike; found cx {cx:.1f}, "
            f"cy {cy:.1f}, fx {fx:.1f}, fy {fy:.1f} px: add views tilted to all sides"
        )
    parts = 100 * result.deviation[:4] / (fx, fy, width, height)
    if not (parts < MAX_DEVIATION_PCT).all():
        worst = int(np.argmax(parts))
        raise CalibrationError(
            f"the views do not determine the lens: {('fx', 'fy', 'cx', 'cy')[worst]} must be certain to "
            f"{MAX_DEVIATION_PCT:g} %; found {parts[worst]:.2f} %: add views tilted to all sides, near "
            "and far"
        )


def marker_ratio(board: Board, picture: np.ndarray, view: View, detector) -> float | None:
    """Marker side over the side told by the user, as this picture shows it; None: too few markers.

    Near the middle of a marker the lens bends little: diagonals are compared with those that the local
    map from board to picture gives.
    """
    places, ids = detector.markers(picture)
    objects = board.charuco.getObjPoints()
    H, _ = cv2.findHomography(board.corners[view.ids, :2], view.pixels)
    ratios = []
    for place, marker in zip(places, ids):
        if H is None or marker >= len(objects):
            continue
        told = objects[int(marker)][:, :2].astype(np.float64)
        seen = cv2.perspectiveTransform(place.reshape(1, 4, 2).astype(np.float64), np.linalg.inv(H))[0]
        diagonals = [np.linalg.norm(p[0] - p[2]) + np.linalg.norm(p[1] - p[3]) for p in (seen, told)]
        ratios.append(diagonals[0] / diagonals[1])
    return float(np.median(ratios)) if len(ratios) >= 4 else None
