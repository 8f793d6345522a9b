"""Which postures are worth a picture: still ones that have not been looked at."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core.postures import APART_RAD, STILL_NS, STILL_RAD, PostureGate

MS = 1_000_000


def test_a_posture_counts_once_it_is_held():
    gate, joints = PostureGate(), np.zeros(3)
    assert gate.offer(0, joints) == "moving"
    assert gate.offer(STILL_NS - MS, joints) == "moving"
    assert gate.offer(STILL_NS, joints) == "new"


def test_encoder_flicker_is_no_motion_but_a_slow_drift_is():
    gate = PostureGate()
    flicker = np.array([0.4 * STILL_RAD, 0.0])
    states = [gate.offer(k * 50 * MS, flicker * (-1) ** k) for k in range(12)]
    assert states[-1] == "new"
    gate = PostureGate()
    states = [gate.offer(k * 50 * MS, np.array([0.2 * STILL_RAD * k, 0.0])) for k in range(60)]
    assert set(states) == {"moving"}


def test_a_posture_that_was_taken_is_known_until_a_joint_has_really_moved():
    gate, first = PostureGate(still_ns=0), np.array([0.3, -0.2])
    assert gate.offer(0, first) == "new"
    gate.take(first)
    assert gate.offer(1, first + 0.5 * APART_RAD) == "known"
    assert gate.offer(2, first + np.array([0.0, 1.1 * APART_RAD])) == "new"
