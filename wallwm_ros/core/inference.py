"""From matched messages to a sound plan: decode, assemble, run the policy, check its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from wallwm_model.errors import EngineError
from wallwm_model.preprocess import Observation
from wallwm_model.spec import ModelSpec
from wallwm_ros.core.events import Plan
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.sight import SightUse
from wallwm_ros.core.synchronizer import Match
from wallwm_ros.core.tasks import Question


class Model(Protocol):
    """What the runtime needs of a policy; `wallwm_model.policy.Policy` has it."""

    def event(
        self,
        observation: Observation,
        caption: str,
        duration_s: float | None,
        seed: int,
        committed: np.ndarray | None,
    ) -> Any:
        """One event, or its rest: an object with actions (T, D) [rad, m] and the times step_s, remaining_s,
        preprocess_s, observe_s and act_s [s]."""

    def unified(
        self,
        observation: Observation,
        text: str,
        source: str,
        *,
        chunk: int,
        seed: int,
        committed: np.ndarray | None,
    ) -> Any:
        """One chunk of fixed length; the answer is as for `event`."""

    def warm(self) -> None:
        """Run once on nothing, so that the first event is as fast as the others."""


class Planner:
    """Makes one plan from one match.

    Args:
        model: the policy.
        spec: what the policy reads and gives.
        profile: where each state stream's values belong.
        decode: camera name and undecoded picture -> (H, W, 3) uint8 RGB; raises ObservationError.
        slack: a target may lie outside its joint's limits by this part of their range.

    Attributes:
        sight: what sight-cone masks are for, if for anything; may be exchanged between two plans.
    """

    def __init__(
        self,
        model: Model,
        spec: ModelSpec,
        profile: RobotProfile,
        decode: Callable[[str, Any], np.ndarray],
        slack: float = np.inf,
    ) -> None:
        self._model, self._spec, self._decode = model, spec, decode
        self._profile, self._slack = profile, slack
        self.sight: SightUse | None = None
        self._columns = {source.topic: profile.columns(source.columns) for source in profile.states}

    def plan(
        self,
        match: Match,
        caption: str,
        duration_s: float,
        seed: int,
        committed: np.ndarray | None = None,
    ) -> Plan:
        """Carry `caption` out from what `match` shows; `duration_s` 0 lets the model decide.

        Args:
            committed: (d, D) targets that will be executed before this plan joins them [rad, m].

        Raises:
            ObservationError: a picture that cannot be decoded.
            EngineError: the engine raised or its answer is not sound.
        """
        return self._plan(
            match, lambda seen: self._model.event(seen, caption, duration_s or None, seed, committed)
        )

    def plan_chunk(self, match: Match, question: Question, seed: int) -> Plan:
        """The next chunk of a task, from a match with pictures of the past.

        Raises:
            ObservationError: a picture that cannot be decoded.
            EngineError: the engine raised, its answer is not sound, or not of the model's fixed length.
        """
        plan = self._plan(
            match,
            lambda seen: self._model.unified(
                seen,
                question.text,
                question.source,
                chunk=question.chunk,
                seed=seed,
                committed=question.committed,
            ),
        )
        if len(plan.actions) != self._spec.chunk_steps:
            expected = f"the engine must give chunks of {self._spec.chunk_steps} steps in unified mode"
            raise EngineError(f"{expected}; found {len(plan.actions)}")
        return plan

    def _plan(self, match: Match, ask: Callable[[Observation], Any]) -> Plan:
        began = time.perf_counter()
        images, *past = (self._decoded(pictures) for pictures in (match.pictures, *match.past))
        state = np.zeros(len(self._spec.joints))
        for stream, values in match.states.items():
            state[self._columns[stream]] = values
        decoded = time.perf_counter()
        use = self.sight
        mask = use.sight.mask(state) if use is not None else None
        attended = mask if use and use.attend else None
        observation = Observation(images, state, match.stamp_ns, attended, tuple(past))
        masked = time.perf_counter()
        chunk = ask(observation)
        check_answer(chunk.actions, chunk.remaining_s, self._spec)
        check_targets(chunk.actions, self._profile, self._slack)
        timings = {
            "decode": decoded - began,
            "preprocess": chunk.preprocess_s,
            "observe": chunk.observe_s,
            "act": chunk.act_s,
            **chunk.waits_s,
        }
        if use is not None:
            timings["mask"] = masked - decoded
            if use.show is not None:
                use.show(images, mask, match.stamp_ns)
        return Plan(
            actions=np.asarray(chunk.actions, dtype=np.float64),
            step_s=chunk.step_s,
            remaining_s=chunk.remaining_s,
            observation_stamp_ns=match.stamp_ns,
            timings_ms={name: 1000 * seconds for name, seconds in timings.items()},
            thought=getattr(chunk, "thought", None),
        )

    def _decoded(self, pictures: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: self._decode(name, picture) for name, picture in pictures.items()}


def check_answer(actions: np.ndarray, remaining_s: float, spec: ModelSpec) -> None:
    """Refuse an engine's answer that must not reach the arm.

    Raises:
        EngineError: shape, length or a value that is not finite.
    """
    shape, size = np.shape(actions), len(spec.joints)
    if len(shape) != 2 or shape[1] != size or not 1 <= shape[0] <= spec.horizon:
        expected = f"the engine must give 1 to {spec.horizon} steps of {size} joints"
        raise EngineError(f"{expected}; found shape {shape}")
    finite = np.isfinite(actions)
    if not finite.all():
        bad = [name for name, sound in zip(spec.joints, finite.all(axis=0), strict=True) if not sound]
        names = ", ".join(bad)
        raise EngineError(f"the engine must give finite actions; found a non-finite value for {names}")
    if not np.isfinite(remaining_s):
        raise EngineError(f"the engine must give a finite remaining time; found {remaining_s}")


def check_targets(actions: np.ndarray, profile: RobotProfile, slack: float) -> None:
    """Refuse targets (T, D) that no working engine gives [rad, m].

    The control process keeps to the limits anyway; what is far beyond them is not worth following.

    Args:
        slack: part of a joint's range that its targets may lie outside its limits.

    Raises:
        EngineError: names the joint, its limits and the worst target.
    """
    low, high = profile.limit("low"), profile.limit("high")
    beyond = np.maximum(low - actions, actions - high) - slack * (high - low)
    if beyond.max() <= 0:
        return
    row, column = np.unravel_index(np.argmax(beyond), beyond.shape)
    joint, found = profile.joints[column], actions[row, column]
    limits = f"{joint.low:g} to {joint.high:g} {joint.unit}, give or take {slack:.0%} of that"
    expected = f"the engine must give targets of {joint.name} in {limits}"
    raise EngineError(f"{expected}; found {found:.4g} in step {row}")
