"""What a server does for one connection: the engine's calls by name, or openpi's whole observation."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wallwm_model.engines import fields
from wallwm_model.engines.base import Context
from wallwm_model.engines.messages import CALL, CALLS, context_body, read_look
from wallwm_model.errors import ObservationError, WireError
from wallwm_model.policy import Policy
from wallwm_model.preprocess import Observation
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop

FLAT = "observation/"  # openpi's robots with flat names put this before each
MOST_EULER_STEPS = 100
LARGEST_SEED = 2**63 - 1


class Session:
    """The calls of one connection; all of them in the inference thread.

    Args:
        policy: the engine, with what turns an observation into a chunk.
        contexts: looks that are kept for `act`; the oldest is forgotten first.
    """

    def __init__(self, policy: Policy, contexts: int) -> None:
        self._policy, self._most = policy, contexts
        self._contexts: OrderedDict[int, Context] = OrderedDict()
        self._numbers = itertools.count(1)

    def answer(self, body: Mapping[Any, Any], stop: Stop) -> dict[str, Any]:
        """The reply to a request, without its timing.

        Args:
            stop: asked by `explain` before each word.

        Raises:
            WallWMError: the request is not sound, or the engine failed.
        """
        if CALL not in body:
            return self._chunk(body)
        calls: dict[str, Callable[[], dict[str, Any]]] = {
            "observe": lambda: self._observe(body),
            "act": lambda: self._act(body),
            "imagine": lambda: self._imagine(body),
            "explain": lambda: self._explain(body, stop),
        }
        answer = calls[fields.text(body, CALL, valid=CALLS)]()
        return answer | {"number": fields.whole(body, "number", 0, LARGEST_SEED, default=0)}

    def _observe(self, body: Mapping[Any, Any]) -> dict[str, Any]:
        context = self._policy.engine.observe(read_look(body, self._policy.engine.spec))
        number = next(self._numbers)
        self._contexts[number] = context
        while len(self._contexts) > self._most:
            self._contexts.popitem(last=False)
        return context_body(number, context)

    def _act(self, body: Mapping[Any, Any]) -> dict[str, Any]:
        spec = self._policy.engine.spec
        number = fields.whole(body, "context", 1, LARGEST_SEED)
        if number not in self._contexts:
            kept = ", ".join(map(str, self._contexts)) or "none"
            raise WireError(f"context must be one of this connection's last looks ({kept}); found {number}")
        steps = fields.whole(body, "steps", 1, spec.horizon)
        actions = self._policy.engine.act(
            self._contexts[number],
            steps,
            fields.whole(body, "euler_steps", 1, MOST_EULER_STEPS),
            fields.whole(body, "seed", 0, LARGEST_SEED),
            fields.array(body, "prefix", (None, len(spec.joints)), np.float32, optional=True),
        )
        return {"actions": np.asarray(actions, np.float32)}

    def _imagine(self, body: Mapping[Any, Any]) -> dict[str, Any]:
        look = read_look(body, self._policy.engine.spec)
        steps = fields.whole(body, "euler_steps", 1, MOST_EULER_STEPS)
        seed = fields.whole(body, "seed", 0, LARGEST_SEED)
        return {"pictures": self._policy.engine.imagine(look, steps, seed)}

    def _explain(self, body: Mapping[Any, Any], stop: Stop) -> dict[str, Any]:
        latents = fields.array(body, "latents", (None, None), np.float32)
        return {"text": self._policy.engine.explain(latents, stop)}

    def _chunk(self, body: Mapping[Any, Any]) -> dict[str, Any]:
        """One event's chunk in rad and m, as openpi's clients expect it: the only array is `actions`."""
        spec = self._policy.engine.spec
        if "event" not in spec.modes:
            raise WireError(f"an openpi observation needs a model with event mode; {spec.name} has none")
        observation, prompt = read_observation(body, spec)
        seed = fields.whole(body, "seed", 0, LARGEST_SEED, default=0)
        seconds = fields.number(body, "duration_s") if "duration_s" in body else None
        chunk = self._policy.event(observation, prompt, seconds, seed)
        return {
            "actions": np.asarray(chunk.actions, np.float32),
            "step_s": float(chunk.step_s),
            "remaining_s": float(chunk.remaining_s),
        }


def read_observation(body: Mapping[Any, Any], spec: ModelSpec) -> tuple[Observation, str]:
    """An observation in openpi's convention, and its prompt.

    Pictures are named as the model's cameras, (H, W, 3) or (3, H, W) uint8; either nested, `images` and
    `state`, or flat, `observation/<camera>` and `observation/state`.

    Raises:
        WireError: a field is missing or is none of this.
    """
    images, state = body.get("images"), body.get("state", body.get(f"{FLAT}state"))
    if images is None:
        names = [camera.name for camera in spec.cameras]
        images = {name: body[FLAT + name] for name in names if FLAT + name in body}
    if not isinstance(images, Mapping) or not all(isinstance(p, np.ndarray) for p in images.values()):
        raise WireError("images must be a map from the camera's name to an array; found another thing")
    if isinstance(state, list):
        try:
            state = np.array(state, np.float64)
        except (TypeError, ValueError):
            state = None
    if not isinstance(state, np.ndarray) or state.dtype.kind not in "fiu":
        raise WireError(f"state must be {len(spec.joints)} numbers [rad, m]; found another thing")
    pictures = {str(name): _rows_first(picture) for name, picture in images.items()}
    return Observation(pictures, state, 0), fields.text(body, "prompt")


def _rows_first(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) of either order of axes.

    Raises:
        ObservationError: it has no pixels, or is no picture.
    """
    if picture.ndim != 3 or picture.size == 0:
        raise ObservationError(f"a picture must be (H, W, 3) or (3, H, W); found {picture.shape}")
    if picture.shape[0] == 3 and picture.shape[2] != 3:
        return np.ascontiguousarray(picture.transpose(1, 2, 0))
    return picture
