"""When a board is hardly ever found: which mistake explains it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from wallwm_model.calibration_tools.board import DICTIONARIES, Board
from wallwm_model.calibration_tools.detect import REASONS, Detector, Miss, View, layout_fits

_ENOUGH = 4  # markers that are no accident
_LARGEST = 25  # columns tried


def diagnose(board: Board, missed: Sequence[Miss], pictures: Sequence[np.ndarray]) -> str:
    """One clause: what the pictures that were not used show.

    Args:
        board: as told by the user.
        missed: all pictures not used.
        pictures: (H, W) uint8 grey, a few of these.
    """
    counts = Counter(miss.reason for miss in missed)
    if not counts:
        return "no pictures came"
    listed = ", ".join(f"{count} {REASONS[reason]}" for reason, count in counts.most_common())
    reason = counts.most_common(1)[0][0]
    if reason == "mirrored":
        advice = "the pictures are mirrored; switch the camera driver's flip off, or print the board anew"
        return f"{listed}: {advice}"
    hint = ""
    if reason == "none":
        hint = _other_dictionary(board, pictures)
    elif reason in ("ids", "layout"):
        hint = _other_size(board, pictures)
    elif reason == "blurred":
        hint = "hold board and camera still, add light, focus"
    elif reason == "line":
        hint = "bring more rows of the board into the picture"
    elif reason == "few":
        hint = _other_pattern(board, pictures) or "bring more of the board into the picture, or nearer"
    return f"{listed}: {hint}" if hint else listed


def _other_dictionary(board: Board, pictures: Sequence[np.ndarray]) -> str:
    """The dictionary of the markers in the pictures. Larger ones of a family begin with the smaller."""
    found: Counter[tuple[str, ...]] = Counter()
    highest: dict[tuple[str, ...], int] = {}
    for picture in pictures[:3]:
        for family in _families():
            largest = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, family[-1]))
            ids = cv2.aruco.ArucoDetector(largest).detectMarkers(picture)[1]
            if ids is not None:
                found[family] += len(ids)
                highest[family] = max(highest.get(family, 0), int(ids.max()))
        if found and found.most_common(1)[0][1] >= _ENOUGH:
            break
    else:
        return ""
    family = found.most_common(1)[0][0]
    name = next(n for n in family if _length(n) > highest[family])
    return "" if board.dictionary in family else f"the markers are those of {name}, not of {board.dictionary}"


def _families() -> list[tuple[str, ...]]:
    """Dictionaries grouped by kind of marker, each from small to large."""
    kinds: dict[str, list[str]] = {}
    for name in DICTIONARIES:
        kind = name if "APRILTAG" in name else name.rpartition("_")[0]
        kinds.setdefault(kind, []).append(name)
    return [tuple(sorted(names, key=_length)) for names in kinds.values()]


def _other_pattern(board: Board, pictures: Sequence[np.ndarray]) -> str:
    """Boards with an even number of rows changed in OpenCV 4.6: their markers fit, their corners do not."""
    other = Detector(replace(board, legacy=not board.legacy))
    if not any(isinstance(other.find(picture), View) for picture in pictures):
        return ""
    return f"the pattern {'is not' if board.legacy else 'is'} that of OpenCV before 4.6 (--legacy)"


def _length(name: str) -> int:
    return len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name)).bytesList)


def _other_size(board: Board, pictures: Sequence[np.ndarray]) -> str:
    """The number of columns under which the markers lie in a grid; rows follow from the highest id."""
    detector = Detector(board)
    seen = [detector.markers(picture) for picture in pictures]
    seen = [(places, ids) for places, ids in seen if len(ids) >= _ENOUGH]
    if not seen:
        return ""
    highest = max(int(ids.max()) for _, ids in seen)
    fitting = []
    for columns in range(3, _LARGEST + 1):
        rows = max(3, int(np.ceil(2 * (highest + 1) / columns)))
        if columns * rows // 2 > len(board.markers.bytesList):
            continue
        other = Board(columns, rows, board.square_m, board.marker_m, board.dictionary, board.legacy)
        if all(layout_fits(other, places, ids) for places, ids in seen):
            fitting.append(f"{columns}x{rows}")
    told = f"{board.columns}x{board.rows}"
    if not fitting:
        return f"the markers do not lie as on a board of {told} squares"
    return f"the markers lie as on a board of {' or '.join(fitting)} squares, not {told}"
