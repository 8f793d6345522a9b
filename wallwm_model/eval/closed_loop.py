"""Let a policy do whole tasks in the simulator, event by event, and count what physics says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wallwm_model.captions import event_of
from wallwm_model.policy import Policy
from wallwm_model.preprocess import Observation
from wallwm_model.sim.scene import sample_scene
from wallwm_model.sim.simulation import Simulation

SETTLE_S = 0.25  # rest after each event, about what control takes to report a chunk as done [s]


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


def run_episode(sim: Simulation, policy: Policy, task: str, seed: int, tally: Tally, *, blank: bool) -> bool:
    """One task from one held-out seed; every event is tried, whatever came of the one before."""
    scene = sample_scene(task, seed)
    sim.reset(scene)
    for caption in scene.captions():
        images = sim.render()
        if blank:
            images = {name: np.full_like(picture, 128) for name, picture in images.items()}
        chunk = policy.event(Observation(images, sim.state(), int(sim.time * 1e9)), caption, seed=seed)
        sim.follow(chunk.actions)
        sim.advance(SETTLE_S)
        done, why = sim.judge(caption)
        tally.events.append((event_of(caption), done, len(chunk.actions)))
        if not done:
            tally.failures.append((seed, caption, why))
    success = bool(sim.judge("")[0])
    tally.tasks.append(success)
    return success


def evaluate(
    policy: Policy, task: str, episodes: int, seed: int, *, blank: bool = False, report=None
) -> Tally:
    """`episodes` tasks from seeds `seed`, `seed + 1`, ...; `report(done, tally)` after each."""
    sim, tally = Simulation(), Tally()
    for i in range(episodes):
        run_episode(sim, policy, task, seed + i, tally, blank=blank)
        if report:
            report(i + 1, tally)
    return tally
