"""Where set-up puts things, all inside the checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Folders and files of one checkout."""

    root: Path

    @classmethod
    def of_this_checkout(cls) -> Paths:
        return cls(Path(__file__).resolve().parents[2])

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def requirements(self) -> Path:
        return self.root / "requirements"

    @property
    def messages(self) -> Path:
        return self.root / "wallwm_msgs"

    @property
    def install(self) -> Path:
        return self.root / "install"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def stamp(self) -> Path:
        """What has been set up; inside the environment, so that it goes when the environment goes."""
        return self.venv / "wallwm-setup.json"

    @property
    def unfinished(self) -> Path:
        """Exists while packages are being installed; left behind only if that was cut off."""
        return self.venv / "wallwm-unfinished"

    @property
    def lock(self) -> Path:
        return self.root / ".wallwm-setup.lock"

    @property
    def log(self) -> Path:
        return self.root / ".wallwm-setup.log"
