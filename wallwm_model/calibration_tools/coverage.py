"""What the views collected so far still lack: regions of the picture, tilts, distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import View
from wallwm_model.transforms import angle_between

GRID = (3, 4)  # rows and columns of picture regions
TILT_RAD = np.radians(15.0)  # a view this oblique counts as tilted
TILTED_VIEWS = 3  # in each of the four directions
DISTANCE_RATIO = 1.5  # farthest to nearest board
NEW_SHARE = 0.04  # a view is new if its corners moved by this share of the width
NEW_RAD = np.radians(8.0)  # or if the board turned by this much

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("far left", "left", "right", "far right")
# Which way the board's back faces in the picture (x right, y down) when one of its sides is nearer.
TILTS = {
    "left side nearer": (-1, 0), "right side nearer": (1, 0), "top nearer": (0, -1), "bottom nearer": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """One thing that views must cover.

    Attributes:
        what: its name.
        found, wanted: how far it is covered.
        hint: what to do, while something lacks.
    """

    what: str
    found: float
    wanted: float
    hint: str = ""

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self.found / self.wanted)

    @property
    def met(self) -> bool:
        """Nothing lacks."""
        return self.found >= self.wanted


class Coverage:
    """The views of one collection.

    Args:
        board: what is looked for.
        size: (width, height) of the pictures [px].
        K, model, D: the lens, as far as it is known; only tilts and distances are judged by it.
        wanted: number of views.

    Attributes:
        views: those kept.
        poses: their (4, 4) T_optical_board by the given lens, or None.
    """

    def __init__(
        self, board: Board, size: tuple[int, int], K: np.ndarray, model: str, D: Sequence[float], wanted: int
    ) -> None:
        self.board, self.size, self.wanted = board, size, wanted
        self._lens = (np.asarray(K, np.float64), model, np.asarray(D, np.float64))
        self.views: list[View] = []
        self.poses: list[np.ndarray | None] = []

    @classmethod
    def guessed(cls, board: Board, size: tuple[int, int], model: str, wanted: int) -> Coverage:
        """For a lens of which only the kind is known: a usual field of view is assumed."""
        f = size[0] * (0.4 if model == "equidistant" else 0.9)
        K = np.array([[f, 0, (size[0] - 1) / 2], [0, f, (size[1] - 1) / 2], [0, 0, 1]])
        return cls(board, size, K, model, np.zeros(lens.MODELS[model]), wanted)

    def add(self, view: View) -> None:
        """Keep a view."""
        self.views.append(view)
        self.poses.append(self._pose(view))

    def is_new(self, view: View) -> bool:
        """Whether a view differs enough from all that are kept."""
        pose = self._pose(view)
        for other, kept in zip(self.views, self.poses):
            _, mine, theirs = np.intersect1d(view.ids, other.ids, return_indices=True)
            if not len(mine):
                continue
            moved = np.linalg.norm(view.pixels[mine] - other.pixels[theirs], axis=1).mean() / self.size[0]
            turned = np.inf if pose is None or kept is None else angle_between(pose[:3, :3], kept[:3, :3])
            if moved < NEW_SHARE and turned < NEW_RAD:
                return False
        return True

    def grid(self) -> np.ndarray:
        """(rows, columns) corners seen in each region of the picture."""
        if not self.views:
            return np.zeros(GRID, int)
        x, y = np.concatenate([view.pixels for view in self.views]).T
        edges = (np.linspace(0, self.size[1], GRID[0] + 1), np.linspace(0, self.size[0], GRID[1] + 1))
        return np.histogram2d(y, x, bins=edges)[0].astype(int)

    def needs(self) -> list[Need]:
        """What intrinsics need, in the order in which it is shown."""
        count = len(self.views)
        needs = [Need("views", count, self.wanted, "show the board from somewhere else")]
        grid = self.grid()
        empty = np.argwhere(grid < 4)
        where = f"show it {_ROWS[empty[0][0]]} {_COLUMNS[empty[0][1]]}" if len(empty) else ""
        needs.append(Need("picture regions", int((grid >= 4).sum()), grid.size, where))
        tilts = self.tilts()
        for name, (x, y) in TILTS.items():
            # Half of the tilt must lie in the direction; diagonal tilts count for both.
            along = [t for t in tilts if t @ (x, y) > 0.5 * TILT_RAD and np.linalg.norm(t) > TILT_RAD]
            needs.append(Need(name, len(along), TILTED_VIEWS, f"tilt the board: {name}"))
        distances = [float(pose[:3, 3] @ (0, 0, 1)) for pose in self.poses if pose is not None]
        ratio = max(distances) / max(min(distances), 1e-6) if distances else 0.0
        needs.append(Need("near and far", round(ratio, 2), DISTANCE_RATIO, "change the distance"))
        return needs

    def tilts(self) -> np.ndarray:
        """(V, 2) tilt of each board against the line of sight [rad], as a vector in the picture."""
        out = []
        for pose in self.poses:
            if pose is None:
                continue
            sight = pose[:3, :3] @ self.board.centre + pose[:3, 3]
            sight /= np.linalg.norm(sight)
            normal = pose[:3, 2]
            angle = np.arccos(np.clip(normal @ sight, -1, 1))
            side = (normal - sight * (normal @ sight))[:2]
            out.append(side / max(np.linalg.norm(side), 1e-9) * angle)
        return np.array(out).reshape(-1, 2)

    def _pose(self, view: View) -> np.ndarray | None:
        found = lens.board_pose(self.board.corners[view.ids], view.pixels, *self._lens)
        return None if found is None else lens.transform(*found)


def rotation_spread(rotations: Sequence[np.ndarray]) -> tuple[float, float]:
    """How far rotations differ: about the main axis and about the best axis across it [rad, RMS of pairs].

    A second value near 0 means that all turns are about one axis (or that there are none).
    """
    turns = []
    for i, R in enumerate(rotations):
        for other in rotations[:i]:
            turns.append(cv2.Rodrigues(R @ other.T)[0].ravel())
    if not turns:
        return 0.0, 0.0
    singular = np.linalg.svd(np.array(turns), compute_uv=False) / np.sqrt(len(turns))
    return float(singular[0]), float(singular[1]) if len(singular) > 1 else 0.0
