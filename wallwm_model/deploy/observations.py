"""Observations that no training has seen: for calibration, and as golden inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wallwm_model.captions import vocabulary
from wallwm_model.data.samples import SampleSet
from wallwm_model.engines.base import Look
from wallwm_model.errors import ConfigError
from wallwm_model.preprocess import Observation, network_history, network_images, network_state
from wallwm_model.sim.scene import TASKS, TRAINING_SEEDS
from wallwm_model.spec import ModelSpec

SEED = 70_000  # first scene; evaluation uses others, training none below TRAINING_SEEDS


def held_out(spec: ModelSpec, count: int, data: Path | None = None) -> tuple[list[Look], str]:
    """Looks in event mode and, where the model has it, unified mode; and where they come from.

    Args:
        count: moments; each gives one look per window and route of the model.
        data: folder written by `wallwm data sim` from held-out seeds; None: the expert acts in fresh scenes.

    Raises:
        ConfigError: data of training seeds only.
    """
    if data is not None:
        moments, source = _of_data(data, count), f"{data.name}, held-out seeds"
    elif simulated(spec):
        moments, source = _of_simulator(count, spec.cameras[0].width), f"simulator, seeds from {SEED}"
    else:
        return [
            look for _ in range(count) for look in noise(spec, _)
        ], "noise: no data of this robot was given"
    return [look for moment in moments for look in looks_of(spec, *moment)], source


def simulated(spec: ModelSpec) -> bool:
    """Whether the simulator shows what this model reads."""
    from wallwm_model.sim.robot import CAMERAS

    shapes = {(camera.height, camera.width) for camera in spec.cameras}
    square = len(shapes) == 1 and len(set(*shapes)) == 1
    seen = [camera.name for camera in spec.cameras] == list(CAMERAS) and square
    return spec.robot == "sim" and seen and spec.action_space == "joint_position" and len(spec.joints) == 14


def looks_of(
    spec: ModelSpec, frames: np.ndarray, moment: int, state: np.ndarray, caption: str
) -> Iterator[Look]:
    """What a model may be asked at one moment of an event.

    Args:
        frames: (n, V, H, W, 3) uint8 pictures of the event, `spec.picture_steps` apart.
        moment: which of them is now.
        state: (D,) joint positions [rad or m].
    """
    cameras = [camera.name for camera in spec.cameras]
    before = [max(0, moment - 1 - k) for k in reversed(range(spec.history_pictures))]
    pictures = [dict(zip(cameras, frames[k])) for k in (*before, moment)]
    seen = Observation(pictures[-1], state, 0, history=tuple(pictures[:-1]))
    basic = network_images(seen, spec), network_state(seen, spec), spec.tokenise(caption)
    told = *basic[:2], spec.tokenise(caption, "staircase")
    if "event" in spec.modes:
        yield Look(*basic)
    if "unified" in spec.modes:
        yield Look(*basic, history=network_history(seen, spec), chunk=1)
    if "staircase" in spec.sources:
        yield Look(*told, history=network_history(seen, spec), chunk=1, route="staircase")


def noise(spec: ModelSpec, seed: int) -> Iterator[Look]:
    """Pictures of noise, for models whose robot is not simulated here."""
    rng = np.random.default_rng(seed)
    camera, views = spec.cameras[0], len(spec.cameras)
    frames = rng.integers(0, 255, (2, views, camera.height, camera.width, 3), dtype=np.uint8)
    state = np.asarray(spec.normalisation.mean) + 0.5 * np.asarray(spec.normalisation.std)
    words = rng.choice(spec.vocabulary[1:] or vocabulary()[1:], 6)
    yield from looks_of(spec, frames, 1, state, " ".join(words))


def _of_data(folder: Path, count: int) -> Iterator[tuple]:
    samples = SampleSet(folder)
    held = np.flatnonzero(samples.columns["seed"] < TRAINING_SEEDS)
    if not len(held):
        raise ConfigError(
            f"calibration needs scenes with seeds below {TRAINING_SEEDS}; found none in {folder}"
        )
    rng = np.random.default_rng(SEED)
    for index in rng.choice(held, count, replace=count > len(held)):
        frames = samples.frames(int(index))
        moment = int(rng.integers(len(frames) - 1))
        state = samples.moments["state"][int(samples.columns["first"][index]) + moment]
        yield frames, moment, state, str(samples.columns["caption"][index])


def _of_simulator(count: int, size: int) -> Iterator[tuple]:
    from wallwm_model.data.episode import run_episode, simulation_of

    sim, rng, seed = simulation_of(size), np.random.default_rng(SEED), SEED
    while count > 0:
        episode = run_episode(sim, TASKS[seed % len(TASKS)], seed, size=size)
        seed += 1
        for sample in episode.samples[:count]:
            moment = int(rng.integers(len(sample["frames"]) - 1))
            yield sample["frames"], moment, sample["state"][moment], sample["caption"]
            count -= 1
