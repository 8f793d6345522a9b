"""Let a policy do whole tasks in the simulator, in either mode, and count what physics says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wallwm_model.captions import event_of
from wallwm_model.policy import Policy
from wallwm_model.preprocess import Observation
from wallwm_model.sim.scene import Scene
from wallwm_model.sim.simulation import Simulation
from wallwm_model.sim.variations import vary

SETTLE_S = 0.25  # rest after each event, about what control takes to report a chunk as done [s]
PATIENCE = 2.5  # a fixed-chunk policy may take so many times as long as the expert's typical task
TYPICAL_S = {"pick_place": 8.0, "handover": 15.0}  # of the expert


@dataclass
class Tally:
    """Outcomes over episodes: (event, success, steps) of every event tried, and of whole tasks."""

    tasks: list[bool] = field(default_factory=list)
    events: list[tuple[str, bool, int]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def rows(self) -> dict[str, dict[str, float]]:
        """Per event type: n, success, steps_min, steps_median, steps_max."""
        out = {}
        for name in dict.fromkeys(e[0] for e in self.events):
            steps = [s for n, _, s in self.events if n == name]
            good = [ok for n, ok, _ in self.events if n == name]
            out[name] = {
                "n": len(good),
                "success": sum(good),
                "steps_min": min(steps),
                "steps_median": float(np.median(steps)),
                "steps_max": max(steps),
            }
        return out


Driver = Callable[[Simulation, Scene, Tally], None]


class EventDriver:
    """A planner that names every event in its order; one chunk each, whatever came of the one before."""

    def __init__(self, policy: Policy, *, blank: bool = False):
        self._policy, self._blank = policy, blank

    def __call__(self, sim: Simulation, scene: Scene, tally: Tally) -> None:
        for caption in scene.captions():
            chunk = self._policy.event(_look(sim, self._blank), caption, seed=scene.seed)
            sim.follow(chunk.actions)
            sim.advance(SETTLE_S)
            done, why = sim.judge(caption)
            tally.events.append((event_of(caption), done, len(chunk.actions)))
            if not done:
                tally.failures.append((scene.seed, caption, why))


class UnifiedDriver:
    """Fixed-length chunks one after the other, each from the newest pictures and those of the past.

    With the source `atomic` a planner names the present event, and goes on to the next one when the model's
    remaining time says that the event ends inside the chunk's executed part.
    """

    def __init__(self, policy: Policy, source: str, *, blank: bool = False):
        self._policy, self._source, self._blank = policy, source, blank

    def __call__(self, sim: Simulation, scene: Scene, tally: Tally) -> None:
        spec = self._policy.engine.spec
        executed = spec.replan_steps
        film = _Film(sim, spec.history_pictures, spec.picture_steps, self._blank)
        limit = PATIENCE * TYPICAL_S[scene.task] * spec.rate_hz
        captions, steps, index = scene.captions(), 0, 0
        while steps < limit and not sim.judge("")[0]:
            text = captions[index] if self._source == "atomic" else scene.instruction()
            observation = film.observation()
            number = 1 + steps // spec.chunk_steps
            chunk = self._policy.unified(observation, text, self._source, chunk=number, seed=scene.seed + steps)
            sim.follow(chunk.actions[:executed], film.watch)
            steps += executed
            if chunk.remaining_s * spec.rate_hz <= executed:
                index = min(index + 1, len(captions) - 1)
        sim.advance(SETTLE_S)


class _Film:
    """The pictures of the last moments; before the first one, the robot rested as it is seen first."""

    def __init__(self, sim: Simulation, count: int, every: int, blank: bool):
        self._sim, self._every, self._blank = sim, every, blank
        self._past = [_look(sim, blank).images] * count

    def watch(self, done: int) -> None:
        """Keep a picture every so many steps; those at the end of a part are the next observation's own."""
        if done % self._every == 0:
            self._past = [*self._past[1:], self._newest] if self._past else []
            self._newest = _look(self._sim, self._blank).images

    def observation(self) -> Observation:
        """What is seen now, with the past."""
        now = _look(self._sim, self._blank)
        self._newest = now.images
        return Observation(now.images, now.state, now.stamp_ns, history=tuple(self._past))


def _look(sim: Simulation, blank: bool) -> Observation:
    images = sim.render()
    if blank:
        images = {name: np.full_like(picture, 128) for name, picture in images.items()}
    return Observation(images, sim.state(), int(sim.time * 1e9))


def evaluate(
    driver: Driver, task: str, episodes: int, seed: int, *, variation: str = "plain", report=None
) -> Tally:
    """`episodes` tasks from seeds `seed`, `seed + 1`, ...; `report(done, tally)` after each."""
    sim, tally = Simulation(), Tally()
    for i in range(episodes):
        scene = vary(variation, task, seed + i)
        sim.reset(scene)
        driver(sim, scene, tally)
        tally.tasks.append(bool(sim.judge("")[0]))
        if report:
            report(i + 1, tally)
    return tally
