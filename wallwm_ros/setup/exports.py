"""Repair of the CMake exports in the ROS wheels: they name folders of the machine that built them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# Include folders of a foreign interpreter, and of the numpy inside it.
_PYTHON_INCLUDE = re.compile(r"/[^;\"'\s]*/include/python3\.\d+\w*")
_NUMPY_INCLUDE = re.compile(r"/[^;\"'\s]*/numpy/(?:_core|core)/include")


def repair_exports(venv: Path, python: Path) -> int:
    """Point every CMake export under `<venv>/share` to this environment's own headers.

    Returns the number of files changed; a second call changes none.
    """
    python_include, numpy_include = _own_includes(python)
    changed = 0
    for path in sorted((venv / "share").glob("*/cmake/*.cmake")):
        old = path.read_text(encoding="utf-8")
        new = repaired(old, python_include, numpy_include)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed += 1
    return changed


def repaired(text: str, python_include: str, numpy_include: str) -> str:
    """The export's text with both kinds of foreign include folder replaced."""
    text = _PYTHON_INCLUDE.sub(lambda _: python_include, text)
    return _NUMPY_INCLUDE.sub(lambda _: numpy_include, text)


def _own_includes(python: Path) -> tuple[str, str]:
    code = "import sysconfig, numpy; print(sysconfig.get_path('include')); print(numpy.get_include())"
    done = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True)
    python_include, numpy_include = done.stdout.splitlines()
    return python_include, numpy_include
