"""Pictures, and the robot's joints when they were taken, from a folder or a stream."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wallwm_model.errors import CalibrationError
from wallwm_model.yaml_files import read_yaml

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
STILL = 3e-3  # joints that move less than this count as still [rad, m]
STILL_NS = 300_000_000  # for this long before and after a picture
NEAR_NS = 100_000_000  # joint states farther from a picture than this say nothing about it
Joints = Mapping[str, float]


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        source: its name, for people.
        picture: (H, W) grey or (H, W, 3) RGB uint8.
        stamp_ns: when it was taken; 0 where unknown.
        joints: joint name -> position [rad, m]; None where unknown.
        moving: the robot moved while it was taken.
    """

    source: str
    picture: np.ndarray
    stamp_ns: int = 0
    joints: Joints | None = None
    moving: bool = False


def folder_frames(folder: Path, joints: Path | None = None) -> Iterator[Frame]:
    """The pictures of a folder in the order of their names.

    Args:
        folder: holds the pictures; other files are passed over.
        joints: CSV with a column `image` and one per joint, or YAML from image names to mappings from joints
            to positions [rad, m]; None: `joints.csv` or `joints.yaml` in the folder if there is one.

    Raises:
        CalibrationError: no such folder, no picture in it, one that cannot be read, or joints that do not
            fit.
    """
    if not folder.is_dir():
        raise CalibrationError(f"--images must be a folder of pictures; found no folder {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not files:
        raise CalibrationError(f"{folder} must hold pictures ({', '.join(ENDINGS)}); found none")
    if joints is None:
        joints = next((folder / n for n in ("joints.csv", "joints.yaml") if (folder / n).is_file()), None)
    known = read_joints(joints) if joints else {}
    if joints and not any(path.name in known for path in files):
        raise CalibrationError(f"{joints} must name the pictures of {folder}; found none of them")
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise CalibrationError(f"{path} must be a picture; found data that cannot be decoded")
        yield Frame(path.name, picture, joints=known.get(path.name))


def read_joints(path: Path) -> dict[str, Joints]:
    """Joint positions of pictures, from CSV or YAML: picture's file name -> joint -> position [rad, m].

    Raises:
        CalibrationError: no such file, or not in the form described in `folder_frames`.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        body = read_yaml(path)
        rows = {str(image): entry for image, entry in body.items()}
    else:
        rows = _read_csv(path)
    out = {}
    for image, entry in rows.items():
        if not isinstance(entry, dict) or not entry:
            raise CalibrationError(f"{path}: {image} must map joints to positions; found {entry!r}")
        try:
            out[image] = {str(name): float(value) for name, value in entry.items()}
        except (TypeError, ValueError):
            raise CalibrationError(f"{path}: {image}: positions must be numbers; found {entry!r}") from None
        bad = [name for name, value in out[image].items() if not math.isfinite(value)]
        if bad:
            raise CalibrationError(f"{path}: {image}: positions must be finite; found {', '.join(bad)}")
    return out


def _read_csv(path: Path) -> dict[str, dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: must be CSV; {error}") from None
    if not rows or "image" not in rows[0]:
        columns = ", ".join(c for c in (rows[0] if rows else {}) if c) or "none"
        raise CalibrationError(f"{path}: must have a column image and one per joint; found {columns}")
    return {row["image"]: {k: v for k, v in row.items() if k and k != "image"} for row in rows}


class JointTrack:
    """Joint positions over time, from messages that may each carry some of the joints."""

    def __init__(self) -> None:
        self._tracks: dict[str, tuple[list[int], list[float]]] = {}

    def add(self, stamp_ns: int, joints: Joints) -> None:
        """Positions [rad, m] at a time; older ones than the last are passed over."""
        for name, value in joints.items():
            stamps, values = self._tracks.setdefault(name, ([], []))
            if not stamps or stamp_ns > stamps[-1]:
                stamps.append(stamp_ns)
                values.append(float(value))

    @property
    def newest_ns(self) -> int:
        """Time up to which every joint is known; 0 if none is."""
        return min((stamps[-1] for stamps, _ in self._tracks.values()), default=0)

    def at(self, stamp_ns: int) -> tuple[dict[str, float], bool]:
        """Positions at a time, linear between messages, and whether one of the joints was moving then.

        Joints without a message near that time are left out.
        """
        joints, moving = {}, False
        for name, (stamps, values) in self._tracks.items():
            times = np.array(stamps, np.int64) - stamp_ns
            if not len(times) or np.abs(times).min() > NEAR_NS:
                continue
            joints[name] = float(np.interp(0.0, times.astype(np.float64), values))
            around = np.array(values)[np.abs(times) <= STILL_NS]
            moving = moving or float(np.ptp(around)) > STILL
        return joints, moving

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what is older than a time."""
        for name, (stamps, values) in self._tracks.items():
            first = int(np.searchsorted(stamps, stamp_ns))
            first = min(first, len(stamps) - 1)
            self._tracks[name] = (stamps[first:], values[first:])
