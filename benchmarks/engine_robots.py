"""Several robots at one engine, all of which ask all the time: one after the other, and batched by denoising steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engine_speed import CHUNK, THREADS, Say
from benchmarks.runtime_figures import summary

if TYPE_CHECKING:
    from wallwm_model.engines import Engine, Look
    from wallwm_model.engines.turns import Turns

ROBOTS = (1, 2, 4, 8)
NAMES = {1: "in_turn", max(ROBOTS): "together"}  # largest batch: how that is called


def throughput(bundle: Path, say: Say, chunks: int) -> dict[str, dict[str, Any]]:
    """Robots -> way -> chunks per second of all, and how long one takes for whoever asks [ms].

    Args:
        chunks: of each robot, in each of three rounds; the ways take turns.
    """
    from wallwm_model.deploy.observations import noise
    from wallwm_model.engines import load_engine
    from wallwm_model.engines.together import shared
    from wallwm_model.engines.turns import Turns

    engine = load_engine(bundle, "auto", THREADS[0])
    look, rows = next(noise(engine.spec, 0)), {}
    for robots in ROBOTS:
        found: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in NAMES.values()}
        for turn in range(4):  # the first warms up
            for most, name in NAMES.items():
                say(f"{robots} robots, {name.replace('_', ' ')}, round {turn} of 3")
                several, together = shared(engine, most)
                turns = Turns(robots, together)
                one = drive(several, look, turns, robots, chunks if turn else 1)
                turns.close()
                if turn:
                    found[name].append(one)
        rows[str(robots)] = {
            name: {
                "chunks_per_s": sum(robots * chunks for _ in rounds) / sum(s for s, _ in rounds),
                **summary([ms for _, times in rounds for ms in times]),
            }
            for name, rounds in found.items()
        }
    engine.close()
    return rows


def drive(engine: Engine, look: Look, turns: Turns, robots: int, chunks: int) -> tuple[float, list[float]]:
    """Every robot asks again as soon as it is answered -> seconds for all, milliseconds of each chunk."""
    from concurrent.futures import ThreadPoolExecutor

    def robot(number: int) -> Sequence[float]:
        times = []
        for seed in range(chunks):
            began = time.perf_counter()
            context = turns.submit(lambda: engine.observe(look)).future.result()
            turns.submit(
                lambda: engine.act(context, CHUNK, engine.spec.euler_steps, number + seed)
            ).future.result()
            times.append(1e3 * (time.perf_counter() - began))
        return times

    with ThreadPoolExecutor(robots) as pool:
        began = time.perf_counter()
        times = [ms for row in pool.map(robot, range(robots)) for ms in row]
        return time.perf_counter() - began, times
