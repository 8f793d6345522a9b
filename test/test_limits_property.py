"""Properties that hold for every chunk: searched for counter-examples, where hypothesis is installed."""

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402
from test_limits import DT, LIMITS, assert_inside  # noqa: E402

from wallwm_ros.core.chunk import Chunk  # noqa: E402
from wallwm_ros.core.config import ControlConfig, load_robot  # noqa: E402
from wallwm_ros.core.controller import Controller, Measured  # noqa: E402
from wallwm_ros.core.limits import AxisLimits, MotionLimiter, MotionState  # noqa: E402

PROFILE = load_robot("sim")
ROBOT = AxisLimits(*(PROFILE.limit(name) for name in ("low", "high", "velocity", "acceleration", "jerk")))
wild = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.tuples(wild, wild).map(np.array)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.lists(st.tuples(pairs, pairs, pairs, st.integers(1, 30)), min_size=1, max_size=6))
def test_no_target_breaks_a_limit(targets):
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.array([0.0, 0.04]))
    out = [limiter.state.position]
    for position, velocity, acceleration, ticks in targets:
        for _ in range(ticks):
            limiter.track(MotionState(position, velocity, acceleration), DT)
            out.append(limiter.state.position)
    hypothesis.assume(len(out) > 3)
    assert_inside(np.array(out))


chunks = st.builds(
    lambda values, step_ms, lead_ms, final: (np.array(values), step_ms, lead_ms, final),
    st.lists(st.floats(-1e4, 1e4, allow_nan=False), min_size=1, max_size=30),
    st.integers(1, 200),
    st.integers(-300, 300),
    st.booleans(),
)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.lists(st.tuples(chunks, st.integers(1, 40)), min_size=1, max_size=4))
def test_no_chunk_breaks_a_limit(plan):
    controller, now, at = Controller(PROFILE, ControlConfig()), 10**9, np.tile([0, 0, 0, 0, 0, 0, 0.04], 2)
    controller.activate()
    out = []
    for generation, ((values, step_ms, lead_ms, final), ticks) in enumerate(plan, 1):
        rows = values[:, None].repeat(14, axis=1)
        chunk = Chunk(generation, PROFILE.joint_names, rows, step_ms * 1_000_000, final=final)
        controller.submit(chunk, now + lead_ms * 1_000_000)
        for _ in range(ticks):
            now += 10_000_000
            out.append(controller.tick(now, Measured(at, now)).command)
    hypothesis.assume(len(out) > 3)
    assert_inside(np.array(out), ROBOT)
