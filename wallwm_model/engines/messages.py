"""What our own client and server tell each other: the engine's calls by name.

A request that has the key `CALL` is one of these; any other map is an observation in openpi's convention.
Each reply repeats the request's `number`, so that no answer is ever taken for that of another question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from wallwm_model.engines import fields, wire
from wallwm_model.engines.base import Context, Engine, Look, Route
from wallwm_model.errors import WireError
from wallwm_model.spec import ModelSpec

VERSION = 1
CALL = "wallwm"  # in a greeting: the version; in a request: the name of the call
CALLS = ("observe", "act", "imagine", "explain")
STOP = wire.pack({CALL: "stop"})  # ends the `explain` that runs; has no reply
ROUTES = get_args(Route)


def spec_hash(spec: ModelSpec) -> str:
    """SHA-256 of a specification: server and client mean the same by cameras, joints, words and units."""
    digest = hashlib.sha256(spec.to_json().encode())
    for name in spec.tokenizers if spec.folder else ():
        digest.update((spec.folder / name).read_bytes())
    return digest.hexdigest()


def greeting(engine: Engine) -> dict[str, Any]:
    """The first frame of every connection; openpi's clients hand it out as the server's metadata."""
    spec = engine.spec
    return {
        CALL: VERSION,
        "model": spec.name,
        "robot": spec.robot,
        "spec_hash": spec_hash(spec),
        "engine": engine.name,
        "calls": list(CALLS),
        "cameras": [camera.name for camera in spec.cameras],
        "joints": list(spec.joints),
        "rate_hz": float(spec.rate_hz),
        "action_horizon": spec.horizon,
    }


def look_body(look: Look) -> dict[str, Any]:
    """A look as fields of a request; those without a value stay out."""
    body = {
        "images": look.images,
        "state": look.state,
        "tokens": look.tokens,
        "mask": look.mask,
        "history": look.history,
        "chunk": look.chunk,
        "route": look.route,
    }
    return {name: value for name, value in body.items() if value is not None}


def read_look(body: Mapping[Any, Any], spec: ModelSpec) -> Look:
    """The look of a request.

    Raises:
        WireError: a field is missing, or is not what this model reads.
    """
    views, height, width = _pictures(spec)
    patches = views * spec.patches[0] * spec.patches[1]
    route = fields.text(body, "route", "words", ROUTES)
    tokens, (length, ids) = fields.array(body, "tokens", (None,), np.int64), spec.tokens(route)
    if len(tokens) != length or not ((tokens >= 0) & (tokens < ids)).all():
        raise WireError(
            f"tokens must be {length} word ids, 0 to {ids - 1}; found {tokens[:32].tolist()}"
        )
    past = (views, spec.history_pictures, height, width, 3)
    return Look(
        images=fields.array(body, "images", (views, height, width, 3), np.uint8),
        state=fields.array(body, "state", (len(spec.joints),), np.float32),
        tokens=tokens,
        mask=fields.array(body, "mask", (patches, patches), np.bool_, optional=True),
        history=fields.array(body, "history", past, np.uint8, optional=True),
        chunk=fields.whole(body, "chunk", 0, 2**31, default=0),
        route=route,
    )


def context_body(number: int, context: Context) -> dict[str, Any]:
    """A context that stays at the server, as its client needs it: what it says, and its number."""
    return {
        "context": number,
        "remaining_steps": float(context.remaining_steps),
        "latents": context.latents,
        "next_event": context.next_event,
    }


def _pictures(spec: ModelSpec) -> tuple[int, int, int]:
    """Views, height and width of what the network reads."""
    return len(spec.cameras), spec.cameras[0].height, spec.cameras[0].width
