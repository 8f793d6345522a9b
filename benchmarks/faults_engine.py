"""policy_node with an engine that can be told to misbehave, as a process of its own; it needs no bundle.

A word on /faults/engine (of `MISDEEDS`; empty: none) says what the engine does wrong from its next inference
on; when it first does, it says so on /faults/engine_did, with the wall time [ns].
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from std_msgs.msg import String

from wallwm_model.captions import vocabulary
from wallwm_model.engines import Context, Engine, Look
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation
from wallwm_ros.bridge.running import run_node
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.nodes.policy_node import PolicyNode

MISDEEDS = ("raise", "hang", "nan", "wrong_joints", "wild")
HANG_S = 5.0
LATENCY_S = 0.1
MOVING = ("left_waist", "left_shoulder", "left_gripper", "right_waist", "right_wrist_rotate")
REACH = 0.35  # of half a joint's range: so far from its middle
SPEED = 0.15  # of half a joint's range in a second
STEPS = 30  # of an event whose duration is not given
WILD = 1e3  # of half a joint's range


def make_spec(robot: RobotProfile) -> ModelSpec:
    """A model that knows the whole grammar and both modes."""
    cameras = tuple(CameraSpec.of(c, 64, 64) for c in load_calibrations(robot).values())
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    half = tuple((joint.high - joint.low) / 2 for joint in robot.joints)
    return ModelSpec(
        name="scripted",
        robot=robot.name,
        cameras=cameras,
        joints=robot.joint_names,
        rate_hz=20.0,
        horizon=64,
        steps_per_latent=16,
        normalisation=Normalisation(middle, half),
        vocabulary=tuple(vocabulary()),
        modes=("event", "unified"),
        sources=("instruction", "atomic"),
        takes_prefix=True,
    )


class ScriptedEngine(Engine):
    """Moves some joints steadily to one side, or with the word `retract` to the other; rests there.

    Attributes:
        misdeed: what it does wrong, empty: nothing.
        struck: called when it first does.
    """

    name = "scripted"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.misdeed = spec, ""
        self.struck = lambda: None
        self._moving = np.isin(spec.joints, MOVING)
        self._rng = np.random.default_rng(0)

    def observe(self, look: Look) -> Context:
        """Nothing is seen; the caption's words and the mode are passed on."""
        words = sorted(self.spec.vocabulary[i] for i in look.tokens if i)
        tensors = {"words": np.array(words), "unified": np.array(look.history is not None)}
        return Context(tensors, look.state, float(STEPS))

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Engine.act`."""
        time.sleep(LATENCY_S)
        misdeed = self.misdeed
        if misdeed:
            self.struck()
        if misdeed == "raise":
            raise RuntimeError("out of memory\nin the second layer")
        if misdeed == "hang":
            time.sleep(HANG_S)
        return _spoilt(self._rows(context, steps, prefix), misdeed, self._rng)

    def close(self) -> None:
        """Nothing is held."""

    def _rows(self, context: Context, steps: int, prefix: np.ndarray | None) -> np.ndarray:
        """(steps, D) in halves of the joints' ranges, on from the committed ones."""
        known = np.zeros((0, len(context.state))) if prefix is None else prefix
        begin = known[-1] if len(known) else context.state
        goal = np.where(self._moving, -REACH if "retract" in context.tensors["words"] else REACH, begin)
        most = SPEED * self.spec.step_s * np.maximum(np.arange(1, steps + 1) - len(known), 0)
        rows = begin + np.clip(goal - begin, -most[:, None], most[:, None])
        rows[: len(known)] = known
        return rows.astype(np.float32)


def _spoilt(rows: np.ndarray, misdeed: str, rng: np.random.Generator) -> np.ndarray:
    """What comes out of an engine that misbehaves."""
    if misdeed == "nan":
        rows[-1, 3] = np.nan
    if misdeed == "wild":
        return rng.uniform(-WILD, WILD, rows.shape).astype(np.float32)
    return rows[:, :-1] if misdeed == "wrong_joints" else rows


def main() -> int:
    """Run the node until it is told to stop; its parameter `robot` says which robot."""

    def make() -> PolicyNode:
        def load(folder: Path, engine: str, threads: int) -> ScriptedEngine:
            made = ScriptedEngine(make_spec(load_robot(node.get_parameter("robot").value)))
            made.struck = struck
            engines.append(made)
            return made

        def told(message: String) -> None:
            waiting[:] = [message.data] if message.data else []
            for engine in engines[-1:]:
                engine.misdeed = message.data

        def struck() -> None:
            if waiting:
                did.publish(String(data=f"{waiting.pop()} {time.time_ns()}"))

        engines: list[ScriptedEngine] = []
        waiting: list[str] = []
        node = PolicyNode(load)
        did = node.create_publisher(String, "/faults/engine_did", 10)
        node.create_subscription(String, "/faults/engine", told, 10)
        return node

    return run_node(make, PolicyNode.close)


if __name__ == "__main__":
    sys.exit(main())
