"""One expert episode -> its training samples: key frame, state, caption, actions, what then was seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS
from wallwm_model.data.disturb import close_off_centre, disturb
from wallwm_model.errors import SimulationError
from wallwm_model.preprocess import resize
from wallwm_model.sim import kinematics
from wallwm_model.sim.expert import Expert, face_yaw
from wallwm_model.sim.grammar import parse
from wallwm_model.sim.robot import CAMERAS
from wallwm_model.sim.scene import TASKS, sample_scene
from wallwm_model.sim.simulation import IMAGE_SIZE, Simulation

HORIZON = 64  # longest chunk [steps]
FRAME_STEPS = 4  # one picture every so many action steps
FRAME_SIZE = 64  # side of a picture unless another is asked for [px]
DISTURBED = 0.5  # share of events whose start is disturbed
OFF_CENTRE = 0.25  # share of grips that are closed off centre instead of by the expert; they are no samples
SPEEDS = (0.85, 1.2)  # factor on the expert's normal speed
SETTLE_S = 0.15  # rest after each event [s]
MOMENTS = ("frames", "state", "ground_xyz", "ground_mask", "ground_yaw")  # kept for every picture time
SLOTS = (
    *(f"cube_{colour}" for colour in CUBE_COLOURS),
    *(f"pad_{colour}" for colour in PAD_COLOURS),
    *(f"gripper_{arm}" for arm in ARMS),
)


@dataclass
class Episode:
    """The samples of one episode, and how it went.

    Attributes:
        samples: one dict of arrays per event that succeeded; `MOMENTS` have one row per picture time, and
            `follows` says that the event began where the sample before it ended.
        tried: (event, disturbed, success) of every event tried.
        success: the whole task was done.
    """

    samples: list[dict] = field(default_factory=list)
    tried: list[tuple[str, bool, bool]] = field(default_factory=list)
    success: bool = False


def simulation_of(size: int) -> Simulation:
    """A simulation whose cameras are no smaller than pictures of `size` px, since none is ever enlarged."""
    return Simulation(max(IMAGE_SIZE, size))


def look(sim: Simulation, size: int) -> np.ndarray:
    """(3, size, size, 3) uint8 pictures of the three cameras, sized as the network reads them."""
    pictures = sim.render()
    return np.stack([resize(pictures[name], size, size) for name in CAMERAS])


def ground(sim: Simulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positions (9, 3) f32 [m] and presence (9,) of SLOTS, turns (4,) f32 of the cubes [rad]."""
    found = sim.object_positions()
    xyz, mask, yaw = np.zeros((9, 3), np.float32), np.zeros(9, bool), np.zeros(4, np.float32)
    for slot, name in enumerate(SLOTS):
        if name in found:
            xyz[slot], mask[slot] = found[name], True
    for slot, colour in enumerate(CUBE_COLOURS):
        if mask[slot]:
            yaw[slot] = face_yaw(sim.cube_pose(colour)[1])
    return xyz, mask, yaw


def run_episode(
    sim: Simulation, task: str, seed: int, disturbed: float = DISTURBED, size: int = FRAME_SIZE
) -> Episode:
    """Let the expert do one task until an event fails. The same seed gives the same episode.

    Args:
        disturbed: share of the events whose start is disturbed.
        size: side of the pictures [px].
    """
    scene = sample_scene(task, seed)
    rng = np.random.default_rng([seed, TASKS.index(task), 1])
    sim.reset(scene)
    episode = Episode()
    untouched = False  # nothing has moved the robot since the last sample ended
    for caption in scene.captions():
        expert = Expert(sim, speed=rng.uniform(*SPEEDS))
        pushed = bool(rng.random() < disturbed)
        name = parse(caption).name
        try:
            if name in ("grasp", "take") and disturbed > 0 and rng.random() < OFF_CENTRE:
                close_off_centre(sim, caption, rng)
                untouched = False
                if not sim.judge(caption)[0]:
                    return episode
                continue
            if pushed:
                disturb(sim, expert, caption, rng)
            sample = _record(sim, expert, caption, size) | {"follows": untouched and not pushed}
        except SimulationError:  # pushed out of reach, or a cube was lost
            sample = None
        done = sample is not None and bool(sim.judge(caption)[0])
        episode.tried.append((name, pushed, done))
        if not done:
            return episode
        episode.samples.append(sample | {"task": task, "seed": seed, "disturbed": pushed})
        untouched = True
    episode.success = bool(sim.judge("")[0])
    return episode


def _moment(sim: Simulation, size: int) -> dict:
    """What is seen, felt and true right now."""
    xyz, mask, yaw = ground(sim)
    return {
        "frames": look(sim, size), "state": sim.state().astype(np.float32),
        "ground_xyz": xyz, "ground_mask": mask, "ground_yaw": yaw,
    }  # fmt: skip


def _record(sim: Simulation, expert: Expert, caption: str, size: int) -> dict:
    """Execute one event and keep what a learner needs: its moments, and once for all its actions."""
    moments = [_moment(sim, size)]
    actions = expert.plan(caption)
    length = len(actions)

    def watch(done: int) -> None:
        if done % FRAME_STEPS == 0 and done < length:
            moments.append(_moment(sim, size))

    sim.follow(actions, watch)
    sim.advance(SETTLE_S)
    moments.append(_moment(sim, size))
    padded = np.concatenate([actions, np.repeat(actions[-1:], HORIZON - length, axis=0)]).astype(np.float32)
    return {key: np.stack([moment[key] for moment in moments]) for key in MOMENTS} | {
        "actions": padded, "length": length, "caption": caption, "event": parse(caption).name,
        "end_gripper": kinematics.forward(actions[-1])[0].astype(np.float32),
    }  # fmt: skip
