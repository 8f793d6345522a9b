"""Disturbed starts: push the arm off, or stop an event half-way, so that recovery is in the data."""

from __future__ import annotations

import numpy as np

from wallwm_model.sim import ik, paths
from wallwm_model.sim.expert import Expert
from wallwm_model.sim.grammar import parse
from wallwm_model.sim.robot import GRIPPER_CLOSED, GRIPPER_OPEN, arm_slice
from wallwm_model.sim.simulation import Simulation

PUSH_STEPS = 8  # how long the push takes [steps]
SETTLE_S = 0.2  # rest after a disturbance: the state shows positions, so that nothing may still move [s]
FLOOR = 0.018  # lowest pinch point: finger tips just above the table [m]
CUT = (0.15, 0.9)  # where an event is stopped, as a share of its length

# Deviation of the hand's displacement (x, y, z) [m] and turn about the vertical [rad]; cut at twice that.
# Small where the fingers are around a cube, so that it is not knocked away.
_SPREAD = {
    "reach": (0.025, 0.025, 0.025, 0.15),
    "grasp": (0.006, 0.006, 0.006, 0.08),
    "lift": (0.006, 0.006, 0.006, 0.06),
    "move": (0.018, 0.018, 0.014, 0.12),
    "place": (0.015, 0.015, 0.014, 0.12),
    "retract": (0.005, 0.005, 0.012, 0.05),
    "offer": (0.018, 0.018, 0.014, 0.12),
    "meet": (0.025, 0.025, 0.025, 0.15),
    "take": (0.006, 0.006, 0.006, 0.05),
    "release": (0.0015, 0.0015, 0.0015, 0.0),
}
_LOW = ("grasp", "lift", "retract")  # start at a cube on the table: push up, not down


def disturb(sim: Simulation, expert: Expert, caption: str, rng: np.random.Generator) -> None:
    """Bring the arm away from where the event would start, or part-way into the event, at random."""
    event = parse(caption)
    halfway = rng.random() < 0.5
    if halfway:
        actions = expert.plan(caption)
        sim.follow(actions[: max(1, int(len(actions) * rng.uniform(*CUT)))])
        sim.advance(SETTLE_S)
    if not halfway or rng.random() < 0.4:
        scale = 0.5 if halfway else 1.0
        _push(sim, event.name, event.arm, rng, scale)


def close_off_centre(sim: Simulation, caption: str, rng: np.random.Generator) -> None:
    """Grip the cube away from its middle, as an imperfect grasp would: later events then find it so."""
    event = parse(caption)
    _push(sim, event.name, event.arm, rng, scale=1.0)
    target = sim.targets
    target[arm_slice(event.arm)][6] = GRIPPER_CLOSED
    sim.follow(paths.minimum_jerk(PUSH_STEPS)[:, None] * (target - sim.targets) + sim.targets)
    sim.advance(SETTLE_S)


def _push(sim: Simulation, name: str, arm: str, rng: np.random.Generator, scale: float) -> None:
    """Displace one hand by a random amount, and its gripper where nothing is held or near."""
    spread = np.array(_SPREAD[name]) * scale
    noise = np.clip(rng.normal(size=4) * spread, -2 * spread, 2 * spread)
    position, rotation = sim.pinch(arm)
    if name in _LOW and position[2] < 0.06:
        noise[2] = abs(noise[2])
    position = position + noise[:3]
    position[2] = max(position[2], FLOOR)
    c, s = np.cos(noise[3]), np.sin(noise[3])
    turn = np.array([(c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)])
    part = arm_slice(arm)
    state = sim.state()[part]
    joints = ik.solve(*ik.to_base(0 if arm == "left" else 1, position, turn @ rotation), state[:6])
    target = sim.targets
    target[part][:6] = joints
    if name in ("reach", "meet") and min(_distances(sim, arm)) > 0.08 and rng.random() < 0.5:
        target[part][6] = rng.uniform(0.03, GRIPPER_OPEN)
    path = paths.minimum_jerk(PUSH_STEPS)[:, None] * (target - sim.targets) + sim.targets
    sim.follow(path)
    sim.advance(SETTLE_S)


def _distances(sim: Simulation, arm: str) -> list[float]:
    """Distance of a hand from each cube [m]."""
    hand = sim.pinch(arm)[0]
    return [float(np.linalg.norm(sim.cube_pose(colour)[0] - hand)) for colour in sim.scene.cubes]
