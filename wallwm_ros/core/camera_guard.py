"""Are the cameras still those of bundle and calibration? Verdicts on the CameraInfo that they publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wallwm_model.errors import ConfigError, WallWMError
from wallwm_ros.core.synchronizer import Unsound


class CameraInfoGuard:
    """Remembers what every camera published last and what is wrong with it.

    Args:
        topics: camera -> where its CameraInfo is published; empty: nowhere.
        check: camera name and CameraInfo; raises a `WallWMError` if they do not go together.

    Attributes:
        problems: camera -> one sentence, for those whose CameraInfo contradicts bundle or calibration.
    """

    def __init__(self, topics: Mapping[str, str], check: Callable[[str, Any], None]) -> None:
        self._topics, self._check = dict(topics), check
        self._last: dict[str, Any] = {}
        self.problems: dict[str, str] = {}

    @property
    def unheard(self) -> tuple[str, ...]:
        """Cameras whose CameraInfo should have come, and has not yet."""
        return tuple(name for name, topic in self._topics.items() if topic and name not in self._last)

    @property
    def verdicts(self) -> dict[str, str]:
        """Camera -> what is known of it, in words."""
        return {name: self._verdict(name, topic) for name, topic in self._topics.items()}

    def hear(self, camera: str, info: Any) -> bool:
        """Take in a CameraInfo, check it if it has changed, and tell whether the verdict has changed."""
        if camera in self._last and self._last[camera] == info:
            return False
        before, self._last[camera] = self.problems.pop(camera, ""), info
        try:
            self._check(camera, info)
        except WallWMError as error:
            self.problems[camera] = str(error)
        return before != self.problems.get(camera, "")

    def demand(self, *, all_known: bool) -> None:
        """Refuse to go on with a camera that is not the right one; `all_known`: nor with one that never told.

        Raises:
            ConfigError: the first problem, or the cameras without CameraInfo.
        """
        if self.problems:
            raise ConfigError(next(iter(self.problems.values())))
        unknown = [name for name in self._topics if name not in self._last]
        if all_known and unknown:
            found = "; ".join(f"{name}: {self._verdict(name, self._topics[name])}" for name in unknown)
            raise ConfigError(f"require_camera_info needs the CameraInfo of every camera; {found}")

    def _verdict(self, name: str, topic: str) -> str:
        if not topic:
            return "not checked: the robot profile names no info_topic"
        if name not in self._last:
            return f"not checked: nothing has come from {topic}"
        return self.problems.get(name, "as calibrated")

    def objection(self) -> Unsound | None:
        """Why no observation may be made at present, if so."""
        if not self.problems:
            return None
        camera, text = next(iter(self.problems.items()))
        return Unsound(camera, "camera_info", text)
