"""The environment variables under which everything of this project runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from wallwm_ros.setup.paths import Paths
from wallwm_ros.setup.underlay import Underlay
from wallwm_ros.shared_memory import profile_file

PACKAGES = ("wallwm_ros", "wallwm_msgs")
PROFILE_VARIABLES = {2: "FASTRTPS_DEFAULT_PROFILES_FILE", 3: "FASTDDS_DEFAULT_PROFILES_FILE"}
FAST_DDS_2 = ("humble", "iron", "jazzy")


def profile_variable(distro: str) -> str:
    """Name of the variable from which this distribution's Fast DDS reads its profile."""
    return PROFILE_VARIABLES[2 if distro in FAST_DDS_2 else 3]


def build_environment(paths: Paths, underlay: Underlay | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment for colcon: the sourced ROS 2, or else the wheels as the only prefix."""
    env = dict(environ)
    env["VIRTUAL_ENV"] = str(paths.venv)
    env["PATH"] = _join([paths.venv / "bin"], env.get("PATH"))
    env.pop("PYTHONHOME", None)
    env["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] = "1"
    if underlay is None:
        env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(paths.venv)
        env["LD_LIBRARY_PATH"] = _join(_wheel_libraries(paths), None)
        env["ROS_DISTRO"] = "kilted"
        env["ROS_VERSION"] = "2"
        env.pop("PYTHONPATH", None)
    return env


def runtime_environment(
    paths: Paths, underlay: Underlay | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """Environment for nodes, tools and tests.

    The checkout comes first on PYTHONPATH, so edits take effect at once. Variables that a user may choose
    (middleware, Fast DDS profile, thread waiting) are only filled in where absent.
    """
    env = build_environment(paths, underlay, environ)
    prefixes = [paths.install / name for name in PACKAGES]
    env["AMENT_PREFIX_PATH"] = _join(prefixes, env.get("AMENT_PREFIX_PATH"))
    env["LD_LIBRARY_PATH"] = _join([paths.install / "wallwm_msgs" / "lib"], env.get("LD_LIBRARY_PATH"))
    env["PYTHONPATH"] = _join([paths.root, *_python_folders(paths)], environ.get("PYTHONPATH"))
    env["WALLWM_ROOT"] = str(paths.root)
    env.setdefault("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if not any(name in env for name in PROFILE_VARIABLES.values()):
        env[profile_variable(env.get("ROS_DISTRO", ""))] = str(profile_file(paths.root / "config"))
    # Idle OpenMP workers that spin steal the cores that the control loop needs.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env


def _wheel_libraries(paths: Paths) -> list[Path]:
    bundled = sorted(paths.venv.glob("lib/python3*/site-packages/ros_*.libs"))
    return [paths.venv / "lib", *bundled]


def _python_folders(paths: Paths) -> list[Path]:
    base = paths.install / "wallwm_msgs"
    patterns = ("lib/python3*/*-packages", "local/lib/python3*/*-packages")
    messages = [path for pattern in patterns for path in sorted(base.glob(pattern))]
    # The installed executables find their entry points through the metadata that colcon keeps here.
    return [*messages, paths.build / "wallwm_ros"]


def _join(first: Iterable[Path], rest: str | None) -> str:
    """First entries in front of the others, nothing twice."""
    entries = [str(path) for path in first] + [entry for entry in (rest or "").split(os.pathsep) if entry]
    return os.pathsep.join(dict.fromkeys(entries))
