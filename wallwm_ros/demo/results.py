"""What came out of a demonstration, added up. Pure functions: no ROS, no terminal."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wallwm_model.eval.intervals import wilson


@dataclass(frozen=True)
class EventResult:
    """One executed event.

    Attributes:
        name: event type, e.g. `grasp`; `task` for a whole one in unified mode.
        caption: the sentence that was sent.
        steps: action steps executed.
        planned: length of the chunk as the model sized it [action steps].
        seconds: from goal acceptance to the end [s]; in lockstep, of the motion.
        inference_s: time spent in the engine [s]; None: not reported, as with tasks.
        completed: the action ended as SUCCEEDED (the motion was carried out).
        success: the simulator found the event physically achieved.
        outcome: one short sentence for people.
        reasoning: what the model thought meanwhile, in words, one after the other.
    """

    name: str
    caption: str
    steps: int
    planned: int
    seconds: float
    inference_s: float | None
    completed: bool
    success: bool
    outcome: str
    reasoning: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: the events in the order they were carried out, and the verdict on the whole task."""

    task: str
    seed: int
    events: tuple[EventResult, ...] = field(default=())
    success: bool = False
    outcome: str = ""
    seconds: float = 0.0


def by_event(episodes: Iterable[EpisodeResult]) -> dict[str, dict[str, int | float]]:
    """Event type -> n, success, steps_min, steps_median, steps_max, in order of first appearance.

    Lengths count only events whose motion was carried out to its end.
    """
    groups: dict[str, list[EventResult]] = {}
    for episode in episodes:
        for event in episode.events:
            groups.setdefault(event.name, []).append(event)
    table: dict[str, dict[str, int | float]] = {}
    for name, events in groups.items():
        steps = [event.steps for event in events if event.completed] or [0]
        table[name] = {
            "n": len(events),
            "success": sum(event.success for event in events),
            "steps_min": min(steps),
            "steps_median": statistics.median(steps),
            "steps_max": max(steps),
        }
    return table


def rate(episodes: Sequence[EpisodeResult]) -> dict[str, object]:
    """Episodes, success, success_rate and its 95 % interval."""
    success = sum(episode.success for episode in episodes)
    return {
        "episodes": len(episodes),
        "success": success,
        "success_rate": success / len(episodes) if episodes else 0.0,
        "interval95": list(wilson(success, len(episodes))),
    }


def summary(episodes: Sequence[EpisodeResult], seed: int, about: dict[str, object]) -> dict[str, object]:
    """The content of result.json: totals, per task, per event type, every episode, and `about` the run."""
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    return {
        **rate(episodes),
        "task": ", ".join(tasks),
        "seed": seed,
        "events": by_event(episodes),
        "tasks": {task: rate([e for e in episodes if e.task == task]) for task in tasks},
        **about,
        "details": [asdict(episode) for episode in episodes],
    }


def write(path: Path, content: dict[str, object]) -> None:
    """Write result.json whole or not at all, so that an interrupted run leaves no half file."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
