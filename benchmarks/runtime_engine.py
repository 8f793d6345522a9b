"""A model of a few lines for the runtime benchmarks: it takes a chosen time, looks, and always moves.

Run as a program it is policy_node with this engine: `python -m benchmarks.runtime_engine --ros-args ...`. The
bundle's folder has no files; its name says how slow the model is, `NAME-LOW-HIGH` [ms].
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.rig import STEPS, SlowPolicy
from wallwm_model.captions import vocabulary
from wallwm_model.engines import Context, Engine, Look
from wallwm_model.errors import BundleError
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot

SWAY, SWAY_S = 0.1, 4.0  # the first joint goes to and fro: so far [rad], in such a time [s]
SHOWN = 7  # column of the joint that points to the red object: the right waist
POINT = 0.1  # so far to one side [rad]
SCALE = 0.5  # of all joints, in the model's normalisation [rad or m]
RATES_HZ = {"overhead": 30.0, "reaction": 20.0}  # action steps per second


def spec(kind: str) -> ModelSpec:
    """A model of the simulated robot with both modes; of the past it reads a picture per camera."""
    robot = load_robot("sim")
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    return ModelSpec(
        name=kind,
        robot=robot.name,
        cameras=tuple(CameraSpec.of(c, c.width, c.height) for c in load_calibrations(robot).values()),
        joints=robot.joint_names,
        rate_hz=RATES_HZ[kind],
        horizon=2 * STEPS,
        steps_per_latent=16,
        normalisation=Normalisation(middle, (SCALE,) * len(middle)),
        vocabulary=vocabulary(),
        modes=("event", "unified"),
        sources=("instruction",),
        takes_prefix=True,
        chunk_steps=STEPS,
        picture_steps=16,  # with the default of one latent frame of history: one earlier picture per camera
    )


def red_side(picture: np.ndarray) -> int:
    """-1 or 1: in which half of a picture (H, W, 3) uint8 RGB most of the red lies; 0 where there is none."""
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    columns = ((red > 90) & (red > 2 * green) & (red > 2 * blue)).sum(axis=0)
    if not columns.any():
        return 0
    return 1 if columns @ np.arange(len(columns)) / columns.sum() > len(columns) / 2 else -1


class SlowEngine(Engine):
    """Sways the first joint; the joint `SHOWN` points to where the head camera sees red.

    All its time is spent in `observe`, and leaves as the remaining time, so that every chunk tells by itself
    how long the engine took.
    """

    name = "slow"

    def __init__(self, kind: str, low_ms: float, high_ms: float) -> None:
        self.spec = spec(kind)
        self._slow = SlowPolicy(low_ms, high_ms)

    def observe(self, look: Look) -> Context:
        """Looks, and thinks."""
        _, engine_s = self._slow.think()
        side = red_side(look.images[0])
        return Context({"side": np.array(side)}, look.state, engine_s * self.spec.rate_hz)

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Engine.act`."""
        rows = np.repeat(context.state[None], steps, axis=0)
        times = time.monotonic() + np.arange(1, steps + 1) / self.spec.rate_hz
        rows[:, 0] = SWAY / SCALE * np.sin(2 * np.pi * times / SWAY_S)
        known = 0 if prefix is None else len(prefix)
        begin = context.state[SHOWN] if prefix is None else prefix[-1, SHOWN]
        if context.tensors["side"]:
            way = context.tensors["side"] * POINT / SCALE - begin
            share = np.clip((np.arange(steps) - known + 1) / (STEPS // 4), 0.0, 1.0)
            rows[:, SHOWN] = begin + way * share
        if prefix is not None:
            rows[:known] = prefix
        return rows.astype(np.float32)

    def close(self) -> None:
        """Nothing is held."""


def load_slow(folder: Path, engine: str, threads: int) -> SlowEngine:
    """The engine that a folder's name describes.

    Raises:
        BundleError: another name.
    """
    kind, *times = folder.name.split("-")
    if kind not in RATES_HZ or len(times) != 2:
        raise BundleError(f"expected a folder named NAME-LOW-HIGH; found {folder.name}")
    return SlowEngine(kind, float(times[0]), float(times[1]))


if __name__ == "__main__":
    from wallwm_ros.bridge.running import run_node
    from wallwm_ros.nodes.policy_node import PolicyNode

    sys.exit(run_node(lambda: PolicyNode(load_slow), PolicyNode.close))
