"""What pip cannot bring: a C++ compiler (needed) and OpenGL libraries (faster cameras)."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Sequence

from wallwm_ros.setup.errors import SetupError

TOOLS = {"g++": "g++", "cmake": "cmake", "make": "make"}
GL_PACKAGES = ("libegl1", "libgl1", "libegl-mesa0", "libgl1-mesa-dri", "libosmesa6")

Install = Callable[[Sequence[str]], None]


def need_compiler(install: Install) -> None:
    """Make sure that g++, cmake and make are there.

    Raises SetupError with the command to give when they are missing and cannot be installed from here.
    """
    missing = missing_tools()
    if not missing:
        return
    remedy = f"sudo apt-get install -y {' '.join(TOOLS[name] for name in missing)}"
    sentence = f"Building the ROS 2 messages needs {' and '.join(missing)}; install with: {remedy}"
    if not can_install():
        raise SetupError(sentence)
    try:
        install([TOOLS[name] for name in missing])
    except SetupError as error:
        raise SetupError(f"{sentence} (tried, but {error})") from None


def want_gl(install: Install) -> None:
    """Install OpenGL libraries where possible; without them the cameras are ray-cast, only slower."""
    if gl_available():
        return
    if can_install():
        for package in GL_PACKAGES:  # one by one: not every release of Debian or Ubuntu has all of them
            try:
                install([package])
            except SetupError:
                continue
    if not gl_available():
        remedy = "sudo apt-get install -y libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri"
        print(f"Note: no OpenGL found, so cameras are ray-cast; faster with: {remedy}", file=sys.stderr)


def missing_tools() -> list[str]:
    return [name for name in TOOLS if shutil.which(name) is None]


def gl_available() -> bool:
    """True when an off-screen renderer's libraries load: EGL with GL, or OSMesa."""
    egl = all(map(_loads, ("libEGL.so.1", "libGL.so.1")))
    return egl or any(map(_loads, ("libOSMesa.so.8", "libOSMesa.so")))


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
