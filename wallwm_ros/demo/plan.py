"""Which episodes a demonstration runs, decided and checked before any process starts."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import count as counting

from wallwm_model.captions import CUBE_COLOURS, PAD_COLOURS
from wallwm_model.errors import CaptionError, ConfigError
from wallwm_model.sim.grammar import parse
from wallwm_model.sim.scene import TASKS, Scene, sample_scene
from wallwm_model.spec import ModelSpec

EXCHANGE = {"offer", "meet", "take", "release"}


@dataclass(frozen=True)
class Episode:
    """One episode to run.

    Attributes:
        task: scene type.
        seed: of the scene.
        captions: events to send; empty: the ones that the scene itself asks for.
    """

    task: str
    seed: int
    captions: tuple[str, ...] = ()


def parse_events(text: str, spec: ModelSpec) -> tuple[str, ...]:
    """`"reach ...; grasp ..."` -> captions, each checked against the model's words and the events' grammar.

    Raises:
        CaptionError: no caption, an unknown word, or a sentence that is no event.
    """
    captions = tuple(" ".join(part.lower().split()) for part in text.split(";") if part.strip())
    if not captions:
        raise CaptionError('--events must hold sentences separated by ";"; found none')
    for caption in captions:
        spec.tokenise(caption)
        parse(caption)
    return captions


def plan(
    task: str | None, count: int | None, seed: int | None, captions: tuple[str, ...] = ()
) -> list[Episode]:
    """The episodes to run.

    With neither task, count nor captions: one pick-and-place and one hand-over, a minute that shows both.
    Scenes have consecutive seeds from `seed` on (None: 0); with captions of one's own, only those seeds whose
    scenes suit the captions.

    Raises:
        ConfigError: unknown task, fewer than one episode, a negative seed, or a given seed whose scene lacks
            something that the captions name.
    """
    if task is not None and task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--task must be one of {', '.join(TASKS)}; found {task!r}{hint}")
    if count is not None and count < 1:
        raise ConfigError(f"--episodes must be at least 1; found {count}")
    if seed is not None and seed < 0:
        raise ConfigError(f"--seed must not be negative; found {seed}")
    first, number = seed or 0, count or 1
    if captions:
        task = task or ("handover" if any(parse(c).name in EXCHANGE for c in captions) else "pick_place")
        seeds = _suiting_seeds(task, captions, first, number, exact=seed is not None)
        return [Episode(task, s, captions) for s in seeds]
    if task is None and count is None:
        return [Episode(name, first) for name in TASKS]
    return [Episode(task or "pick_place", first + i) for i in range(number)]


def missing_objects(captions: tuple[str, ...], scene: Scene) -> list[str]:
    """Things that the captions name and the scene lacks, e.g. `["green cube"]`."""
    events = [parse(caption) for caption in captions]
    cubes, pads = {event.cube for event in events}, {event.pad for event in events}
    lacking = [f"{colour} cube" for colour in CUBE_COLOURS if colour in cubes - set(scene.cubes)]
    return lacking + [f"{colour} pad" for colour in PAD_COLOURS if colour in pads - set(scene.pads)]


def _suiting_seeds(task: str, captions: tuple[str, ...], first: int, number: int, exact: bool) -> list[int]:
    """Seeds from `first` on whose scenes hold what the captions name, where the captions' arm can reach it.

    With `exact`, `first` itself must hold it, wherever it lies.
    """
    scene = sample_scene(task, first)
    if exact and (lacking := missing_objects(captions, scene)):
        raise ConfigError(
            f"the scene of seed {first} must have a {' and a '.join(lacking)}; found cubes "
            f"{', '.join(scene.cubes)} and pads {', '.join(scene.pads)}; without --seed "
            "a scene that suits is chosen"
        )
    seeds = [first] if exact else []
    for seed in counting(first + len(seeds)):
        if len(seeds) == number or seed > first + 100_000:
            break
        if _suits(captions, sample_scene(task, seed)):
            seeds.append(seed)
    if len(seeds) < number:
        raise ConfigError(f"no {task} scene holds everything that the captions name: {'; '.join(captions)}")
    return seeds


def _suits(captions: tuple[str, ...], scene: Scene) -> bool:
    """The scene's own task is about the arm, cube and pad that the captions name first."""
    if missing_objects(captions, scene):
        return False
    events = [parse(caption) for caption in captions]
    cube = next((event.cube for event in events if event.cube), scene.cube)
    pad = next((event.pad for event in events if event.pad), scene.pad)
    return (events[0].arm, cube, pad) == (scene.arm, scene.cube, scene.pad)
