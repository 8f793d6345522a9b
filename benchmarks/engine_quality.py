"""What fewer steps and fewer bits do to chunks: beside the expert's, and in the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engine_speed import Say

if TYPE_CHECKING:
    from wallwm_model.engines import Engine

SEED = 1000


def errors(named: Mapping[str, Path], say: Say, events: int) -> dict[str, Any]:
    """How far chunks lie from the expert's, and from the teacher's: at the gripper [mm], in the joints [rad].

    Every bundle acts with its own steps; the teacher, the first, with 50 and 10 beside its own.
    """
    from wallwm_model.engines import load_engine

    say("the expert acts in held-out scenes")
    held, first = list(expert(events)), next(iter(named))
    wanted = [event[-1] for event in held]
    loaded = {name: load_engine(folder, "auto", 2) for name, folder in named.items()}
    asked = {f"{first}, {steps} steps": (loaded[first], steps) for steps in (50, 10)}
    asked |= {name: (engine, engine.spec.euler_steps) for name, engine in loaded.items()}
    rows, beside, reference = {}, {}, None
    for name, (engine, steps) in asked.items():
        say(f"action error of {name}")
        found = acted(engine, held, steps)
        reference = reference or found  # the teacher's 50 steps come first
        rows[name], beside[name] = apart(found, wanted), apart(found, reference)
    return {"action_error_mm": rows, "beside_teacher_50_mm": beside}


def expert(events: int) -> Iterator[tuple[np.ndarray, np.ndarray, str, np.ndarray]]:
    """Held-out events: pictures, joints at the start [rad or m], caption, the expert's chunk (T, D) [rad or m]."""
    from wallwm_model.data.episode import run_episode
    from wallwm_model.sim.scene import TASKS
    from wallwm_model.sim.simulation import Simulation

    sim, seed = Simulation(), 80_000
    while events > 0:
        for sample in run_episode(sim, TASKS[seed % len(TASKS)], seed, disturbed=0.0).samples[:events]:
            chunk = sample["actions"][: sample["length"]]
            yield sample["frames"], sample["state"][0], sample["caption"], chunk
            events -= 1
        seed += 1


def acted(engine: Engine, held: list[tuple], steps: int) -> list[np.ndarray]:
    """An engine's chunks for the expert's events, as long as the expert's [rad or m]."""
    from wallwm_model.deploy.observations import looks_of

    found = []
    for number, (frames, state, caption, wanted) in enumerate(held):
        look = next(looks_of(engine.spec, frames, 0, state, caption))
        chunk = engine.act(engine.observe(look), len(wanted), steps, number)
        found.append(engine.spec.normalisation.decode(chunk))
    return found


def apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> dict[str, float]:
    """Distance of chunks: grippers at the end and on the way [mm], joints [rad], medians over events."""
    from wallwm_model.sim import kinematics

    ends, ways, joints = [], [], []
    for one, other in zip(found, wanted):
        distance = 1e3 * np.linalg.norm(
            kinematics.forward(one)[0] - kinematics.forward(other)[0], axis=-1
        ).max(-1)
        ends.append(distance[-1])
        ways.append(distance.mean())
        joints.append(np.sqrt(np.mean((one - other) ** 2)))
    return {
        "end_mm": float(np.median(ends)),
        "end_mm_p90": float(np.quantile(ends, 0.9)),
        "way_mm": float(np.median(ways)),
        "joints_rad": float(np.median(joints)),
    }


def success(named: Mapping[str, Path], say: Say, episodes: int) -> dict[str, dict[str, Any]]:
    """Whole pick-and-place tasks in event mode, on the same held-out scenes."""
    from wallwm_model.engines import load_engine
    from wallwm_model.eval.closed_loop import EventDriver
    from wallwm_model.eval.modes import compare
    from wallwm_model.policy import Policy

    drivers = {name: EventDriver(Policy(load_engine(folder, "auto", 2))) for name, folder in named.items()}
    return compare(
        drivers, tasks=("pick_place",), variations=("plain",), episodes=episodes, seed=SEED,
        report=lambda name, done, good: say(f"success of {name}: {good} of {done}"),
    )["success"]  # fmt: skip
