"""A real engine of a few lines: deterministic, instant, and able to fail on request.

It stands for models that are slow, broken or made for another robot.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np

from wallwm_model.captions import vocabulary
from wallwm_model.engines import Context, Engine, Look
from wallwm_model.errors import BundleError
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot

STEPS = 12  # of every event whose duration is not given
TRAVEL = 0.3  # of the left waist in one event [rad]
REACH = 0.5  # in unified mode the left waist goes this far from its middle, and stays there [0.5 rad]
PACE = 0.01  # so far in one step [0.5 rad]
MISDEEDS = ("nan", "raise", "slow", "shape", "wild")  # words that make the engine misbehave


def tiny_spec() -> ModelSpec:
    """A model of the simulated robot that knows the whole grammar, and the words for misbehaving."""
    robot = load_robot("sim")
    calibrations = load_calibrations(robot)
    cameras = tuple(CameraSpec.of(c, 64, 64) for c in calibrations.values())
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    return ModelSpec(
        name="tiny",
        robot=robot.name,
        cameras=cameras,
        joints=robot.joint_names,
        rate_hz=20.0,
        horizon=64,
        steps_per_latent=16,
        normalisation=Normalisation(middle, (0.5,) * len(middle)),
        vocabulary=(*vocabulary(), *MISDEEDS),
        takes_mask=True,
    )


class TinyEngine(Engine):
    """Swings the left waist by `TRAVEL` toward the middle of its range, along a minimum-jerk path.

    In unified mode it goes steadily to one side, for texts with `retract` to the other.
    """

    name = "tiny"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.looks: list[Look] = []

    def observe(self, look: Look) -> Context:
        """Nothing is seen; the caption's words are passed on."""
        assert look.images.shape == (3, 64, 64, 3) and look.images.dtype == np.uint8
        self.looks.append(look)
        words = {self.spec.vocabulary[i] for i in look.tokens if i}
        if look.history is not None:
            assert look.history.shape == (3, self.spec.history_pictures, 64, 64, 3)
        tensors = {"words": np.array(sorted(words)), "unified": np.array(look.history is not None)}
        return Context(tensors, look.state, float(STEPS))

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Engine.act`."""
        words = set(context.tensors["words"])
        if "raise" in words:
            raise RuntimeError("out of memory\nin the second layer")
        if "slow" in words:
            time.sleep(0.8)
        s = np.arange(1, steps + 1, dtype=np.float32) / steps
        actions = np.repeat(context.state[None], steps, axis=0)
        if context.tensors["unified"]:
            known = np.zeros((0, actions.shape[1])) if prefix is None else prefix
            begin = known[-1, 0] if len(known) else context.state[0]
            actions[:, 0] = _steadily(begin, words, np.arange(1, steps + 1) - len(known))
            actions[: len(known)] = known
            if "nan" in words:
                actions[-1, 3] = np.nan
            return actions
        way = -np.sign(context.state[0]) or 1.0
        actions[:, 0] += way * TRAVEL / self.spec.normalisation.std[0] * (10 * s**3 - 15 * s**4 + 6 * s**5)
        if "nan" in words:
            actions[-1, 3] = np.nan
        if "wild" in words:
            actions[-1, 3] = 40.0
        return np.tile(actions, (6, 1)) if "shape" in words else actions

    def close(self) -> None:
        """Nothing is held."""


def _steadily(begin: float, words: set[str], steps: np.ndarray) -> np.ndarray:
    """Where the left waist is, so many steps on [0.5 rad]."""
    way = (-REACH if "retract" in words else REACH) - begin
    return begin + np.sign(way) * np.minimum(PACE * np.maximum(steps, 0), abs(way))


def load_tiny(folder: Path, engine: str, threads: int) -> TinyEngine:
    """`folder`'s name tells what is wrong with the bundle, if anything."""
    spec = tiny_spec()
    if folder.name == "corrupt":
        raise BundleError(f"bundle file {folder}/act.onnx must have SHA-256 0123…; found 4567…")
    changes = {
        "sound": {},
        "swapped_joints": {"joints": (spec.joints[1], spec.joints[0], *spec.joints[2:])},
        "two_cameras": {"cameras": spec.cameras[:2]},
        "other_robot": {"robot": "quanta_x1"},
        "maskless": {"takes_mask": False},
        "unified": {
            "modes": ("event", "unified"),
            "sources": ("instruction", "atomic"),
            "takes_prefix": True,
        },
    }
    return TinyEngine(dataclasses.replace(spec, **changes[folder.name]))
