"""How smooth are the joins between chunks, and is every step carried out once? With the clock turned by hand.

Ours is the real TaskRunner and Controller. When it asked for chunks and how long each took is noted, and the
peers' rules are given chunks of the same policy, asked for at the same moments and as late: LeRobot's own
merging code with two of its aggregate functions, and naive replacement.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import motion as motions
from benchmarks.peers.environment import Peers
from benchmarks.peers.merging import Replace, play
from benchmarks.peers.motion import Motion, Schedule
from benchmarks.runtime_figures import quantile
from benchmarks.task_bench import HOME, PERIOD, ROBOT, STEP, STEPS, TaskBench
from wallwm_ros.core.tasks import TaskGoal

PACE = 0.003  # of the first column in one step [rad]
SWING = 0.3  # share of its speed limit that a joint's path uses
PERIODS = (60, 90)  # of the joints' paths, from and to [steps]
OPINION = 0.01  # standard deviation between chunks [rad]
STEP_S = STEP / 1e9
PATIENCE_S = 300.0
SUBSTEP = 0.75  # a picture is seldom taken at a step's very end: part of a step may be missing at a join
WINDOW = 6  # steps after a join that belong to it
RULES = ("weighted_average", "latest_only")
# Latency of the first, second ... inference [s].
SCENARIOS: dict[str, Callable[[], Iterator[float]]] = {
    "steady 200 ms": lambda: repeat(0.2),
    "random 100-600 ms": lambda: iter(np.random.default_rng(2).uniform(0.1, 0.6, 10_000).tolist()),
    "spikes of 1.1 s": lambda: cycle((0.15, 0.15, 0.15, 0.15, 1.1)),
    "cold start of 3 s": lambda: chain((3.0, 1.2), repeat(0.2)),
    "starvation of 2.5 s": lambda: cycle((0.2, 0.2, 0.2, 2.5)),
}
FIGURES = ("skipped", "replayed", "velocity_step", "acceleration_step")


class SeamBench(TaskBench):
    """Carries the motion out, and notes when each chunk was asked for and came [ns]."""

    def __init__(self, motion: Motion, latency: Iterator[float], *, prefix: bool) -> None:
        super().__init__(prefix=prefix, latency=latency)
        self.asked: list[int] = []
        self.came: list[int] = []
        self.places: dict[tuple[int, int], float] = {}  # a chunk's steps of the path, less the plan's
        self._motion = motion
        self.engine = self._think

    def infer(self, match: Any, question: Any) -> None:
        """See `TaskPort`."""
        self.asked.append(self.clock.now_ns())
        super().infer(match, question)

    def _think(self, now: np.ndarray, match: Any, question: Any) -> np.ndarray:
        number = len(self.came)
        self.came.append(self.clock.now_ns())
        at = self._really_done(match.stamp_ns)
        self._shift = at - question.first_step
        return self._motion.chunk(number, match.states["arm"], at, question.committed)

    def publish(self, place: Any, plan: Any, goal: Any, wait_ms: float) -> None:
        """See `TaskPort`."""
        self.places[place.generation, place.sequence] = self._shift
        super().publish(place, plan, goal, wait_ms)

    def _really_done(self, stamp_ns: int) -> float:
        """Steps carried out at a moment: the controller's word, not the runner's guess."""
        if not self.published:
            return 0.0
        generation = self.published[-1][0].generation
        past = [s for s in self.statuses if s.time_ns <= stamp_ns and s.generation == generation]
        if not past:
            return 0.0
        if past[-1].step == past[-1].steps:
            return float(past[-1].step)  # it has run out, and waits
        since_ns = next(s.time_ns for s in past if s.step == past[-1].step < s.steps)  # a pause does not count
        return past[-1].step + min((stamp_ns - since_ns) / STEP, 1.0)


def make_motion(ticks: int) -> Motion:
    """An even rise of the first joint, by which steps are counted, and swings of the others."""
    rng = np.random.default_rng(1)
    index, velocity = np.arange(ticks + 2 * STEPS), ROBOT.limit("velocity")
    path = np.repeat(HOME[None], len(index), axis=0)
    path[:, 0] += PACE * index
    rad = [i for i, joint in enumerate(ROBOT.joints) if joint.unit == "rad"][1:]
    for column in rad:
        pulse = 2 * np.pi / rng.uniform(*PERIODS)  # [1/step]
        path[:, column] += SWING * velocity[column] * STEP_S / pulse * np.sin(pulse * index)
    opinions = np.zeros((64, path.shape[1]))
    opinions[:, rad] = rng.normal(0.0, OPINION, (64, len(rad)))
    return Motion(path, opinions, STEPS)


def run(seconds: float, peers: Peers, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Scenario -> rule -> figures; a missing peer has `missing` instead, with the reason."""
    ticks = round(seconds / STEP_S)
    motion, found, schedules = make_motion(ticks), {}, {}
    for name, latency in SCENARIOS.items():
        say(f"seams, {name}")
        rows: dict[str, Any] = {}
        for kind, prefix in (("wallwm", True), ("wallwm without prefix", False)):
            figures, schedule = ours(motion, latency(), seconds, prefix=prefix)
            rows[kind] = figures
            if prefix:
                shared = schedule
        rows["naive replacement"] = judge(motion, play(motion, shared, Replace()), shared)
        found[name], schedules[name] = rows, shared
    say("seams, LeRobot's rules on the same chunks")
    for name, rows in theirs(motion, schedules, peers, folder).items():
        found[name] |= rows
    path = motion.path[: ticks + 1]
    return {"scenarios": found, "of_the_path_itself": steps_of(path, np.arange(2, ticks - WINDOW, WINDOW))}


def ours(
    motion: Motion, latency: Iterator[float], seconds: float, *, prefix: bool
) -> tuple[dict[str, Any], Schedule]:
    """The real runner and controller; when its chunks were asked for and came."""
    bench = SeamBench(motion, latency, prefix=prefix)
    begun_ns, before = bench.clock.now_ns(), len(bench.statuses)
    bench.modes.submit(TaskGoal(b"seams", "tidy up", timeout_s=10 * seconds))
    bench.run(seconds)
    statuses = bench.statuses[before:]
    due = [b for a, b in zip(statuses, statuses[1:], strict=False) if b.step > a.step]
    # What the policy meant for each step that came due, before it is led over from the chunk before.
    done = np.array([b.step + bench.places[b.generation, b.sequence] for b in due])
    commands = np.array([status.command for status in statuses])
    every = round(STEP_S / PERIOD)
    joins = {
        i // every
        for i, (a, b) in enumerate(zip(statuses, statuses[1:], strict=False))
        if (a.generation, a.sequence) != (b.generation, b.sequence)
    }
    figures = counts(done)
    figures |= steps_of(commands[::every], sorted(joins)) | share_of_limits(commands)
    figures |= {"skipped_by_control": bench.steps()[0], "replayed_by_control": bench.steps()[1]}
    ticks = round(seconds / STEP_S)
    asked = np.array([(t - begun_ns) // STEP for t in bench.asked], dtype=int)
    came = np.array([-(-(t - begun_ns) // STEP) for t in bench.came], dtype=int)
    asked = asked[: len(came)]
    return figures, Schedule(asked, np.maximum(came, asked + 1), ticks)


def theirs(
    motion: Motion, schedules: dict[str, Schedule], peers: Peers, folder: Path
) -> dict[str, dict[str, Any]]:
    """Scenario -> LeRobot's rule -> figures, all played by one process in its own environment."""
    trouble = peers.missing.get("lerobot", "")
    if not trouble:
        folder.mkdir(parents=True, exist_ok=True)
        for number, schedule in enumerate(schedules.values()):
            motions.save(folder / f"{number}.npz", motion, schedule)
        done = subprocess.run(
            [peers.python, "-m", "benchmarks.peers.merging", str(folder), *RULES],
            env=peers.environ(), cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["it printed nothing"]
            trouble = f"lerobot's merging failed: {words[-1]}"
    found: dict[str, dict[str, Any]] = {}
    for number, (name, schedule) in enumerate(schedules.items()):
        found[name] = {
            f"lerobot {rule}": {"missing": trouble}
            if trouble
            else judge(motion, np.load(folder / f"{number}-{rule}.npy"), schedule)
            for rule in RULES
        }
    return found


def judge(motion: Motion, sent: np.ndarray, schedule: Schedule) -> dict[str, Any]:
    """Figures of actions (ticks, D) that were sent one per step; where none was, the arm keeps its last."""
    commands, last = np.empty_like(sent), motion.path[0]
    for tick, row in enumerate(sent):
        last = commands[tick] = row if np.isfinite(row).all() else last
    done = sent[np.isfinite(sent).all(axis=1)]
    joins = [int(tick) for tick in schedule.came if 0 < tick < schedule.ticks]
    every = round(STEP_S / PERIOD)
    times = np.arange(every * (len(commands) - 1) + 1) / every  # led over evenly, which is more than they do
    fine = np.stack([np.interp(times, np.arange(len(commands)), column) for column in commands.T], axis=1)
    return (
        counts(np.array([motion.position(row) for row in done]))
        | steps_of(commands, joins)
        | share_of_limits(fine)
    )


def counts(done: np.ndarray) -> dict[str, int]:
    """Steps left out and steps carried out again; `done` (n,): steps of the path in their order."""
    way = np.diff(done)
    off = np.where(np.abs(way - 1) > SUBSTEP, np.round(way - 1), 0).astype(int)
    return {
        "skipped": int(np.maximum(off, 0).sum()),
        "replayed": int(np.maximum(-off, 0).sum()),
        "steps": len(done),
    }


def steps_of(commands: np.ndarray, joins: Any) -> dict[str, float]:
    """Largest change of velocity and of acceleration from one step to the next, near joins.

    Args:
        commands: (n, D), one per step [rad or m].
        joins: steps in which a chunk took over.

    Returns:
        As shares of the limits (median and largest over joins), and the largest in rad/s and rad/s^2.
    """
    velocity = np.diff(commands, axis=0) / STEP_S
    acceleration = np.diff(velocity, axis=0) / STEP_S
    rad = np.array([joint.unit == "rad" for joint in ROBOT.joints])
    found: dict[str, float] = {}
    for name, values, unit in (("velocity", velocity, "rad_s"), ("acceleration", acceleration, "rad_s2")):
        change = np.abs(np.diff(values, axis=0))
        near = [change[max(j - 2, 0) : j + WINDOW] for j in joins if len(change[max(j - 2, 0) : j + WINDOW])]
        shares = [float((part / ROBOT.limit(name)).max()) for part in near]
        found[f"{name}_step"] = max(shares)
        found[f"{name}_step_p50"] = quantile(shares, 0.5)
        found[f"{name}_step_{unit}"] = max(float(part[:, rad].max()) for part in near)
    return found | {"joins": len(near)}


def share_of_limits(commands: np.ndarray) -> dict[str, float]:
    """Largest share of the limits that commands (n, D), one per control period, use."""
    velocity = np.diff(commands, axis=0) / PERIOD
    acceleration = np.diff(velocity, axis=0) / PERIOD
    return {
        "velocity_limit_share": float((np.abs(velocity) / ROBOT.limit("velocity")).max()),
        "acceleration_limit_share": float((np.abs(acceleration) / ROBOT.limit("acceleration")).max()),
    }


def worst(found: dict[str, Any], rule: str = "wallwm") -> dict[str, float]:
    """The four figures over all scenarios: counts added up, the largest steps."""
    rows = [rows[rule] for rows in found["scenarios"].values() if "missing" not in rows[rule]]
    gather = {"skipped": sum, "replayed": sum, "velocity_step": max, "acceleration_step": max}
    return {name: gather[name](row[name] for row in rows) for name in FIGURES} if rows else {}
