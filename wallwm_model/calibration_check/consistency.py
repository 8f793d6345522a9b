"""Which camera has been bumped, and by how much: the smallest explanation that the sightings do not reject.

Every sighting places the board in the world through forward kinematics and the camera's calibrated mount.
If nothing was touched, all places agree within the noise: corners, joints, and what calibration leaves over.
Each explanation sets some parts free (a camera's mount; the board, if its place was stored) and is
charged for each part what pure noise would gain by it once in 1 / `false_alarms` checks. For one part that is
exactly a likelihood-ratio test with six degrees of freedom, shared out over the parts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration_check.adjustment import Adjustment, Rig
from wallwm_model.calibration_check.prior import BOARD, Prior
from wallwm_model.errors import ObservationError

ODDS = 20.0  # one explanation must be this much likelier than the next, or both are named
FIT = 1e-6  # a chance this small that noise alone leaves so much over: something else is wrong
_FREEDOM = 6
_BLIND = 1.0  # a shift of a metre, or a turn of a radian, that costs no more than this does not show [1/m^2]


@dataclass(frozen=True)
class Shift:
    """How far a part is from where it should be.

    Attributes:
        part: a camera, or `board`.
        translation: (3,) of its origin, in its own frame [m]; for cameras x right, y down, z forward.
        mm, mm_sigma: its length and the standard deviation of that [mm].
        degrees, degrees_sigma: how far it has turned, likewise [degrees].
    """

    part: str
    translation: np.ndarray
    mm: float
    mm_sigma: float
    degrees: float
    degrees_sigma: float

    def __str__(self) -> str:
        turn = f"{self.degrees:.2f} ± {self.degrees_sigma:.2f} degrees"
        return f"{self.mm:.1f} ± {self.mm_sigma:.1f} mm and {turn}"


@dataclass(frozen=True)
class CameraFinding:
    """One camera's row of the report.

    Attributes:
        pictures: number of pictures in which it saw the board.
        pixel: standard deviation of its corners [px].
        chance: that noise alone makes this camera look as much out of place as it does.
        shift: how far off it would be if it alone had moved, besides the parts found off; None: nothing
            would show it.
        detectable_mm, detectable_deg: a move or turn of this size, in the direction seen worst, is just what
            the alarm takes.
    """

    camera: str
    pictures: int
    pixel: float
    chance: float
    shift: Shift | None
    detectable_mm: float
    detectable_deg: float


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes:
        off: parts that are not where they should be; empty: all is well.
        alternatives: other explanations of the same size that cannot be told from this one.
        fits: whether the explanation accounts for all that was seen.
        findings: one per camera that saw the board.
        unseen: cameras that never saw it, and so were not checked.
        T_world_board: (4, 4) where the board is [m].
        baseline: what is known now; a later check can count from it if nothing is off.
    """

    off: tuple[Shift, ...]
    alternatives: tuple[frozenset[str], ...]
    fits: bool
    findings: tuple[CameraFinding, ...]
    unseen: tuple[str, ...]
    T_world_board: np.ndarray
    baseline: Prior

    @property
    def bumped(self) -> frozenset[str]:
        """The cameras found off; a board that was put elsewhere is no fault."""
        return frozenset(shift.part for shift in self.off) - {BOARD}

    @property
    def named(self) -> frozenset[str]:
        """The cameras found off, if they are beyond doubt; else nothing."""
        return frozenset() if self.alternatives else self.bumped

    @property
    def suspects(self) -> frozenset[str]:
        """The cameras that one explanation or another finds off."""
        return self.bumped.union(*self.alternatives) - {BOARD}

    @property
    def blind(self) -> tuple[str, ...]:
        """Cameras that saw the board, but in pictures that no move of theirs would show in: not checked."""
        seen = (row for row in self.findings if row.camera not in self.suspects)
        return tuple(row.camera for row in seen if row.shift is None)

    @property
    def sound(self) -> bool:
        """Every camera was checked and is in place, and all that was seen is accounted for."""
        return self.fits and not (self.suspects or self.unseen or self.blind)


def check(rig: Rig, cameras: tuple[str, ...] = ()) -> Verdict:
    """Find the smallest explanation; `cameras` are all the robot has.

    Raises:
        ObservationError: one fixed camera alone, or one picture: there is nothing to compare with.
    """
    parts, known_board = rig.prior.parts, rig.prior.board is not None
    if len(rig.sightings) < 2 and not known_board:
        raise _nothing_to_compare(rig)
    price = quantile(rig.noise.false_alarms / len(parts), _FREEDOM)
    fits = {
        frozenset(chosen): rig.adjust(chosen)
        for size in range(len(parts))  # something must stay to measure against
        for chosen in itertools.combinations(parts, size)
    }
    best = min(fits.values(), key=lambda one: one.square_sum + price * len(one.released))
    rivals = tuple(
        one.released
        for one in fits.values()
        if len(one.released) == len(best.released)
        and one is not best
        and one.square_sum - best.square_sum < 2 * np.log(ODDS)
    )
    freedom = _FREEDOM * (len(rig.sightings) - 1 + known_board - len(best.released))
    verdict = Verdict(
        tuple(_shift(rig, best, part) for part in sorted(best.released)),
        rivals,
        freedom <= 0 or survival(best.square_sum, freedom) > FIT,
        tuple(_finding(rig, fits, best, name, price) for name in rig.cameras),
        tuple(name for name in cameras if name not in rig.cameras),
        best.T_world_board,
        rig.baseline(best),
    )
    if len(verdict.blind) == len(rig.cameras):
        raise _nothing_to_compare(rig)
    return verdict


def _nothing_to_compare(rig: Rig) -> ObservationError:
    count = len(rig.sightings)
    return ObservationError(
        "the board must be seen by two cameras, or by one on a moving arm at two postures; "
        f"found {count} picture{'s' * (count != 1)} of it, from {', '.join(rig.cameras)}, with nothing to "
        "compare them with"
    )


def _finding(
    rig: Rig, fits: dict[frozenset[str], Adjustment], best: Adjustment, name: str, price: float
) -> CameraFinding:
    held = fits[best.released - {name}]
    freed = fits.get(best.released | {name}) or rig.adjust(best.released | {name})
    own = [sighting for sighting in rig.sightings if sighting.camera == name]
    S = rig.sensitivity(freed, name)
    move, turn = (_noticed(S[s, s], price) for s in (slice(3), slice(3, 6)))
    return CameraFinding(
        name,
        len(own),
        rig.pixel[name],
        survival(held.square_sum - freed.square_sum, _FREEDOM),
        _shift(rig, freed, name) if np.isfinite(move + turn) else None,
        1e3 * move,
        float(np.degrees(turn)),
    )


def _noticed(S: np.ndarray, price: float) -> float:
    """Length of a shift that costs `price`, in the direction seen worst; infinite where nothing shows it."""
    least = float(np.linalg.eigvalsh(S)[0])
    return float(np.sqrt(price / least)) if least > _BLIND else float("inf")


def _shift(rig: Rig, state: Adjustment, part: str) -> Shift:
    if part == BOARD:
        twist, covariance = rig.board_shift(state)
    else:
        twist, covariance = rig.shift(state, part)
    move, move_sigma = _length(twist[:3], covariance[:3, :3])
    turn, turn_sigma = _length(twist[3:], covariance[3:, 3:])
    return Shift(part, twist[:3], 1e3 * move, 1e3 * move_sigma, np.degrees(turn), np.degrees(turn_sigma))


def _length(v: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """Length of a vector (3,) and the standard deviation of that."""
    length = float(np.linalg.norm(v))
    along = v / length if length > 0 else np.array((1.0, 0.0, 0.0))
    return length, float(np.sqrt(max(along @ covariance @ along, 0.0)))


def survival(square_sum: float, freedom: int) -> float:
    """Chance that chi-square with an even number of degrees of freedom exceeds `square_sum`."""
    half = max(float(square_sum), 0.0) / 2
    if half == 0:
        return 1.0
    logs = np.cumsum(np.log(half / np.arange(1, freedom // 2)))
    return float(np.exp(-half) + np.exp(logs - half).sum())


def quantile(chance: float, freedom: int) -> float:
    """The value that chi-square with an even number of degrees of freedom exceeds with this chance."""
    low, high = 0.0, 10.0 * freedom - 4 * np.log(chance)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle, freedom) > chance else (low, middle)
    return (low + high) / 2
