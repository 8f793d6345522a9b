"""LeRobot's ACT in the simulator, on the scenes that our policies are given, judged by the same judge."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.peers.act.policy import Trained
from wallwm_model.eval.closed_loop import PATIENCE, SETTLE_S, TYPICAL_S, Driver, Tally
from wallwm_model.preprocess import Observation
from wallwm_model.sim.scene import Scene
from wallwm_model.sim.simulation import Simulation

NAME = "lerobot ACT"


class ActDriver:
    """Chunk after chunk, each from what is seen then; `executed` steps of each are carried out.

    All of them is LeRobot's default (`n_action_steps` = `chunk_size`, no temporal ensembling).
    """

    def __init__(self, trained: Trained, executed: int) -> None:
        self._trained, self._executed = trained, executed

    def __call__(self, sim: Simulation, scene: Scene, tally: Tally) -> None:
        steps, limit = 0, PATIENCE * TYPICAL_S[scene.task] * self._trained.spec.rate_hz
        while steps < limit and not sim.judge("")[0]:
            seen = Observation(sim.render(), sim.state(), int(sim.time * 1e9))
            sim.follow(self._trained.chunk(seen, scene.instruction())[: self._executed])
            steps += self._executed
        sim.advance(SETTLE_S)


def drivers(folder: Path, threads: int) -> dict[str, Driver]:
    """Policy name -> driver: ACT as LeRobot runs it, and with chunks that overlap as ours do.

    Raises:
        ConfigError: no training in the folder, or LeRobot is not there.
    """
    torch.set_num_threads(threads)
    trained = Trained(folder)
    spec = trained.spec
    return {
        NAME: ActDriver(trained, spec.chunk_steps), f"{NAME} overlapping": ActDriver(trained, spec.replan_steps)
    }  # fmt: skip
