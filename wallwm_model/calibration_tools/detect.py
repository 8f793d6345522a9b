"""Finds the board in pictures, and says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration_tools.board import Board

MIN_CORNERS = 8
BLURRED_PX = 4.0  # edges wider than this [px] move corners by more than the accuracy aimed at
_FEW_MARKERS = 3


@dataclass(frozen=True)
class View:
    """The board in one picture.

    Attributes:
        source: name of the picture, for people.
        ids: (N,) corner ids.
        pixels: (N, 2) corners [px], centre of the top left pixel is (0, 0).
        size: (width, height) of the picture [px].
        edge_px: width of the board's edges, from black to white [px].
        stamp_ns: when it was taken; 0 where unknown.
    """

    source: str
    ids: np.ndarray
    pixels: np.ndarray
    size: tuple[int, int]
    edge_px: float
    stamp_ns: int = 0


@dataclass(frozen=True)
class Miss:
    """A picture that cannot be used; `reason` is one of `REASONS`."""

    source: str
    reason: str


REASONS = {
    "none": "no board in sight",
    "few": f"fewer than {MIN_CORNERS} corners in sight",
    "line": "corners in one line only",
    "blurred": "blurred",
    "mirrored": "mirrored board",
    "ids": "markers that this board does not have",
    "layout": "markers in other places than on this board",
}


class Detector:
    """Finds one kind of board; a detector is for one thread."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._charuco = cv2.aruco.CharucoDetector(board.charuco)
        self._markers = cv2.aruco.ArucoDetector(board.markers)
        self._own = {int(i) for i in board.charuco.getIds().ravel()}

    def find(self, picture: np.ndarray, source: str = "picture", stamp_ns: int = 0) -> View | Miss:
        """(H, W) grey or (H, W, 3) RGB uint8 -> the board's corners, or why they are not used."""
        grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        grey = np.ascontiguousarray(grey)
        corners, ids, places, markers = self._charuco.detectBoard(grey)
        ids = np.zeros(0, int) if ids is None else ids.ravel()
        pixels = np.zeros((0, 2)) if corners is None else corners.reshape(-1, 2).astype(np.float64)
        edge = edge_width(grey, ids, pixels, self.board.columns - 1)
        if len(ids) and BLURRED_PX < edge < np.inf:
            return Miss(source, "blurred")
        if len(ids) < MIN_CORNERS:
            return Miss(source, self._why_not(grey, places, markers))
        if {int(i) for i in np.asarray(markers).ravel()} - self._own:
            return Miss(source, "ids")
        if in_line(ids, self.board.columns - 1):
            return Miss(source, "line")
        return View(source, ids, pixels, (grey.shape[1], grey.shape[0]), edge, stamp_ns)

    def _why_not(self, grey: np.ndarray, places, markers) -> str:
        seen = 0 if markers is None else len(markers)
        if seen < _FEW_MARKERS:
            flipped = self._charuco.detectBoard(np.ascontiguousarray(grey[:, ::-1]))[1]
            return "mirrored" if flipped is not None and len(flipped) >= MIN_CORNERS else "none"
        if {int(i) for i in np.asarray(markers).ravel()} - self._own:
            return "ids"
        return "few" if layout_fits(self.board, places, markers) else "layout"

    def markers(self, grey: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Corners (each 1, 4, 2) and ids (M,) of all markers of the dictionary, on the board or not."""
        places, ids, _ = self._markers.detectMarkers(grey)
        return places, np.zeros(0, int) if ids is None else ids.ravel()


def in_line(ids: np.ndarray, columns: int) -> bool:
    """Whether corners (N,) of a board with `columns` of them in a row lie on one line: no pose follows."""
    places = np.stack(np.divmod(ids, columns), axis=1).astype(np.float64)
    return bool(np.linalg.matrix_rank(places - places[0]) < 2)


def layout_fits(board: Board, places, ids) -> bool:
    """Whether markers lie in the picture as on the board, up to a smooth distortion."""
    objects = board.charuco.getObjPoints()
    known = [(objects[int(i)][:, :2], p.reshape(4, 2)) for p, i in zip(places, np.asarray(ids).ravel())
             if 0 <= int(i) < len(objects)]  # fmt: skip
    if len(known) < _FEW_MARKERS:
        return False
    plane, pixels = (np.concatenate(part).astype(np.float64) for part in zip(*known))
    side = np.median([np.linalg.norm(p[0] - p[1]) for _, p in known])
    H, inliers = cv2.findHomography(plane, pixels, cv2.RANSAC, 0.5 * side)
    return H is not None and inliers.mean() > 0.8


def edge_width(grey: np.ndarray, ids: np.ndarray, pixels: np.ndarray, columns: int) -> float:
    """Median width of the black-white edges between neighbouring corners [px]; infinite if there are none.

    The steepest slope across an edge, set against the contrast of its two sides; a Gaussian blur of s px
    gives about 2.5 s. Profiles stay within an eighth of a square, where no marker is.
    """
    at = {int(i): p for i, p in zip(ids, pixels)}
    pairs = [
        (at[i], at[j]) for i in at for j in ((i + 1) if (i + 1) % columns else -1, i + columns) if j in at
    ]
    if not pairs:
        return float("inf")
    a, b = (np.array(side) for side in zip(*pairs))
    along = b - a
    length = np.linalg.norm(along, axis=1, keepdims=True)
    across = along[:, ::-1] * (1, -1) / length
    reach = np.maximum(0.12 * length, 3.0)  # [px]
    steps = np.linspace(-1, 1, 33)
    middle = (a + b) / 2
    points = (middle[:, None] + steps[None, :, None] * reach[:, None] * across[:, None]).astype(np.float32)
    profile = cv2.remap(grey, points[..., 0], points[..., 1], cv2.INTER_LINEAR).astype(np.float64)
    profile = cv2.GaussianBlur(profile, (5, 1), 0)
    contrast = profile.max(1) - profile.min(1)
    slope = np.abs(np.diff(profile, axis=1)).max(1) / (2 * reach[:, 0] / (len(steps) - 1))
    sound = contrast > 10
    return float(np.median(contrast[sound] / slope[sound])) if sound.any() else float("inf")
