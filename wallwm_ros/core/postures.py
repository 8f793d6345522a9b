"""When to take a picture: the robot stands still, in a posture that has not been looked at yet."""

from __future__ import annotations

import numpy as np

STILL_RAD = 0.004  # joints that move less than this are still [rad, m]; encoders flicker by less
STILL_NS = 400_000_000  # for this long [ns]
APART_RAD = 0.05  # a posture is another one from here on, in any joint [rad, m]


class PostureGate:
    """Tells postures worth a picture from motion and from those already taken."""

    def __init__(self, still_ns: int = STILL_NS) -> None:
        self._still_ns = still_ns
        self._anchor: np.ndarray | None = None
        self._since_ns = 0
        self._taken: list[np.ndarray] = []

    def offer(self, stamp_ns: int, joints: np.ndarray) -> str:
        """`moving`, `known` or `new`, for joints (D,) [rad, m] stamped `stamp_ns` [ns]."""
        if self._anchor is None or np.abs(joints - self._anchor).max(initial=0.0) > STILL_RAD:
            self._anchor, self._since_ns = joints.copy(), stamp_ns
        if stamp_ns - self._since_ns < self._still_ns:
            return "moving"
        near = any(np.abs(joints - taken).max(initial=0.0) < APART_RAD for taken in self._taken)
        return "known" if near else "new"

    def take(self, joints: np.ndarray) -> None:
        """A picture was taken at these joints."""
        self._taken.append(joints.copy())
