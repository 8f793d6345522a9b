"""Many expert episodes -> a data folder, by several processes, resumable, the same for the same seed.

Layout: `meta.json` and `shard_0000/`, `shard_0001/` ... each with `frames.npy` (uint8 (F, 3, side, side, 3), can
be memory-mapped), `moments.npz` (state and truth at each of the F pictures) and `samples.npz`. A shard is written under another name first: a stop leaves no half shard.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model.data.episode import (
    DISTURBED,
    FRAME_SIZE,
    FRAME_STEPS,
    HORIZON,
    MOMENTS,
    SLOTS,
    Episode,
    run_episode,
    simulation_of,
)
from wallwm_model.errors import ConfigError, SimulationError
from wallwm_model.sim.robot import CAMERAS, JOINTS
from wallwm_model.sim.scene import TASKS, TRAINING_SEEDS
from wallwm_model.sim.simulation import STEP_S

FORMAT = 2
SMALLEST, LARGEST = 32, 1024  # side of a picture [px]
SHARD_EPISODES = 25
HANDOVER_SHARE = 11 / 26  # of the episodes when both tasks are wanted: about as many events of each


@dataclass(frozen=True)
class Job:
    """One shard to make: (task, seed) of each of its episodes."""

    folder: Path
    episodes: tuple[tuple[str, int], ...]
    disturbed: float
    size: int = FRAME_SIZE


def plan(
    out: Path, episodes: int, seed: int, task: str, disturbed: float, size: int = FRAME_SIZE
) -> list[Job]:
    """Split `episodes` into shards; which seed does which task depends on nothing but the arguments."""
    if task not in ("both", *TASKS):
        raise ConfigError(f"task must be both, {' or '.join(TASKS)}; found {task!r}")
    if episodes < 1:
        raise ConfigError(f"episodes must be at least 1; found {episodes}")
    if seed < 0:
        raise ConfigError(f"seed must be at least 0; found {seed}")
    if not SMALLEST <= size <= LARGEST:
        raise ConfigError(f"size must be {SMALLEST} to {LARGEST} px; found {size}")
    work = []
    for i in range(episodes):
        second = int((i + 1) * HANDOVER_SHARE) > int(i * HANDOVER_SHARE)
        work.append((task if task != "both" else TASKS[second], seed + i))
    parts = [work[i : i + SHARD_EPISODES] for i in range(0, episodes, SHARD_EPISODES)]
    return [Job(out / f"shard_{k:04d}", tuple(part), disturbed, size) for k, part in enumerate(parts)]


def generate(
    out: Path, episodes: int, seed: int = TRAINING_SEEDS, task: str = "both", workers: int = 2,
    disturbed: float = DISTURBED, on_shard=None, size: int = FRAME_SIZE,
) -> dict:  # fmt: skip
    """Make a data folder, or finish one that was interrupted.

    Args:
        out: the folder.
        episodes: how many; seeds are `seed`, `seed + 1`, ...
        task: `pick_place`, `handover` or `both`.
        workers: processes.
        disturbed: share of the events whose start is disturbed.
        on_shard: called with (shards done, shards, summary of the new shard) after each.
        size: side of the pictures [px], that of the model to be trained.

    Returns:
        The content of `meta.json`.

    Raises:
        ConfigError: wrong argument, or the folder holds data made with other arguments.
    """
    jobs = plan(out, episodes, seed, task, disturbed, size)
    asked = {"format": FORMAT, "episodes": episodes, "seed": seed, "task": task, "disturbed": disturbed}
    if size != FRAME_SIZE:
        asked["size"] = size
    _check_same(out, asked)
    out.mkdir(parents=True, exist_ok=True)
    (out / "request.json").write_text(json.dumps(asked) + "\n")
    todo = [job for job in jobs if not (job.folder / "summary.json").is_file()]
    done = len(jobs) - len(todo)
    os.environ.setdefault("LP_NUM_THREADS", "1")  # software GL would start a thread per core in each worker
    if todo:
        with multiprocessing.get_context("spawn").Pool(min(workers, len(todo)), _quiet) as pool:
            for summary in pool.imap_unordered(make_shard, todo):
                done += 1
                if on_shard:
                    on_shard(done, len(jobs), summary)
    meta = asked | _totals(jobs) | {
        "shards": [job.folder.name for job in jobs], "joints": list(JOINTS), "cameras": list(CAMERAS),
        "slots": list(SLOTS), "step_s": STEP_S, "horizon": HORIZON, "frame_steps": FRAME_STEPS,
        "frame_size": size,
    }  # fmt: skip
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    return meta


def _check_same(out: Path, asked: dict) -> None:
    request = out / "request.json"
    if request.is_file() and (found := json.loads(request.read_text())) != asked:
        raise ConfigError(f"{out} must be new or hold data made with {asked}; found {found}")


def _quiet() -> None:
    """Ctrl-C is for the main process, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_simulation = functools.cache(simulation_of)  # one per worker process: building it and its graphics is slow


def make_shard(job: Job) -> dict:
    """Run one shard's episodes and write them; returns its summary."""
    sim = _simulation(job.size)
    episodes = [run_episode(sim, task, seed, job.disturbed, job.size) for task, seed in job.episodes]
    samples = [sample for episode in episodes for sample in episode.samples]
    if not samples:
        raise SimulationError(f"at least one event of {job.folder.name} must succeed; found none")
    summary = summarise(job.episodes, episodes)
    partial = job.folder.with_name(job.folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(job.folder, ignore_errors=True)
    partial.mkdir(parents=True)
    counts = np.array([len(sample["frames"]) for sample in samples], np.int16)
    moments = {name: np.concatenate([sample.pop(name) for sample in samples]) for name in MOMENTS}
    np.save(partial / "frames.npy", moments.pop("frames"))
    np.savez(partial / "moments.npz", **moments)
    columns = {name: np.array([sample[name] for sample in samples]) for name in samples[0]}
    columns["length"] = columns["length"].astype(np.int16)
    columns["first"] = np.concatenate([[0], np.cumsum(counts.astype(np.int64))[:-1]])
    np.savez(partial / "samples.npz", n_frames=counts, **columns)
    (partial / "summary.json").write_text(json.dumps(summary) + "\n")
    partial.rename(job.folder)
    return summary


def summarise(work: tuple[tuple[str, int], ...], episodes: list[Episode]) -> dict:
    """Counts of one shard: tasks {name: [done, tried]}, events {name: [samples, undisturbed done, undisturbed
    tried, disturbed done, disturbed tried]}, lengths {event: [...]}."""
    out: dict = {"tasks": {}, "events": {}, "lengths": {}}
    for (task, _), episode in zip(work, episodes):
        count = out["tasks"].setdefault(task, [0, 0])
        count[0] += episode.success
        count[1] += 1
        for event, disturbed, success in episode.tried:
            row = out["events"].setdefault(event, [0, 0, 0, 0, 0])
            row[0] += success
            row[1 + 2 * disturbed] += success
            row[2 + 2 * disturbed] += 1
        for sample in episode.samples:
            out["lengths"].setdefault(sample["event"], []).append(sample["length"])
    return out


def _totals(jobs: list[Job]) -> dict:
    """All shards' summaries added up; lengths as [least, median, most]."""
    tasks: dict = {}
    events: dict = {}
    lengths: dict = {}
    for job in jobs:
        summary = json.loads((job.folder / "summary.json").read_text())
        for total, part in ((tasks, summary["tasks"]), (events, summary["events"])):
            for name, row in part.items():
                total[name] = [a + b for a, b in zip(total.get(name, [0] * len(row)), row)]
        for name, values in summary["lengths"].items():
            lengths.setdefault(name, []).extend(values)
    spans = {name: [min(v), int(np.median(v)), max(v)] for name, v in lengths.items()}
    return {"tasks": tasks, "events": events, "lengths": spans, "samples": sum(map(len, lengths.values()))}
