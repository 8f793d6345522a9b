"""Where a measured calibration is written: beside the file in use, or into it when that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from wallwm_model.calibration import Calibration, CameraCalibration, load_calibration, save_calibration
from wallwm_model.errors import ConfigError
from wallwm_ros.calibrate.files import calibration_file, describe
from wallwm_ros.core.robot import RobotProfile


@dataclass(frozen=True)
class Place:
    """The calibration file of a camera and the draft beside it.

    Attributes:
        file: in use.
        draft: what was measured and not yet taken over.
        write: take over at once.
    """

    file: Path
    draft: Path
    write: bool

    @classmethod
    def of(cls, profile: RobotProfile, camera: str, file: Path | None, write: bool) -> Place:
        """Where this camera's calibration is kept."""
        path = calibration_file(profile, camera, file)
        return cls(path, path.with_suffix(".new.yaml"), write)

    def read(self, robot: str) -> Calibration:
        """What is known: the draft if it is newer than the file, so that one measurement builds on another.

        Raises:
            ConfigError: a file that is not sound, or of another robot.
        """
        path = self.file
        if self.draft.is_file() and (
            not path.is_file() or self.draft.stat().st_mtime_ns > path.stat().st_mtime_ns
        ):
            path = self.draft
        if not path.is_file():
            return Calibration(robot, {})
        found = load_calibration(path)
        if found.robot != robot:
            raise ConfigError(f"{path}: robot must be {robot!r}; found {found.robot!r}")
        return found

    def save(
        self, known: Calibration, new: CameraCalibration, old: CameraCalibration | None, console: Console
    ) -> Path:
        """Write, and say what changed and how to take it over."""
        path = self.file if self.write else self.draft
        if not path.parent.is_dir():
            raise ConfigError(f"--file must lie in an existing folder; found no folder {path.parent}")
        save_calibration(path, known.replaced(new))
        for line in describe(new, old):
            console.print(escape(line))
        console.print(f"[green]written[/] {escape(str(path))}")
        if not self.write:
            console.print(
                f"{escape(str(self.file))} is as it was; to take the new values over: "
                f"mv {escape(str(path))} {escape(str(self.file))} (or repeat with --write)",
                soft_wrap=True,
            )
        return path
