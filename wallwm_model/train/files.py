"""Files that are there whole or not at all, however a training ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside its place, then put it there at once."""
    new = path.with_name(f"{path.name}.new")
    write(new)
    new.rename(path)
