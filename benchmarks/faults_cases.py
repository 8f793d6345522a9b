"""The fault matrix: what is done to the system, and what puts it right again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wallwm_ros.cli.bench import part
from wallwm_ros.core.config import load_robot

fuzz = part("faults_fuzz")
CAMERA_FAULTS = ("killed", "frozen", "delayed", "wrong_size")
ENGINE_FAULTS = {"raise": "raises", "hang": "hangs 5 s", "nan": "returns NaN",
                 "wrong_joints": "wrong joints", "wild": "wild values"}  # fmt: skip
JUMP_S, AWAY_S = 10.0, 1.5
FLOOD_S = 1.0
FUZZ_CHUNKS, FUZZ_PARAMETERS = 450, 50  # a run; with 20 runs 10,000 in all
QUICK = ("wrist_cam_left killed", "policy SIGKILL", "engine returns NaN", "fuzz")

Inject = Callable[[Any, random.Random], int]  # a stage -> when it took effect, wall clock [ns]


def sound(stage: Any) -> None:
    """Nothing to be put right."""


def sound_robot(stage: Any) -> None:
    """The robot is well again."""
    stage.robot()


def sound_engine(stage: Any) -> None:
    """The engine is well again."""
    stage.engine("")


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        name: of the case.
        inject: puts it in, while the arm moves.
        heal: puts it right, once the arm holds or the goal has ended.
        arm: makes it strike by itself; before the goal is sent where that is an event, whose engine is asked
            only once.
        orphans: the goal's server dies; the one that comes after it is asked for the result.
        ends: the arm has to hold and the goal to end because of it; else the goal may go on.
        simulated: needs nodes that take their time from /clock.
    """

    name: str
    inject: Inject
    heal: Callable[[Any], None] = sound
    arm: Callable[[Any], None] | None = None
    orphans: bool = False
    ends: bool = True
    simulated: bool = False


def matrix() -> tuple[Case, ...]:
    """Every case, those of one system after those of the other."""
    cameras = load_robot("sim").camera_names
    return (
        *(_camera(camera, fault) for camera in cameras for fault in CAMERA_FAULTS),
        Case("joint states lost", lambda stage, rng: stage.robot(joints_lost=True), sound_robot),
        Case("policy SIGSTOP", _stop_policy, _continue_policy),
        Case("policy SIGKILL", lambda stage, rng: stage.processes.kill_policy(), _revive, orphans=True),
        *(_engine(misdeed, words) for misdeed, words in ENGINE_FAULTS.items()),
        Case("chunk flood", _flood, ends=False),
        Case("discovery lost", lambda stage, rng: stage.robot(away_s=AWAY_S), sound_robot),
        Case("disk full", lambda stage, rng: stage.processes.limit_files(1), _free_disk, ends=False),
        Case("fuzz", _fuzz, ends=False),
        Case("clock paused", lambda s, rng: s.robot(clock_paused=True), sound_robot, simulated=True),
        Case("clock jumps ahead", lambda s, rng: s.robot(clock_jump_s=JUMP_S), ends=False, simulated=True),
        Case("clock jumps back", lambda s, rng: s.robot(clock_jump_s=-JUMP_S), ends=False, simulated=True),
    )


def _camera(camera: str, fault: str) -> Case:
    name = f"{camera} {fault.replace('_', ' ')}"
    return Case(name, lambda stage, rng: stage.robot(cameras={camera: fault}), sound_robot)


def _engine(misdeed: str, words: str) -> Case:
    return Case(
        f"engine {words}",
        lambda stage, rng: stage.engine_struck(),
        sound_engine,
        arm=lambda stage: stage.engine(misdeed),
    )


def _stop_policy(stage: Any, rng: random.Random) -> int:
    return stage.processes.signal("policy_node", signal.SIGSTOP)


def _continue_policy(stage: Any) -> None:
    stage.processes.signal("policy_node", signal.SIGCONT)


def _revive(stage: Any) -> None:
    stage.revive_policy()


def _free_disk(stage: Any) -> None:
    stage.processes.limit_files(-1)


def _flood(stage: Any, rng: random.Random) -> int:
    """As many chunks in a second as go through; what counts begins with the last."""
    messages, until = fuzz.flood(stage.profile, rng, stage.seat.status.generation), time.monotonic() + FLOOD_S
    for _ in iter(lambda: time.monotonic() < until, False):
        stage.chunks.publish(next(messages))
        time.sleep(0.0005)
    return time.time_ns()


def _fuzz(stage: Any, rng: random.Random) -> int:
    """Hostile chunks and, between them, hostile parameters; what counts begins with the stop at their end."""
    seat = stage.seat
    before = {name: seat.parameters(name) for name in ("control_node", "policy_node")}
    chunks = fuzz.chunks(stage.profile, rng, lambda: seat.status.generation)
    for turn in range(FUZZ_PARAMETERS):
        name = ("control_node", "policy_node")[turn % 2]
        for _ in range(FUZZ_CHUNKS // FUZZ_PARAMETERS):
            stage.chunks.publish(next(chunks))
        known = [parameter.name for parameter in before[name]]
        seat.set(name, next(fuzz.parameters(known, rng)))
    for name, parameters in before.items():
        seat.set(name, *parameters)
    stage.chunks.publish(fuzz.stop(stage.profile, seat.status.generation + 1))
    return time.time_ns()
