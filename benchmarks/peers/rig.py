"""What every peer is given: the same three cameras, the same joints, the same slow policy; numpy alone.

Runs in the peers' own environment, beside their packages, and imports nothing of this project.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np

CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
SIZE = 192  # [px]
CAMERA_HZ = 30.0
JOINTS = 14
ACTION_HZ = 30.0
STEPS = 32  # of a chunk
ASK_AFTER = 4  # steps of a chunk that are used before the next one is wanted
SECOND = 1_000_000_000
_PICTURES = 8


class Rig:
    """Cameras that stamp and keep their newest picture, as a driver's thread does, and joints that sweep."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._film = rng.integers(0, 256, (_PICTURES, len(CAMERAS), SIZE, SIZE, 3), dtype=np.uint8)
        self._newest: tuple[dict[str, np.ndarray], int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._shoot, daemon=True)
        self._thread.start()
        while self._newest is None:
            time.sleep(0.001)

    def latest(self) -> tuple[dict[str, np.ndarray], int]:
        """Camera name -> (H, W, 3) uint8, copied as from a driver's buffer; when they were taken [ns]."""
        pictures, stamp_ns = self._newest
        return {name: picture.copy() for name, picture in pictures.items()}, stamp_ns

    @staticmethod
    def joints() -> np.ndarray:
        """(JOINTS,) float32 [degrees]: always on the move, so that no filter takes two looks for one."""
        return np.full(JOINTS, 60.0 * np.sin(time.monotonic()), dtype=np.float32)

    def close(self) -> None:
        """End the cameras."""
        self._stop.set()
        self._thread.join(1.0)

    def _shoot(self) -> None:
        due_ns = time.monotonic_ns()
        for number in range(1 << 62):
            if self._stop.is_set():
                return
            film = self._film[number % _PICTURES]
            self._newest = dict(zip(CAMERAS, film, strict=True)), time.time_ns()
            due_ns += round(SECOND / CAMERA_HZ)
            time.sleep(max(0, due_ns - time.monotonic_ns()) / SECOND)


class SlowPolicy:
    """Thinks for a while, and says for how long it really did.

    Args:
        low_ms, high_ms: thinking time, drawn evenly from this range [ms].
    """

    def __init__(self, low_ms: float, high_ms: float) -> None:
        self._low_ms, self._high_ms = low_ms, high_ms
        self._rng = np.random.default_rng(1)

    def think(self) -> tuple[np.ndarray, float]:
        """(STEPS, JOINTS) float32 actions, and how long it took [s]."""
        began = time.perf_counter()
        time.sleep(self._rng.uniform(self._low_ms, self._high_ms) / 1000)
        return np.zeros((STEPS, JOINTS), np.float32), time.perf_counter() - began


class Diary:
    """Notes each chunk once: from its pictures to the moment the robot's process has it."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float]] = []
        self._known: set[int] = set()

    def note(self, stamp_ns: int, engine_s: float) -> None:
        """A chunk that was made of the pictures of `stamp_ns` is there."""
        now_ns = time.time_ns()
        if stamp_ns not in self._known:
            self._known.add(stamp_ns)
            self._rows.append((now_ns - stamp_ns, engine_s))

    def write(self, path: str) -> None:
        """Leave {overhead_ms, total_ms} of every chunk, in order."""
        total = [whole / 1e6 for whole, _ in self._rows]
        overhead = [whole / 1e6 - 1000 * engine for whole, engine in self._rows]
        Path(path).write_text(json.dumps({"overhead_ms": overhead, "total_ms": total}), encoding="utf-8")
