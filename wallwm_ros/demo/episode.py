"""One episode, from an untouched scene to the verdict on its task."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from wallwm_model.captions import EVENTS
from wallwm_ros.demo.plan import Episode
from wallwm_ros.demo.results import EpisodeResult, EventResult


class Progress(Protocol):
    """What an event or a task reports while it runs: as `bridge.planner.EventProgress`."""

    stage: str
    progress: float | None
    remaining_s: float
    step: int
    reasoning: str


class Outcome(Protocol):
    """How an event's motion ended."""

    succeeded: bool
    status: str
    text: str
    steps: int
    planned: int
    seconds: float
    inference_s: float | None


class Robot(Protocol):
    """What an episode needs: a scene to start from, events carried out, verdicts."""

    def new_scene(self, task: str, seed: int) -> tuple[str, ...]:
        """Put the robot at rest in a scene -> the sentences that carry out its task, sent one by one."""

    def execute(self, caption: str, on_progress: Callable[[Progress], None]) -> Outcome:
        """Carry out one event, or a whole task, and wait for its end."""

    def judge(self, caption: str = "") -> tuple[bool, str]:
        """Whether the event (empty: the whole task) is physically achieved, and why."""


class Watcher(Protocol):
    """Who wants to know how the episode goes: the terminal and the film."""

    def begin(self, episode: Episode, captions: tuple[str, ...]) -> None: ...

    def event(self, number: int, caption: str) -> None: ...

    def progress(self, number: int, progress: Progress) -> None: ...

    def event_done(self, number: int, result: EventResult) -> None: ...

    def end(self, result: EpisodeResult) -> None: ...


def run_episode(robot: Robot, episode: Episode, watcher: Watcher, retries: int = 0) -> EpisodeResult:
    """Carry out the events one after the other; stop at the first whose motion aborts.

    An event that was carried out but not achieved is sent again up to `retries` times. With captions of
    its own an episode succeeds when every event does; otherwise when the scene's task is achieved.
    """
    started = time.monotonic()
    captions = robot.new_scene(episode.task, episode.seed)
    captions = episode.captions or captions
    watcher.begin(episode, captions)
    events: list[EventResult] = []
    for number, caption in enumerate(captions):
        result = _run_event(robot, number, caption, watcher)
        for _ in range(retries):
            if result.success or not result.completed:
                break
            events.append(result)
            result = _run_event(robot, number, caption, watcher)
        events.append(result)
        if not result.completed:
            break
    success, outcome = _verdict(robot, episode, captions, events)
    result = EpisodeResult(
        episode.task, episode.seed, tuple(events), success, outcome, time.monotonic() - started
    )
    watcher.end(result)
    return result


def _run_event(robot: Robot, number: int, caption: str, watcher: Watcher) -> EventResult:
    watcher.event(number, caption)
    thoughts: list[str] = []

    def told(progress: Progress) -> None:
        if progress.reasoning and progress.reasoning not in thoughts[-1:]:
            thoughts.append(progress.reasoning)
        watcher.progress(number, progress)

    done = robot.execute(caption, told)
    success, reason = robot.judge(caption) if done.succeeded else (False, f"{done.status}: {done.text}")
    result = EventResult(
        name=kind(caption),
        caption=caption,
        steps=done.steps,
        planned=done.planned,
        seconds=done.seconds,
        inference_s=done.inference_s,
        completed=done.succeeded,
        success=success,
        outcome=reason,
        reasoning=tuple(thoughts),
    )
    watcher.event_done(number, result)
    return result


def kind(sentence: str) -> str:
    """Type of the event that a sentence asks for; `task` if it asks for more than one."""
    word = sentence.lower().split()[0]
    return word if word in EVENTS else "task"


def _verdict(
    robot: Robot, episode: Episode, captions: tuple[str, ...], events: list[EventResult]
) -> tuple[bool, str]:
    if not events[-1].completed:
        return False, f"{events[-1].name}: {events[-1].outcome}"
    if episode.captions:
        last = {event.caption: event for event in events}
        failed = [event for event in last.values() if not event.success]
        if failed:
            return False, f"{failed[0].name}: {failed[0].outcome}"
        return True, f"all {len(captions)} events achieved"
    return robot.judge()


class Watchers:
    """Several watchers as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def begin(self, episode: Episode, captions: tuple[str, ...]) -> None:
        for watcher in self._watchers:
            watcher.begin(episode, captions)

    def event(self, number: int, caption: str) -> None:
        for watcher in self._watchers:
            watcher.event(number, caption)

    def progress(self, number: int, progress: Progress) -> None:
        for watcher in self._watchers:
            watcher.progress(number, progress)

    def event_done(self, number: int, result: EventResult) -> None:
        for watcher in self._watchers:
            watcher.event_done(number, result)

    def end(self, result: EpisodeResult) -> None:
        for watcher in self._watchers:
            watcher.end(result)
