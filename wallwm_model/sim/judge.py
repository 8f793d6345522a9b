"""Physical truth: was an event, or the whole task, really done? Contacts and poses decide, not intentions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.captions import ARMS
from wallwm_model.errors import SimulationError
from wallwm_model.sim.grammar import Event, parse
from wallwm_model.sim.scene import PAD_HALF

if TYPE_CHECKING:
    from wallwm_model.sim.simulation import Simulation

OFFER_POINT = np.array((0.30, 0.0, 0.27))  # where a cube changes hands [m]
LIFTED = 0.04  # cube's underside above the table [m]
OVER_PAD = 0.025  # cube's centre from the pad's, horizontally [m]
OFFERED = 0.05  # cube's centre from the offer point [m]
AROUND = (0.016, 0.020, 0.016)  # cube's centre in the gripper's frame: depth, between the pads, across [m]
CLEAR = 0.08  # gripper from a cube it has left [m]

Verdict = tuple[bool, str]


def judge(sim: Simulation, caption: str) -> Verdict:
    """Judge one event by its caption, or the scene's whole task when the caption is empty."""
    if not caption:
        return _task(sim)
    event = parse(caption)
    for kind, name, present in (("cube", event.cube, sim.scene.cubes), ("pad", event.pad, sim.scene.pads)):
        if name and name not in present:
            raise SimulationError(f"the scene must hold a {name} {kind}; found {', '.join(present)}")
    done, reason = _JUDGES[event.name](sim, event)
    return bool(done), reason


def touches(sim: Simulation, arm: str, cube: str) -> set[str]:
    """Which parts of an arm's hand touch a cube: any of `l`, `r` (finger pads) and `other`."""
    cube_id, found = sim.model.geom(f"cube_{cube}").id, set()
    for contact in sim.data.contact[: sim.data.ncon]:
        if cube_id not in (contact.geom1, contact.geom2) or contact.dist > 0.001:
            continue
        name = sim.model.geom(contact.geom1 + contact.geom2 - cube_id).name
        if name.startswith(f"{arm}_"):
            found.add(name[-1] if name.startswith(f"{arm}_fingertip") else "other")
    return found


def holds(sim: Simulation, arm: str, cube: str) -> bool:
    """Both finger pads of an arm press on a cube."""
    return {"l", "r"} <= touches(sim, arm, cube)


def _around(sim: Simulation, event: Event) -> Verdict:
    position, rotation = sim.pinch(event.arm)
    offset = np.abs(rotation.T @ (sim.cube_pose(event.cube)[0] - position))
    opening = sim.state()[6 if event.arm == "left" else 13]
    inside = bool((offset <= AROUND).all()) and opening > 2 * sim.scene.cubes[event.cube].half
    off = 1e3 * np.linalg.norm(offset)
    return inside, f"the {event.cube} cube is {off:.0f} mm from the {event.arm} pinch point"


def _grasp(sim: Simulation, event: Event) -> Verdict:
    parts = touches(sim, event.arm, event.cube)
    return {"l", "r"} <= parts, f"{len(parts & {'l', 'r'})} of 2 finger pads touch the {event.cube} cube"


def _lift(sim: Simulation, event: Event) -> Verdict:
    height = sim.cube_pose(event.cube)[0][2] - sim.scene.cubes[event.cube].half
    held = holds(sim, event.arm, event.cube)
    return held and height >= LIFTED, f"{_held(held)}, {1e3 * height:.0f} mm above the table"


def _move(sim: Simulation, event: Event) -> Verdict:
    off = np.linalg.norm(sim.cube_pose(event.cube)[0][:2] - sim.scene.pads[event.pad])
    held = holds(sim, event.arm, event.cube)
    return held and off <= OVER_PAD, f"{_held(held)}, {1e3 * off:.0f} mm off the {event.pad} pad's centre"


def _place(sim: Simulation, event: Event) -> Verdict:
    position = sim.cube_pose(event.cube)[0]
    off = np.abs(position[:2] - sim.scene.pads[event.pad]).max()
    resting = abs(position[2] - sim.scene.cubes[event.cube].half) < 0.006
    touched = [arm for arm in ARMS if touches(sim, arm, event.cube)]
    done = off <= PAD_HALF and resting and not touched
    where = "rests" if resting else "does not lie flat on the table"
    hand = f", touched by the {' and '.join(touched)} hand" if touched else ", released"
    return done, f"the {event.cube} cube {where}, {1e3 * off:.0f} mm from the {event.pad} pad's centre{hand}"


def _retract(sim: Simulation, event: Event) -> Verdict:
    position = sim.pinch(event.arm)[0]
    distance = {c: float(np.linalg.norm(sim.cube_pose(c)[0] - position)) for c in sim.scene.cubes}
    nearest = min(distance, key=distance.__getitem__)
    fallen = [c for c in sim.scene.cubes if sim.cube_pose(c)[0][2] < 0]
    done = distance[nearest] >= CLEAR and not fallen
    tail = f", the {fallen[0]} cube fell off the table" if fallen else ""
    off = 1e3 * distance[nearest]
    return done, f"the nearest cube ({nearest}) is {off:.0f} mm from the {event.arm} hand{tail}"


def _offer(sim: Simulation, event: Event) -> Verdict:
    off = np.linalg.norm(sim.cube_pose(event.cube)[0] - OFFER_POINT)
    held = holds(sim, event.arm, event.cube)
    return held and off <= OFFERED, f"{_held(held)}, {1e3 * off:.0f} mm from the offer point"


def _meet(sim: Simulation, event: Event) -> Verdict:
    around, reason = _around(sim, event)
    held = holds(sim, event.other, event.cube)
    return around and held, f"{reason}; {_held(held)} by the {event.other} arm"


def _take(sim: Simulation, event: Event) -> Verdict:
    both = [arm for arm in ARMS if holds(sim, arm, event.cube)]
    return len(both) == 2, f"held by: {' and '.join(both) or 'no arm'}"


def _release(sim: Simulation, event: Event) -> Verdict:
    held = holds(sim, event.other, event.cube)
    off = np.linalg.norm(sim.cube_pose(event.cube)[0] - sim.pinch(event.arm)[0])
    done = held and off >= CLEAR and not touches(sim, event.arm, event.cube)
    return done, f"{_held(held)} by the {event.other} arm, {1e3 * off:.0f} mm from the {event.arm} hand"


def _task(sim: Simulation) -> Verdict:
    scene = sim.scene
    arm = scene.arm if scene.task == "pick_place" else scene.other
    placed, reason = _place(sim, Event("place", arm, scene.cube, scene.pad))
    clear, hand = _retract(sim, Event("retract", arm))
    return placed and clear, reason if not placed else f"{reason}; {hand}"


def _held(held: bool) -> str:
    return "held" if held else "not held"


_JUDGES = {
    "reach": _around, "grasp": _grasp, "lift": _lift, "move": _move, "place": _place, "retract": _retract,
    "offer": _offer, "meet": _meet, "take": _take, "release": _release,
}  # fmt: skip
