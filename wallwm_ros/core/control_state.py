"""What the control process can be doing, what it measures, and what it says of each period."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np


class ControlState(IntEnum):
    """The numbers of `ControlStatus`."""

    HOLD = 0
    TRACKING = 1
    STOPPING = 2
    INACTIVE = 3
    ESTOPPED = 4
    TAKEOVER = 5


@dataclass(frozen=True)
class Measured:
    """Measured values of all columns.

    Attributes:
        positions: (D,) [rad, m], finite.
        time_ns: when the oldest part was received, in the control clock [ns].
    """

    positions: np.ndarray
    time_ns: int


@dataclass(frozen=True)
class Status:
    """What the controller did in one tick; fields as in `ControlStatus`.

    Attributes:
        command: (D,) to be sent [rad, m]; None: nothing may be sent.
        velocity: (D,) of the command [unit/s].
        measured: (D,) [rad, m]; None: not known.
        seam_velocity, seam_acceleration: changes in the first period of the newest chunk, as shares of what
            the limits of acceleration and jerk allow in it.
    """

    time_ns: int
    state: ControlState
    reason: str
    generation: int
    sequence: int
    step: int
    steps: int
    settled: bool
    command: np.ndarray | None = field(repr=False)
    velocity: np.ndarray = field(repr=False)
    measured: np.ndarray | None = field(repr=False)
    rejected: int
    dropped_steps: int = 0
    seam_velocity: float = 0.0
    seam_acceleration: float = 0.0
    missed_periods: int = 0
