"""A controller, its clock turned by hand, and an arm that is always where it was commanded to be."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import ControlConfig, load_robot
from wallwm_ros.core.control_state import Measured
from wallwm_ros.core.controller import Controller

PROFILE = load_robot("sim")
D = len(PROFILE.joints)
HOME = np.tile([0.1, -1.1, 0.5, 0.0, 1.1, 0.0, 0.06], 2)
MS = 1_000_000
STEP = 50 * MS


def move(distance=0.5, steps=20, generation=1, begin=HOME, **fields):
    """A minimum-jerk move of every arm joint; the grippers hold."""
    t = np.arange(1, steps + 1) / steps
    arm = np.array([joint.unit == "rad" for joint in PROFILE.joints])
    rows = begin + distance * (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None] * arm
    return Chunk(generation, PROFILE.joint_names, rows, STEP, **fields)


class Bench:
    """The arm is moved every 10 ms, or every `period`."""

    def __init__(self, profile=PROFILE, home=HOME, estop=None, workspace=None, **config):
        self.profile = profile
        self.controller = Controller(profile, ControlConfig(**config), estop, workspace)
        self.now = 1_000_000_000
        self.arm = home.copy()
        self.measured_at = None  # a time here freezes the joint states
        self.commands = []
        self.controller.activate()

    def tick(self, count=1, period=10 * MS, measured=True, jump=""):
        for _ in range(count):
            self.now += period
            time_ns = self.now if self.measured_at is None else self.measured_at
            status = self.controller.tick(self.now, Measured(self.arm, time_ns) if measured else None, jump)
            if status.command is not None:
                self.arm = status.command
                self.commands.append(status.command)
        return status

    def submit(self, chunk, start_ns=0):
        self.controller.submit(chunk, start_ns)
        return self.tick()

    def assert_inside(self):
        """Every command so far kept to the limits of velocity, acceleration and jerk at 10 ms."""
        commands = np.array(self.commands)
        for order, name in ((1, "velocity"), (2, "acceleration"), (3, "jerk")):
            worst = np.abs(np.diff(commands, n=order, axis=0)).max(axis=0, initial=0.0) / 0.01**order
            assert np.all(worst <= self.profile.limit(name) * (1 + 1e-6) + 1e-6), name
        low, high = self.profile.limit("low"), self.profile.limit("high")
        assert np.all(commands >= low - 1e-9) and np.all(commands <= high + 1e-9)
