"""Where the package's data files lie: beside the sources, or in an installed share directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from wallwm_model.errors import ConfigError

PACKAGE = "wallwm_ros"


def roots() -> list[Path]:
    """Directories that may hold config/, models/ and calibration/, the first existing one wins."""
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [sys.prefix]
    return [Path(__file__).resolve().parents[2], *(Path(prefix) / "share" / PACKAGE for prefix in prefixes)]


def data_path(relative: str) -> Path:
    """Path of a data file or directory, e.g. `config/robots` or `models/nano`.

    Raises:
        ConfigError: it lies under none of the roots.
    """
    for root in roots():
        if (root / relative).exists():
            return root / relative
    places = ", ".join(str(root) for root in roots())
    raise ConfigError(f"expected {relative} of package {PACKAGE}; found it in none of {places}")
