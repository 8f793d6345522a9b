"""Draws on a picture what the calibration claims: patches that others also see, frustums, the arms' links.

If the calibration holds, the drawn joints lie on the arm's own joints, and the frustum of a wrist camera
starts at that camera. Nothing here decides anything; it is to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.pen import Colour, Pen
from wallwm_model.errors import ConfigError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_model.transforms import inverse
from wallwm_model.urdf_kinematics import WORLD

# One colour per view, in the order of the robot's cameras; told apart by colour-blind eyes too (RGB).
COLOURS = ((255, 190, 20), (0, 205, 255), (255, 70, 170), (120, 230, 90), (180, 140, 255), (255, 120, 60))
_TINT, _SHADE = 0.26, 0.62  # how strongly shared patches are coloured, and how much the others are dimmed
_CORNER = (90, 255, 90)  # where a corner of the board should be


@dataclass(frozen=True)
class Moment:
    """Everything at one moment.

    Attributes:
        calibrations: camera -> calibration of the published picture; all views, in order.
        poses: camera -> T_world_optical (4, 4).
        mask: (V*P, V*P) bool sight mask in the same order, or None.
        patches: (rows, columns) of the mask.
        skeleton: (N, 2, 3) ends of the links to draw, in the world [m].
        surface_m: height of a level surface in the world that frustums end on [m]; None: their depth band.
    """

    calibrations: Mapping[str, CameraCalibration]
    poses: Mapping[str, np.ndarray]
    mask: np.ndarray | None
    patches: tuple[int, int]
    skeleton: np.ndarray
    surface_m: float | None = None

    @property
    def views(self) -> tuple[str, ...]:
        """Cameras in view order."""
        return tuple(self.calibrations)

    def colour(self, view: str) -> Colour:
        """The view's colour (RGB)."""
        return COLOURS[self.views.index(view) % len(COLOURS)]

    def seen_by(self, view: str) -> dict[str, np.ndarray]:
        """Other view -> (rows, columns) bool: the patches of `view` that it may also see."""
        if self.mask is None:
            return {}
        count = self.patches[0] * self.patches[1]
        blocks = self.mask.reshape(len(self.views), count, len(self.views), count)
        own = blocks[self.views.index(view)]
        return {
            other: own[:, index].any(axis=1).reshape(self.patches)
            for index, other in enumerate(self.views)
            if other != view
        }


def skeleton(kinematics: ForwardKinematics, joints: Mapping[str, float]) -> np.ndarray:
    """(N, 2, 3) origins of each link and of the one it hangs on [m].

    What stands in the world is left out, and so is what hangs on a joint whose position is not known: a wheel
    or a lift that the robot profile does not have.
    """
    places = {link: _origin(kinematics, link, joints) for link in kinematics.links}
    ends = [
        (places[parent], places[link])
        for link, parent in kinematics.parents.items()
        if parent != WORLD and places[parent] is not None and places[link] is not None
    ]
    return np.array(ends).reshape(-1, 2, 3)


def _origin(kinematics: ForwardKinematics, link: str, joints: Mapping[str, float]) -> np.ndarray | None:
    """(3,) of a link in the world [m]; None: a joint on the way to it is not known."""
    try:
        return kinematics.pose(link, joints)[:3, 3]
    except ConfigError:
        return None


def overlay(
    moment: Moment, view: str, picture: np.ndarray, side: int = 0, corners: np.ndarray | None = None
) -> np.ndarray:
    """One camera's picture with everything drawn on it.

    Args:
        picture: (H, W, 3) uint8 RGB of the size that `moment` has for it.
        side: the picture is enlarged until its height is at least this [px]; 0: as it is.
        corners: (N, 3) in the world [m]: where a board's corners should be.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    scale = max(1, -(-side // picture.shape[0]))
    height, width = scale * picture.shape[0], scale * picture.shape[1]
    canvas = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    camera = moment.calibrations[view].resized(width, height)
    canvas = tint(canvas, {moment.colour(other): seen for other, seen in moment.seen_by(view).items()})
    pen = Pen(canvas, camera, inverse(moment.poses[view]), max(1.0, height / 300))
    for start, end in moment.skeleton:
        pen.link(start, end)
    for other in moment.views:
        if other != view:
            pen.frustum(
                moment.calibrations[other], moment.poses[other], moment.colour(other), moment.surface_m
            )
    pen.dots(np.zeros((0, 3)) if corners is None else corners, _CORNER)
    return canvas


def tint(picture: np.ndarray, seen: Mapping[Colour, np.ndarray]) -> np.ndarray:
    """Colour the patches that others see, dim those that nobody else sees, and mark by whom.

    Args:
        picture: (H, W, 3) uint8 RGB.
        seen: colour of another view -> (rows, columns) bool.
    """
    if not seen:
        return picture
    out = picture.astype(np.float32)
    rows, columns = next(iter(seen.values())).shape
    stripes = _stripes(picture.shape)
    for (row, column), box in _boxes(picture.shape, rows, columns):
        colours = np.array([colour for colour, mask in seen.items() if mask[row, column]], np.float32)
        if len(colours):
            out[box] += _TINT * (colours[stripes[box] % len(colours)] - out[box])
        else:
            grey = out[box].mean(axis=2, keepdims=True)
            out[box] = _SHADE * (0.35 * out[box] + 0.65 * grey)
    out = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    _mark(out, seen, rows, columns)
    return out


def _stripes(shape: Sequence[int]) -> np.ndarray:
    """(H, W) int: number of the diagonal stripe of a pixel; patches seen by several show all colours."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x + y) // max(2, shape[0] // 22)


def _mark(picture: np.ndarray, seen: Mapping[Colour, np.ndarray], rows: int, columns: int) -> None:
    """Outline each other view's region, a little inside so that two outlines show side by side."""
    width = max(1, round(picture.shape[0] / 200))
    for index, (colour, mask) in enumerate(seen.items()):
        inset = width * (2 * index + 1)
        for (row, column), (ys, xs) in _boxes(picture.shape, rows, columns):
            if not mask[row, column]:
                continue
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                if _at(mask, row + dy, column + dx):
                    continue
                _edge(picture, (ys, xs), (dy, dx), inset, width, colour, mask, (row, column))


def _edge(
    picture: np.ndarray,
    box: tuple[slice, slice],
    side: tuple[int, int],
    inset: int,
    width: int,
    colour: Colour,
    mask: np.ndarray,
    patch: tuple[int, int],
) -> None:
    """One side of a patch's outline, shortened where the outline turns a corner."""
    (ys, xs), (dy, dx), (row, column) = box, side, patch
    y0, y1, x0, x1 = ys.start, ys.stop, xs.start, xs.stop
    if dy:
        y = y0 + inset if dy < 0 else y1 - inset - width
        x0 += 0 if _at(mask, row, column - 1) else inset
        x1 -= 0 if _at(mask, row, column + 1) else inset
        picture[y : y + width, x0:x1] = colour
    else:
        x = x0 + inset if dx < 0 else x1 - inset - width
        y0 += 0 if _at(mask, row - 1, column) else inset
        y1 -= 0 if _at(mask, row + 1, column) else inset
        picture[y0:y1, x : x + width] = colour


def _at(mask: np.ndarray, row: int, column: int) -> bool:
    """The mask's value; nothing lies outside."""
    return 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])


def _boxes(shape: Sequence[int], rows: int, columns: int):
    """Patch index and its rows and columns of pixels."""
    ys = np.rint(np.linspace(0, shape[0], rows + 1)).astype(int)
    xs = np.rint(np.linspace(0, shape[1], columns + 1)).astype(int)
    for row in range(rows):
        for column in range(columns):
            yield (row, column), (slice(ys[row], ys[row + 1]), slice(xs[column], xs[column + 1]))
