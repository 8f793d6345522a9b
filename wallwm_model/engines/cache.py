"""Where engines that were built for one GPU are kept: the user's own cache, nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

from wallwm_model.errors import EngineError


def cache_folder(kind: str) -> Path:
    """A folder in the user's cache, made if it is not there, that only the user can write.

    Built engines hold machine code. They are made here, from a verified bundle, and never read from a bundle.

    Raises:
        EngineError: the folder is another user's, or others can write to it.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "wallwm_ros" / kind
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise EngineError(f"the cache {folder} must belong to this user alone (chmod 700); it does not")
    return folder
