"""Shared memory of the nodes: which Fast DDS profile fits this machine, and what killed processes left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

SHARED = Path("/dev/shm")
MIB = 1024 * 1024
# Fast DDS reserves a process's whole segment at its start; where it cannot, it falls back to UDP, which loses
# pictures. Containers often have 64 MiB in all.
PROFILES = {"fastdds.xml": 64 * MIB, "fastdds_small.xml": 6 * MIB}
PROCESSES = 8
_SEGMENT = re.compile(r"^fastdds_[0-9a-f]{16}$")
_SETTLED_S = 10.0


def profile_file(config: Path, shared: Path = SHARED) -> Path:
    """The profile in `config` with the largest segment that this machine has room for."""
    try:
        free = os.statvfs(shared)
    except OSError:
        return config / "fastdds_small.xml"
    room = free.f_bavail * free.f_frsize
    fitting = [name for name, size in PROFILES.items() if PROCESSES * size <= room]
    return config / (fitting[0] if fitting else "fastdds_small.xml")


def remove_stale_segments(shared: Path = SHARED) -> int:
    """Remove the segments of processes that were killed; returns how many.

    A live process holds a lock on a file beside its segment, so a segment whose lock is free has no owner.
    """
    removed = 0
    for segment in shared.glob("fastdds_*"):
        if _SEGMENT.match(segment.name) and _is_stale(segment):
            for path in (segment, segment.with_name(f"{segment.name}_el")):
                with contextlib.suppress(OSError):
                    path.unlink()
            removed += 1
    return removed


def _is_stale(segment: Path) -> bool:
    try:
        # Somebody else's, or so new that its owner may not have taken the lock yet: hands off.
        status = segment.stat()
        if status.st_uid != os.getuid() or time.time() - status.st_ctime < _SETTLED_S:
            return False
        with segment.with_name(f"{segment.name}_el").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
