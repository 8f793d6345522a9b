"""What lies on the table: scenes drawn from a seed, and the task that each one poses."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS, caption, instruction
from wallwm_model.errors import SimulationError
from wallwm_model.sim.robot import GRIPPER_OPEN, HOME

TASKS = ("pick_place", "handover")
TRAINING_SEEDS = 100_000  # seeds below this are held out for evaluation
PAD_HALF = 0.048  # [m]

X_RANGE = (0.185, 0.415)  # objects' centres [m]
NEAR, FAR = 0.0, 0.24  # |y| reachable by the arm on that side [m]
CUBE_HALF = (0.0212, 0.0232)  # [m]
MAX_YAW = np.radians(30.0)
GAPS = 0.098, 0.088, 0.112  # between centres: of cubes, cube and pad, pads [m]


@dataclass(frozen=True)
class Cube:
    """A cube lying on the table: centre [m], turn about z [rad], half edge length [m]."""

    x: float
    y: float
    yaw: float
    half: float


@dataclass(frozen=True)
class Appearance:
    """What differs from the pictures of the training data.

    Attributes:
        camera_shift: of the head camera [m], world frame; camera_turn: rotation vector of the same [rad].
        light: factor on the brightness; sun: added to the direction of both suns.
    """

    camera_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    light: float = 1.0
    sun: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """Everything that a reset needs, and the task.

    Attributes:
        task: `pick_place` or `handover`.
        arm: the arm that picks (in a hand-over, the giver).
        cube, pad: colours of the cube to bring and of the pad it goes on.
        cubes: colour -> Cube, world frame.
        pads: colour -> (x, y) centre [m], world frame.
        start: (14,) joint values at the start [rad, m].
        seed: what the scene was drawn from.
        twin: colour and place of one more cube, which looks like another of that colour; no task names it.
        appearance: of cameras and light.
    """

    task: str
    arm: str
    cube: str
    pad: str
    cubes: dict[str, Cube]
    pads: dict[str, tuple[float, float]]
    start: tuple[float, ...]
    seed: int
    twin: tuple[str, Cube] | None = None
    appearance: Appearance = Appearance()

    @property
    def other(self) -> str:
        """The arm that is not `arm`."""
        return "right" if self.arm == "left" else "left"

    def instruction(self) -> str:
        """The task in one sentence."""
        return instruction(self.task, arm=self.arm, cube=self.cube, pad=self.pad)

    def captions(self) -> list[str]:
        """The task's events, in order."""
        names = {"cube": self.cube, "pad": self.pad}
        first = [caption(event, arm=self.arm, **names) for event in ("reach", "grasp", "lift")]
        if self.task == "pick_place":
            return first + [caption(event, arm=self.arm, **names) for event in ("move", "place", "retract")]
        exchange = (("offer", self.arm), ("meet", self.other), ("take", self.other), ("release", self.arm))
        last = [(event, self.other) for event in ("move", "place", "retract")]
        return first + [caption(event, arm=arm, **names) for event, arm in (*exchange, *last)]

    def to_json(self) -> str:
        """One line of JSON with every field."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Parse `to_json`'s output."""
        body = json.loads(text)
        body["cubes"] = {name: Cube(**cube) for name, cube in body["cubes"].items()}
        body["pads"] = {name: tuple(xy) for name, xy in body["pads"].items()}
        if body.get("twin"):
            body["twin"] = (body["twin"][0], Cube(**body["twin"][1]))
        look = body.get("appearance", {})
        body["appearance"] = Appearance(**{k: tuple(v) if isinstance(v, list) else v for k, v in look.items()})
        return cls(**{**body, "start": tuple(body["start"])})


def sample_scene(task: str, seed: int) -> Scene:
    """Draw a scene; the same task and seed always give the same one.

    Raises:
        SimulationError: unknown task.
    """
    if task not in TASKS:
        raise SimulationError(f"task must be one of {', '.join(TASKS)}; found {task!r}")
    rng = np.random.default_rng([seed, TASKS.index(task)])
    arm = str(rng.choice(ARMS))
    cubes = [str(c) for c in rng.choice(CUBE_COLOURS, size=rng.integers(2, 4), replace=False)]
    pads = [str(c) for c in rng.choice(PAD_COLOURS, size=2, replace=False)]
    layout = None
    while layout is None:
        layout = place(rng, task, 1.0 if arm == "left" else -1.0, len(cubes))
    pad_xy, cube_xy = layout
    found = {}
    for colour, (x, y) in zip(cubes, cube_xy):
        yaw, half = rng.uniform(-MAX_YAW, MAX_YAW), rng.uniform(*CUBE_HALF)
        found[colour] = Cube(float(x), float(y), float(yaw), float(half))
    return Scene(
        task, arm, cubes[0], pads[0], found,
        {colour: (float(x), float(y)) for colour, (x, y) in zip(pads, pad_xy)},
        tuple(float(v) for v in _start(rng)), seed,
    )  # fmt: skip


def place(
    rng: np.random.Generator, task: str, side: float, n_cubes: int, gaps: tuple[float, float, float] = GAPS
) -> tuple[list, list] | None:  # fmt: skip
    """Centres of two pads and `n_cubes` cubes, the task's own first; None when they would not fit."""
    pad_side = side if task == "pick_place" else -side
    chosen: list[tuple[np.ndarray, bool]] = []
    for index in range(2 + n_cubes):
        is_pad = index in (0, 2)  # order: target pad, target cube, other pad, other cubes
        if index < 2:
            y = (pad_side if is_pad else side) * rng.uniform(NEAR, FAR)
        else:
            y = rng.uniform(-FAR, FAR)
        spot = np.array((rng.uniform(*X_RANGE), y))
        for other, other_is_pad in chosen:
            if np.linalg.norm(spot - other) < gaps[int(is_pad) + int(other_is_pad)]:
                return None
        chosen.append((spot, is_pad))
    return [spot for spot, pad in chosen if pad], [spot for spot, pad in chosen if not pad]


def _start(rng: np.random.Generator) -> np.ndarray:
    """(14,) start posture: near home, each gripper open or partly closed."""
    start = HOME + rng.uniform(-0.10, 0.10, 14)
    for index in (6, 13):
        start[index] = GRIPPER_OPEN if rng.random() < 0.5 else rng.uniform(0.035, GRIPPER_OPEN)
    return start
