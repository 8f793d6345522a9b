"""Workspace boxes of a robot whose joints are commanded: links must not leave them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.robot import RobotProfile, WorkspaceBox
from wallwm_ros.core.shaper import CommandShaper

if TYPE_CHECKING:
    from wallwm_model.forward_kinematics import ForwardKinematics

TOLERANCE_M = 0.01  # rows are a network's estimates; nearer to the wall than this, the command itself decides
_MARGIN_M = 0.002  # between the points of a stop that are looked at, the link may come this much nearer
_STOP_POINTS = 4
_AXES = "xyz"


class Workspace:
    """Tells what would lead a link out of its box. A link that is outside may come back, but not go further.

    Args:
        profile: with `workspace` boxes.
        make: gives the robot's kinematics; called once for each of the two threads that ask.

    Raises:
        ConfigError: the description lacks a link, or moves it by a joint that the profile lacks.
    """

    def __init__(self, profile: RobotProfile, make: Callable[[], ForwardKinematics]) -> None:
        self._names = profile.joint_names
        self._chunks, self._commands = (_Gauge(profile, make()) for _ in range(2))

    def chunk_fault(self, chunk: Chunk, position: np.ndarray) -> str:
        """Why a chunk cannot be followed from `position` (D,); empty: it can, or is unsound in other ways.

        For one thread at a time, which may be another than that of `objection`.
        """
        width = len(self._names)
        if sorted(chunk.joints) != sorted(self._names) or chunk.values.shape != (chunk.steps, width):
            return ""
        rows = chunk.values[:, [chunk.joints.index(name) for name in self._names]]
        if not np.isfinite(rows).all():
            return ""
        gauge, allowed = self._chunks, None
        for k, row in enumerate(rows):
            if gauge.surely_inside(row, np.zeros(width)):
                continue
            excess, text = gauge.excess(row)
            allowed = max(TOLERANCE_M, gauge.excess(position)[0]) if allowed is None else allowed
            if excess > allowed:
                return f"row {k} leads {text}"
        return ""

    def objection(self, shaper: CommandShaper, before: np.ndarray) -> str:
        """Why the command must not go on, empty if it may: the fastest stop from it stays inside every box.

        Args:
            before: (D,) the command one period earlier, from which a stop was found to stay inside.
        """
        gauge = self._commands
        if gauge.surely_inside(shaper.position, shaper.way_to_stop()):
            return ""
        allowed = max(-_MARGIN_M, gauge.excess(before)[0])
        for point in (shaper.position, *shaper.stop_path(_STOP_POINTS)):
            excess, text = gauge.excess(point)
            if excess > allowed + 1e-9:
                return f"the motion leads {text}"
        return ""


class _Gauge:
    """How far links are outside their boxes; kinematics are asked only where that is in doubt."""

    def __init__(self, profile: RobotProfile, kinematics: ForwardKinematics) -> None:
        self._names, self._boxes, self._kinematics = profile.joint_names, profile.workspace, kinematics
        self._low = np.array([box.low for box in self._boxes])
        self._high = np.array([box.high for box in self._boxes])
        self._levers = np.array([self._lever(profile, box) for box in self._boxes])
        self._known: tuple[np.ndarray, float] | None = None  # a posture, and how far it is inside [m]

    def excess(self, posture: np.ndarray) -> tuple[float, str]:
        """How far the worst link is outside its box at `posture` (D,) [m], negative inside, and in words."""
        at = np.array([self._place(box.link, posture) for box in self._boxes])
        beyond = np.maximum(self._low - at, at - self._high)
        link, axis = np.unravel_index(np.argmax(beyond), beyond.shape)
        box, worst = self._boxes[link], float(beyond[link, axis])
        self._known = (posture, -worst)
        interval = f"{box.low[axis]:g} to {box.high[axis]:g} m"
        return worst, f"{box.link} to {_AXES[axis]} = {at[link, axis]:.3f} m; its workspace is {interval}"

    def surely_inside(self, posture: np.ndarray, way: np.ndarray) -> bool:
        """Whatever is at most `way` (D,) away from `posture` (D,) is inside every box, by the margin."""
        for _ in range(2):
            if self._known is not None:
                travel = self._levers @ (np.abs(posture - self._known[0]) + way)
                if travel.max() + _MARGIN_M < self._known[1]:
                    return True
            if self._known is None or self._known[0] is not posture:
                self.excess(posture)
        return False

    def _place(self, link: str, posture: np.ndarray) -> np.ndarray:
        return self._kinematics.pose(link, dict(zip(self._names, posture.tolist(), strict=True)))[:3, 3]

    def _lever(self, profile: RobotProfile, box: WorkspaceBox) -> np.ndarray:
        """(D,) at most how far each column moves the link per unit: the length of the chain that it moves."""
        low, high = profile.limit("low"), profile.limit("high")
        middle = (low + high) / 2
        chain = [*self._chain(box.link)]
        places = {name: self._pose(name, middle) for pair in chain for name in pair}
        slides = np.array([joint.unit == "m" for joint in profile.joints])
        lever = np.zeros(len(middle))
        for column in range(len(middle)):
            moved = middle.copy()
            moved[column] += 0.1 * (high - low)[column]
            for parent, link in chain:
                if np.abs(self._pose(link, moved) - places[link]).max() > 1e-9:
                    lever[column] += np.linalg.norm(places[link][:3, 3] - places[parent][:3, 3])
        acting = lever > 0
        lever += acting * (slides * (high - low) * acting).sum()  # chains with slides may be longer elsewhere
        return np.where(slides, acting, lever)

    def _pose(self, link: str, posture: np.ndarray) -> np.ndarray:
        return self._kinematics.pose(link, dict(zip(self._names, posture.tolist(), strict=True)))

    def _chain(self, link: str) -> Iterator[tuple[str, str]]:
        """Pairs of a link and the one that it hangs on, from `link` to the root."""
        self._kinematics.pose(link, dict.fromkeys(self._names, 0.0))  # names what is missing
        while link in self._kinematics.parents:
            parent = self._kinematics.parents[link]
            yield parent, link
            link = parent
