"""Is a ROS 2 installation sourced in this shell? Then it is used, and nothing of ROS is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wallwm_ros.setup.errors import SetupError


@dataclass(frozen=True)
class Underlay:
    """A sourced ROS 2: its name and the prefixes it consists of."""

    distro: str
    prefixes: tuple[Path, ...]


def find_underlay(environ: Mapping[str, str]) -> Underlay | None:
    """The sourced ROS 2, or None when there is none.

    A Python environment of ROS wheels (it has a pyvenv.cfg), such as another checkout's, is not one.

    Raises SetupError if the sourced ROS 2 was built for another Python than the one running.
    """
    prefixes = [Path(p) for p in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    prefixes = [p for p in prefixes if not (p / "pyvenv.cfg").exists()]
    homes = [p for p in prefixes if (p / "share" / "rclpy" / "package.xml").exists()]
    if not homes:
        return None
    found = sorted({p.parent.parent.name for home in homes for p in _rclpy_folders(home)})
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if found and wanted not in found and "python3" not in found:
        raise SetupError(
            f"The sourced ROS 2 in {homes[0]} is built for {' and '.join(found)}, but this is {wanted}: "
            f"name the right interpreter in WALLWM_PYTHON, or use a shell that has no ROS 2 sourced."
        )
    return Underlay(environ.get("ROS_DISTRO", "unknown"), tuple(prefixes))


def _rclpy_folders(prefix: Path) -> list[Path]:
    patterns = ("lib/python3*/*-packages/rclpy", "local/lib/python3*/*-packages/rclpy")
    return [path for pattern in patterns for path in prefix.glob(pattern)]
