"""Is a goal sound? Asked before anything is looked at or moved."""

from __future__ import annotations

import math

from wallwm_model.errors import CaptionError, ConfigError
from wallwm_model.spec import ModelSpec
from wallwm_ros.core.events import EventGoal

LONGEST_TIMEOUT_S = 3600.0


def check_goal(goal: EventGoal, spec: ModelSpec) -> None:
    """Refuse a goal that the model could not carry out.

    Raises:
        CaptionError: empty caption, or a word that the model has never learnt.
        ConfigError: a duration or timeout that is negative, not finite, or beyond what is possible.
    """
    if not goal.caption.strip():
        raise CaptionError("a caption must name an event; found an empty one")
    spec.tokenise(goal.caption)
    _check_time("duration_s", goal.duration_s, spec.horizon * spec.step_s)
    _check_time("timeout_s", goal.timeout_s, LONGEST_TIMEOUT_S)


def _check_time(name: str, seconds: float, longest_s: float) -> None:
    if not math.isfinite(seconds) or not 0 <= seconds <= longest_s + 1e-6:
        raise ConfigError(f"{name} must be 0 to {longest_s:g} s; found {seconds:g}")
