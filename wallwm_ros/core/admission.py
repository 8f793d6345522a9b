"""Is a goal sound? Asked before anything is looked at or moved."""

from __future__ import annotations

import math

from wallwm_model.errors import CaptionError, ConfigError
from wallwm_model.spec import ModelSpec
from wallwm_ros.core.events import EventGoal
from wallwm_ros.core.tasks import TaskGoal

LONGEST_TIMEOUT_S = 3600.0


def check_goal(goal: EventGoal | TaskGoal, spec: ModelSpec, conditioner: str = "words") -> None:
    """Refuse a goal that the model could not carry out.

    Args:
        conditioner: what encodes captions and instructions, see `Policy`. A task's instruction must also do for
            reasoning where the model can reason: the source may change while it waits.

    Raises:
        CaptionError: empty caption, or a word that the model has never learnt.
        ConfigError: a duration or timeout that is negative, not finite, or beyond what is possible.
    """
    if not goal.caption.strip():
        event = isinstance(goal, EventGoal)
        what = "a caption must name an event" if event else "an instruction must name a task"
        raise CaptionError(f"{what}; found an empty one")
    spec.tokenise(goal.caption, conditioner)
    if isinstance(goal, TaskGoal) and "staircase" in spec.sources:
        spec.tokenise(goal.caption, "staircase")
    if isinstance(goal, EventGoal):
        _check_time("duration_s", goal.duration_s, spec.horizon * spec.step_s)
    _check_time("timeout_s", goal.timeout_s, LONGEST_TIMEOUT_S)


def _check_time(name: str, seconds: float, longest_s: float) -> None:
    if not math.isfinite(seconds) or not 0 <= seconds <= longest_s + 1e-6:
        raise ConfigError(f"{name} must be 0 to {longest_s:g} s; found {seconds:g}")
