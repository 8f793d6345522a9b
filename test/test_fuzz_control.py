"""10,000 hostile chunks, and whatever else may come in between: no command beyond a limit, no exception."""

import numpy as np
import pytest
from controller_bench import HOME, MS, PROFILE, Bench, D, move

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.control_state import ControlState
from wallwm_ros.core.estop import Estop

CHUNKS = 10_000
PARTS = 10
WILD = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e7, 1e5, 1e-320)
LOW, HIGH = PROFILE.limit("low"), PROFILE.limit("high")


def pick(rng, choices):
    """One of the keys; the values are how likely each is."""
    return list(choices)[rng.choice(len(choices), p=list(choices.values()))]


def hostile(rng, now, generation):
    """A chunk that is right, nearly right, or wrong in any way."""
    steps = int(rng.choice([0, 1, 2, 5, 20, 60, 1001], p=[0.05, 0.15, 0.15, 0.3, 0.28, 0.06, 0.01]))
    begin = rng.uniform(LOW, HIGH)
    kind = rng.integers(6)
    if kind == 0:
        rows = rng.uniform(LOW, HIGH, (steps, D))
    elif kind == 1:
        rows = begin + np.cumsum(rng.normal(scale=0.05, size=(steps, D)), axis=0)
    elif kind == 2:
        rows = rng.normal(scale=10.0 ** rng.integers(-6, 7), size=(steps, D))
    elif kind == 3:
        rows = HOME + np.sign(rng.normal(size=(steps, D))) * rng.uniform(0, 3)
    else:
        rows = np.tile(begin, (steps, 1))
    if rng.random() < 0.1 and steps:
        rows[rng.integers(steps), rng.integers(D)] = rng.choice(WILD)
    names = list(PROFILE.joint_names)
    if rng.random() < 0.2:
        order = rng.permutation(D)
        names, rows = [names[i] for i in order], rows[:, order]
    if rng.random() < 0.05:
        names[0] = rng.choice(["", "waist", names[1]])
    if rng.random() < 0.05:
        rows = rows[:, :-1]
    if rng.random() < 0.02:
        names = names[:-1]
    step_ns = pick(
        rng, {50 * MS: 0.6, 1: 0.1, 0: 0.05, -5: 0.05, 20 * MS: 0.1, 10**18: 0.05, 10_000 * MS: 0.05}
    )
    chunk = Chunk(
        generation=pick(rng, {generation: 0.8, generation - 1: 0.1, 0: 0.06, 2**64 - 1: 0.04}),
        joints=tuple(names),
        values=rows,
        step_ns=step_ns,
        sequence=pick(rng, {0: 0.3, 1: 0.3, 5: 0.3, 2**32 - 1: 0.1}),
        first_step=pick(rng, {0: 0.7, 3: 0.25, 2**32 - 1: 0.05}),
        final=bool(rng.random() < 0.5),
        action_space=pick(rng, {"joint_position": 0.96, "end_effector_pose": 0.02, "": 0.02}),
    )
    starts = {0: 0.6, now: 0.1, now - 300 * MS: 0.1, now + 100 * MS: 0.1, 1: 0.04, 2**62: 0.03, -5: 0.03}
    return chunk, pick(rng, starts)


def disturb(bench, estop, rng):
    """Something other than a chunk."""
    controller, kind = bench.controller, rng.integers(12)
    if kind == 0:
        estop.latch("fuzz")
    elif kind == 1:
        controller.reset_estop()
    elif kind == 2:
        controller.takeover.engage()
    elif kind == 3:
        controller.takeover.release()
    elif kind in (4, 5):
        values = rng.normal(scale=10.0 ** rng.integers(-3, 5), size=D)
        names = PROFILE.joint_names if kind == 4 else ("left_waist", "nobody")
        controller.takeover.hear(names, values[: len(names)], bench.now)
    elif kind == 6:
        bench.measured_at = bench.now if bench.measured_at is None else None
    elif kind == 7:
        bench.tick(period=int(rng.integers(0, 500)) * MS)
    elif kind == 8:
        controller.heartbeat.beat(bench.now)
    elif kind == 9:
        controller.heartbeat.listening(bench.now)
    elif kind == 10:
        controller.heartbeat.leave()
    else:
        controller.reject("unreadable")


def assert_kept(bench, spans):
    """Divided differences over the time that each command really stands for."""
    at, spans = np.array(bench.commands), np.array(spans)
    assert np.isfinite(at).all() and np.all(at >= LOW - 1e-9) and np.all(at <= HIGH + 1e-9)
    velocity = np.diff(at, axis=0) / spans[1:, None]
    assert np.all(np.abs(velocity) <= PROFILE.limit("velocity") * (1 + 1e-6))
    middle = (spans[1:-1] + spans[2:]) / 2
    acceleration = np.diff(velocity, axis=0) / middle[:, None]
    assert np.all(np.abs(acceleration) <= PROFILE.limit("acceleration") * (1 + 1e-6) + 1e-6)
    outer = (spans[1:-2] + spans[2:-1] + spans[3:]) / 3
    jerk = np.diff(acceleration, axis=0) / outer[:, None]
    assert np.all(np.abs(jerk) <= PROFILE.limit("jerk") * (1 + 1e-4) + 1e-2)


@pytest.mark.parametrize("seed", range(PARTS))
def test_no_chunk_leads_beyond_a_limit_or_into_an_exception(seed):
    rng, estop = np.random.default_rng(seed), Estop()
    bench = Bench(estop=estop)
    bench.tick()
    spans, seen, generation = [0.01], set(), 2
    for _ in range(CHUNKS // PARTS):
        generation += int(rng.random() < 0.5)
        chunk, start = hostile(rng, bench.now, generation)
        bench.controller.submit(chunk, start)
        if rng.random() < 0.15:
            before, now = len(bench.commands), bench.now
            disturb(bench, estop, rng)
            spans += [min(bench.now - now, 20 * MS) / 1e9] * (len(bench.commands) - before)
        for _ in range(int(rng.integers(0, 4))):
            seen.add(bench.tick().state)
            spans.append(0.01)
    assert {ControlState.HOLD, ControlState.TRACKING, ControlState.STOPPING} <= seen
    assert {ControlState.ESTOPPED, ControlState.TAKEOVER} & seen
    assert len(spans) == len(bench.commands)
    moved = np.array(spans) > 0
    bench.commands, spans = (
        [c for c, m in zip(bench.commands, moved, strict=True) if m],
        np.array(spans)[moved],
    )
    assert_kept(bench, spans)
    estop.reset()
    bench.measured_at = None
    bench.controller.deactivate()
    bench.controller.activate()
    bench.controller.takeover.release()
    bench.tick(60)
    status = bench.submit(move(0.1, generation=10**9, begin=bench.arm))
    assert status.state == ControlState.TRACKING, status.reason  # it still serves a sound plan
