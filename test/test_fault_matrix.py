"""Every case of `./wallwm bench faults` on the real controller, runners and synchroniser, without waiting."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from fault_world import CAMERAS, World
from task_bench import HOME, PACE, SECOND

from benchmarks.task_bench import ROBOT
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.events import ControlState, Outcome

LATEST_S = 3.6  # a chunk of 1.6 s runs out, or 2 s without an observation pass and the arm stops
SOON_S = 0.5
BOTH = ("unified", "event")


@dataclass(frozen=True)
class Case:
    """One fault: how it comes, how it goes, what must be said, and how the goal may end because of it."""

    name: str
    fault: Callable[[World], None]
    heal: Callable[[World], None] = lambda world: None
    says: str = ""
    outcomes: tuple[Outcome, ...] = ()
    hold_s: float = LATEST_S
    modes: tuple[str, ...] = BOTH


def _set(**values):
    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world, name, value)

    return change


def _jump(seconds: float):
    return lambda world: setattr(world, "offset_ns", world.offset_ns + round(seconds * SECOND))


def _spoil(change):
    return lambda world: world.spoil(change)


def _raise(rows):
    raise RuntimeError("the engine raised RuntimeError: out of memory")


def _with_nan(rows):
    rows[-1, 3] = np.nan
    return rows


def _wild(rows):
    return np.random.default_rng(0).uniform(-1e3, 1e3, rows.shape)


def _flood(world: World) -> None:
    """A thousand chunks a second, older, as new as and newer than the plan, for a second."""
    rng, newest = np.random.default_rng(0), world.statuses[-1].generation
    low, high = ROBOT.limit("low") - 1, ROBOT.limit("high") + 1
    for _ in range(100):
        for _ in range(10):
            rows = rng.uniform(low, high, (4, len(low)))
            generation = newest + int(rng.integers(-1, 2))
            world.controller.submit(Chunk(generation, ROBOT.joint_names, rows, 50_000_000))
        newest += rng.random() < 0.05
        world.run(0.01)
    world.broken_ns = world.clock.now_ns()


def _fuzz(world: World) -> None:
    """Chunks with anything in them, each for a tick."""
    rng = np.random.default_rng(1)
    for _ in range(400):
        world.controller.submit(_hostile(rng, world.statuses[-1].generation), int(rng.choice(STARTS)))
        world.run(0.01)
    world.controller.submit(Chunk.stop(world.statuses[-1].generation + 1, ROBOT.joint_names))
    world.broken_ns = world.clock.now_ns()


STARTS = (0, 0, 0, 1, -(2**62), 2**62)
ANY = (0.0, 1e-300, -1e9, 1e300, -1e308, np.inf, -np.inf, np.nan)


def _hostile(rng: np.random.Generator, newest: int) -> Chunk:
    """A sound chunk with some of its fields made anything."""
    count = int(rng.choice((0, 1, 4, 64, 2000)))
    values = rng.uniform(ROBOT.limit("low") - 1, ROBOT.limit("high") + 1, (count, len(HOME)))
    fields = {
        "generation": newest + int(rng.integers(-1, 4)),
        "joints": ROBOT.joint_names,
        "values": values,
        "step_ns": int(rng.choice((1_000_000, 50_000_000))),
        "sequence": int(rng.integers(0, 3)),
        "final": bool(rng.random() < 0.5),
    }
    spoilt = {
        "generation": lambda: int(rng.choice((0, 2**62))) * 4,
        "joints": lambda: tuple(rng.permutation(ROBOT.joint_names)[: rng.integers(10, 15)]),
        "values": lambda: rng.choice(ANY, values.shape),
        "step_ns": lambda: int(rng.choice((-1, 0, 1, 10**18))),
        "sequence": lambda: 2**32 - 1,
        "first_step": lambda: int(rng.choice((1, 2**31, 2**32 - 1))),
        "action_space": lambda: "end_effector_pose",
    }
    for name in rng.choice(list(spoilt), int(rng.integers(0, 3)), replace=False):
        fields[name] = spoilt[name]()
    return Chunk(**fields)


WRONG = {
    "killed": "{} is stale",
    "frozen": "{} is frozen",
    "delayed": "{} is stale",
    "wrong_size": "from {} was refused: size must be 192x192",
}
NO_SIGHT = (Outcome.NO_OBSERVATION,)
ENGINE = (Outcome.ENGINE_FAILED,)
LOST = (Outcome.CONTROL_LOST,)
ALL_SIGHT = {name: "killed" for name in CAMERAS}

CASES = (
    *(
        Case(
            f"{camera} {fault.replace('_', ' ')}",
            _set(cameras={camera: fault}),
            _set(cameras={}),
            WRONG[fault].format(camera),
            NO_SIGHT,
            modes=BOTH if camera == CAMERAS[0] else BOTH[:1],  # to an event they are all the same
        )
        for camera in CAMERAS
        for fault in WRONG
    ),
    Case("joint states lost", _set(joints=False), _set(joints=True), "joint states are older", LOST, SOON_S),
    Case("policy SIGSTOP", _set(policy=False), _set(policy=True), "", (), 2.0),
    Case("policy SIGKILL", _set(policy=False), lambda world: world.revive(), "", (), 2.0),
    Case("engine raises", _spoil(_raise), says="out of memory", outcomes=ENGINE, modes=("unified",)),
    Case("engine hangs 5 s", _set(latency=5.0), _set(latency=0.2), modes=("unified",)),
    Case("engine returns NaN", _spoil(_with_nan), says="finite", outcomes=ENGINE, modes=("unified",)),
    Case("engine wrong joints", _spoil(lambda rows: rows[:, :-1]), says="14 joints", outcomes=ENGINE,
         modes=("unified",)),
    Case("engine wild values", _spoil(_wild), hold_s=np.inf, modes=("unified",)),
    Case("chunk flood", _flood, says="another sender's plan", outcomes=LOST, hold_s=2.0),
    Case("discovery lost", _set(cameras=ALL_SIGHT, joints=False), _set(cameras={}, joints=True),
         "joint states are older", LOST, SOON_S),
    Case("disk full", lambda world: None, hold_s=np.inf),
    Case("fuzz", _fuzz, says="another sender's plan", outcomes=LOST, hold_s=SOON_S),
    Case("clock paused", _set(paused=True), _set(paused=False), "joint states are older", LOST, SOON_S),
    Case("clock jumps ahead", _jump(10.0), says="/clock jumped forward by 10.", outcomes=NO_SIGHT,
         hold_s=SOON_S),
    Case("clock jumps back", _jump(-10.0), says="/clock jumped back by", outcomes=NO_SIGHT, hold_s=SOON_S),
)  # fmt: skip
RUNS = [pytest.param(case, mode, id=f"{case.name}-{mode}") for case in CASES for mode in case.modes]


def test_the_list_is_that_of_the_benchmark():
    pytest.importorskip("rclpy")
    pytest.importorskip("wallwm_msgs.msg._action_chunk")
    from wallwm_ros.cli.bench import part

    assert [case.name for case in CASES] == [case.name for case in part("faults_cases").matrix()]


@pytest.mark.parametrize(("case", "mode"), RUNS)
def test_the_arm_holds_inside_its_limits_says_why_and_goes_on_afterwards(case, mode, monkeypatch):
    world = World()
    world.begin(mode)
    if case.name == "disk full":
        monkeypatch.setattr(builtins, "open", _full)
    world.break_off(case.fault, LATEST_S)
    if world.policy and case.hold_s < np.inf:
        assert world.state == ControlState.HOLD and world.hold_s() <= case.hold_s
    elif not world.policy:
        assert world.state == ControlState.HOLD, "the plan of a process that is gone must end"
    case.heal(world)
    world.run(2.5)
    if b"a" not in world.results:  # it goes on, as it may
        world.modes.cancel(b"a")
    world.until(lambda: world.state == ControlState.HOLD)
    result = world.results.get(b"a")  # a policy process that was killed can give none
    if case.outcomes and not (mode == "event" and result.outcome == Outcome.SUCCEEDED):  # a short one is over
        assert result.outcome in case.outcomes, result.text
        assert case.says in world.reasons
    assert world.violations() == ""
    world.engine = _step_on
    world.begin(mode, b"again")
    world.modes.cancel(b"again")
    assert set(world.results) >= {b"again"} and world.violations() == ""


def _full(*_: object, **__: object):
    raise OSError(28, "No space left on device")


def _step_on(now, match, question):
    """A motion from wherever the arm is."""
    rows = np.repeat(np.clip(match.states["arm"], ROBOT.limit("low"), ROBOT.limit("high"))[None], 32, axis=0)
    rows[:, 0] -= PACE * np.arange(1, 33) * np.sign(rows[0, 0] or 1.0)
    return rows


def test_a_policy_process_that_was_stopped_does_not_call_the_control_process_silent():
    world = World()
    world.begin("unified")
    world.policy = False
    world.run(3.0)
    world.policy = True
    world.run(1.0)
    assert b"a" not in world.results or "silent" not in world.results[b"a"].text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"generation": 2**64 - 1}, "its generation must be below"),
        ({"first_step": 2**32 - 3}, "end at step 4294967295 at the latest"),
        ({"rows": 5000}, "at most 1000 rows"),
        ({"factor": 1e300}, "targets must be at most 1e+06 from zero"),
    ],
)
def test_a_chunk_that_would_bring_the_runtime_down_is_refused(fields, words):
    world = World()
    values = np.repeat(HOME[None] * fields.pop("factor", 1.0), fields.pop("rows", 8), axis=0)
    chunk = {"generation": world.statuses[-1].generation + 1, "step_ns": 50_000_000, **fields}
    world.controller.submit(Chunk(joints=ROBOT.joint_names, values=values, **chunk))
    world.run(0.05)
    assert words in world.statuses[-1].reason and world.state == ControlState.HOLD
    world.begin("unified")
    assert world.state == ControlState.TRACKING
