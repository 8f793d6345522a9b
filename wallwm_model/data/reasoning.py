"""Moments of simulated traces put into words: the task's instruction, and the reasoning at that moment.

Everything is a fixed function of the trace: what the simulator knew (positions, gripper openings), which
event came last, which is under way or next. How long is left is said as a rule (`USUAL_S`): every
demonstration draws its own speed, which no picture shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS, instruction
from wallwm_model.sim.grammar import parse
from wallwm_model.sim.scene import PAD_HALF, Scene
from wallwm_model.wording import PLACES, REASONING

MIDDLE_X = 0.30  # nearer to the robot than this is "near" [m]
HELD_NEAR, HELD_OPENING = 0.035, 0.050  # pinch point to cube, and gripper opening, of a held cube [m]
LYING = 0.030  # highest centre of a cube that lies on something [m]
USUAL_S = {
    "reach": 1.25, "grasp": 0.7, "lift": 0.5, "move": 0.8, "place": 1.0, "retract": 1.3,
    "offer": 1.8, "meet": 1.7, "take": 0.7, "release": 2.1,
}  # fmt: skip
_GRIPPER = {"left": 6, "right": 13}  # index into the state
_CUBE = {colour: slot for slot, colour in enumerate(CUBE_COLOURS)}
_PAD = {colour: len(_CUBE) + slot for slot, colour in enumerate(PAD_COLOURS)}
_PINCH = {arm: len(_CUBE) + len(_PAD) + slot for slot, arm in enumerate(ARMS)}


@dataclass(frozen=True)
class Trace:
    """One moment of a trace.

    Attributes:
        cube, pad: colours that the task names.
        caption: of the event that is under way, or about to begin.
        last: the event before it, or `nothing`.
        events: names of the events that remain, this one included.
        xyz: (9, 3) true positions [m]: cubes, pads, pinch points.
        state: (14,) measured joints [rad, m].
    """

    cube: str
    pad: str
    caption: str
    last: str
    events: tuple[str, ...]
    xyz: np.ndarray
    state: np.ndarray


class Story:
    """A scene's task and its events in order; gives the moments of a trace of it."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.captions = scene.captions()
        self.events = tuple(parse(text).name for text in self.captions)

    def instruction(self) -> str:
        """The task in one sentence."""
        scene = self.scene
        return instruction(scene.task, arm=scene.arm, cube=scene.cube, pad=scene.pad)

    def at(self, caption: str, xyz: np.ndarray, state: np.ndarray) -> Trace:
        """The moment at which `caption` is under way, or about to begin; see `Trace`."""
        index = self.captions.index(caption)
        last = self.events[index - 1] if index else "nothing"
        return Trace(self.scene.cube, self.scene.pad, caption, last, self.events[index:], xyz, state)


def reason(moment: Trace) -> str:
    """The reasoning text of one moment, words and marks separated by single spaces."""
    pad = moment.xyz[_PAD[moment.pad]]
    seconds = sum(USUAL_S[name] for name in moment.events)
    return REASONING.format(
        cube=moment.cube,
        pad=moment.pad,
        place=_place(moment, moment.xyz[_CUBE[moment.cube]], pad),
        region=region(pad),
        last=moment.last,
        caption=moment.caption,
        events=_count(len(moment.events), "event"),
        seconds=_count(max(1, round(seconds)), "second"),
    )


def region(xyz: np.ndarray) -> str:
    """Which quarter of the table: near or far as the robot sees it, left at +y."""
    return f"{'near' if xyz[0] < MIDDLE_X else 'far'} {'left' if xyz[1] > 0 else 'right'}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _place(moment: Trace, cube: np.ndarray, pad: np.ndarray) -> str:
    holders = [arm for arm in ARMS if _holds(moment, arm, cube)]
    if len(holders) == 2:
        return PLACES["both"]
    if holders:
        return PLACES["one"].format(arm=holders[0])
    if cube[2] < LYING and np.abs(cube[:2] - pad[:2]).max() <= PAD_HALF:
        return PLACES["pad"].format(pad=moment.pad)
    return PLACES["table"].format(region=region(cube))


def _holds(moment: Trace, arm: str, cube: np.ndarray) -> bool:
    near = np.linalg.norm(moment.xyz[_PINCH[arm]] - cube) < HELD_NEAR
    return bool(near and moment.state[_GRIPPER[arm]] < HELD_OPENING)
