"""Where a calibration is written: beside the file in use, or into it when that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model.calibration import Calibration, CameraCalibration, load_calibration, save_calibration
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import angle_between
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot import RobotProfile

Say = Callable[[str], None]


def calibration_file(profile: RobotProfile, camera: str, file: Path | None) -> Path:
    """A given calibration file, else the one that the profile names, else calibration/<robot>.yaml.

    It need not exist: before the first calibration it does not.
    """
    if file is not None:
        return file
    named = next((c.calibration for c in profile.cameras if c.name == camera and c.calibration), None)
    return data_path("calibration") / (named or f"{profile.name}.yaml")


@dataclass(frozen=True)
class Place:
    """The calibration file of a camera and the draft beside it.

    Attributes:
        file: in use.
        draft: what was found and not yet taken over.
        write: take over at once.
    """

    file: Path
    draft: Path
    write: bool

    @classmethod
    def of(cls, profile: RobotProfile, camera: str, file: Path | None, write: bool) -> Place:
        """Where this camera's calibration is kept.

        Raises:
            ConfigError: in a folder that does not exist.
        """
        path = calibration_file(profile, camera, file)
        if not path.parent.is_dir():
            raise ConfigError(f"--file must lie in an existing folder; found no folder {path.parent}")
        return cls(path, path.with_suffix(".new.yaml"), write)

    def read(self, robot: str) -> Calibration:
        """What is known: the draft if it is newer than the file, so that one measurement builds on another.

        Raises:
            ConfigError: a file that is not sound, or of another robot.
        """
        newer = self.draft.is_file() and (
            not self.file.is_file() or self.draft.stat().st_mtime_ns > self.file.stat().st_mtime_ns
        )
        return _read(self.draft if newer else self.file, robot)

    def save(
        self, known: Calibration, new: CameraCalibration, old: CameraCalibration | None, say: Say
    ) -> Path:
        """Write, and say what changed and how to take it over.

        With `write` only this camera changes in the file in use; a draft's values for other cameras, which
        nobody has accepted, stay in the draft.
        """
        if not self.write:
            save_calibration(self.draft, known.replaced(new))
        else:
            used = _read(self.file, known.robot)
            save_calibration(self.file, used.replaced(new))
        path = self.file if self.write else self.draft
        for line in describe(new, old):
            say(line)
        say(f"written to {path}")
        if not self.write:
            say(
                f"{self.file} is as it was; to take the new values over: mv {path} {self.file} (or repeat "
                "with --write)"
            )
            return path
        others = [name for name, camera in known.cameras.items() if used.cameras.get(name) != camera]
        others = [name for name in others if name != new.name]
        if others:
            save_calibration(self.draft, known.replaced(new))
            say(f"not taken over, and still in {self.draft}: new values of {', '.join(others)}")
        return path


def _read(path: Path, robot: str) -> Calibration:
    """A robot's calibration; without a file, one without cameras."""
    if not path.is_file():
        return Calibration(robot, {})
    found = load_calibration(path)
    if found.robot != robot:
        raise ConfigError(f"{path}: robot must be {robot!r}; found {found.robot!r}")
    return found


def describe(new: CameraCalibration, old: CameraCalibration | None) -> list[str]:
    """What a camera's calibration says, and how far it is from the one before, for people."""
    fx, fy, cx, cy = new.K[0, 0], new.K[1, 1], new.K[0, 2], new.K[1, 2]
    lines = [
        f"{new.name}: {new.width}x{new.height}, {new.distortion_model}, fx {fx:.2f}, fy {fy:.2f}, "
        f"cx {cx:.2f}, cy {cy:.2f} px, on {new.link}"
    ]
    if old is not None and old.link == new.link:
        was, now = old.T_link_camera_optical, new.T_link_camera_optical
        moved_mm = 1e3 * np.linalg.norm(now[:3, 3] - was[:3, 3])
        turned_deg = np.degrees(angle_between(was[:3, :3], now[:3, :3]))
        change = 100 * (new.K[0, 0] / new.width) / (old.K[0, 0] / old.width) - 100
        lines.append(
            f"against the calibration of {old.provenance.date}: mount {moved_mm:.1f} mm and {turned_deg:.2f} "
            f"degrees away, focal length {change:+.2f} %"
        )
    return lines
