"""The ChArUco board: a chessboard with markers in its white squares, so that a part of it is enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from wallwm_model.errors import CalibrationError

DICTIONARIES = tuple(
    name for name in sorted(dir(cv2.aruco)) if re.fullmatch(r"DICT_(\dX\d_\d+|APRILTAG_\w+[A-Z]\d+)", name)
)
MARGIN = 0.5  # white around the printed pattern [squares]


@dataclass(frozen=True)
class Board:
    """A printed board. Its frame: origin in the pattern's top left corner, x right, y down, z into the board.

    Attributes:
        columns, rows: squares across and down.
        square_m, marker_m: side of a square and of a marker, as measured on the print [m].
        dictionary: OpenCV's name of the marker dictionary.
        legacy: pattern as OpenCV made it before 4.6 (matters for an even number of rows).

    Raises:
        CalibrationError: sizes or dictionary that no board can have.
    """

    columns: int = 9
    rows: int = 6
    square_m: float = 0.030
    marker_m: float = 0.022
    dictionary: str = "DICT_5X5_100"
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.columns < 3 or self.rows < 3:
            raise CalibrationError(
                f"a board must have at least 3x3 squares; found {self.columns}x{self.rows}"
            )
        if not 0 < self.marker_m < self.square_m < 2:
            raise CalibrationError(
                "marker and square must be sizes in m with 0 < marker < square < 2; found marker "
                f"{self.marker_m:g} and square {self.square_m:g}"
            )
        if self.dictionary not in DICTIONARIES:
            raise CalibrationError(
                f"dictionary must be one of {', '.join(DICTIONARIES)}; found {self.dictionary!r}"
            )
        held = len(self.markers.bytesList)
        if self.columns * self.rows // 2 > held:
            raise CalibrationError(
                f"{self.dictionary} must hold a marker for each of the {self.columns * self.rows // 2} white "
                f"squares; found {held}: choose a larger dictionary"
            )

    @classmethod
    def parse(cls, squares: str, square_m: float, marker_m: float, dictionary: str, legacy: bool) -> Board:
        """A board from words of the command line, e.g. `9x6`.

        Raises:
            CalibrationError: see the class, or `squares` is not COLUMNSxROWS.
        """
        match = re.fullmatch(r"(\d+)x(\d+)", squares)
        if match is None:
            raise CalibrationError(f"the board must be COLUMNSxROWS squares, e.g. 9x6; found {squares!r}")
        return cls(int(match[1]), int(match[2]), square_m, marker_m, dictionary, legacy)

    @property
    def markers(self) -> cv2.aruco.Dictionary:
        """The marker dictionary."""
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))

    @cached_property
    def charuco(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's board."""
        size = (self.columns, self.rows)
        board = cv2.aruco.CharucoBoard(size, self.square_m, self.marker_m, self.markers)
        board.setLegacyPattern(self.legacy)
        return board

    @cached_property
    def corners(self) -> np.ndarray:
        """(N, 3) inner corners in the board frame [m], indexed by corner id."""
        return np.asarray(self.charuco.getChessboardCorners(), np.float64).reshape(-1, 3)

    @property
    def size_m(self) -> tuple[float, float]:
        """(width, height) of the pattern without its margin [m]."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def centre(self) -> np.ndarray:
        """(3,) middle of the pattern in the board frame [m]."""
        return np.array((*self.size_m, 0.0)) / (2, 2, 1)

    def picture(self, square_px: int) -> np.ndarray:
        """(H, W) uint8 grey; squares of `square_px` pixels, and a white margin of `MARGIN` squares."""
        margin = round(MARGIN * square_px)
        inner = self.charuco.generateImage((self.columns * square_px, self.rows * square_px), None, 0, 1)
        return cv2.copyMakeBorder(inner, *(margin,) * 4, cv2.BORDER_CONSTANT, value=255)

    def __str__(self) -> str:
        return (
            f"{self.columns}x{self.rows} squares of {self.square_m * 1e3:g} mm, "
            f"markers {self.marker_m * 1e3:g} mm, {self.dictionary}"
        )
