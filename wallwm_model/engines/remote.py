"""An engine that runs elsewhere: behind one of our own servers; `foreign` has those of openpi's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from wallwm_model.engines import fields
from wallwm_model.engines.address import Address, read_address
from wallwm_model.engines.base import Context, Look
from wallwm_model.engines.caller import FarEngine, sound
from wallwm_model.engines.foreign import ForeignEngine
from wallwm_model.engines.link import Link, quote
from wallwm_model.engines.messages import CALL, VERSION, look_body, spec_hash
from wallwm_model.errors import EngineError
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop


class RemoteEngine(FarEngine):
    """An `Engine` behind one of our own servers, which keeps the contexts.

    Every call raises EngineError at once while there is no connection, and after `deadline_s` without an
    answer.
    """

    def __init__(self, address: Address, spec: ModelSpec, link: Link, engine: str) -> None:
        super().__init__(engine, spec, address, link)
        self._numbers = itertools.count(1)

    def observe(self, look: Look) -> Context:
        """See `Engine.observe`."""
        reply = self._ask("observe", look_body(look), self._address.deadline_s)
        with sound(self._address.url):
            number = fields.whole(reply, "context", 1, 2**63 - 1)
            return Context(
                tensors={"context": np.array([self._caller.link.era, number])},
                state=look.state,
                remaining_steps=fields.number(reply, "remaining_steps"),
                latents=fields.array(reply, "latents", (None, None), np.float32, optional=True),
                next_event=fields.text(reply, "next_event"),
            )

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Engine.act`."""
        era, number = (int(n) for n in context.tensors["context"])
        if era != self._caller.link.era:
            raise EngineError("the connection to the engine server was lost since the look: look again")
        body: dict[str, Any] = {"context": number, "steps": steps, "euler_steps": euler_steps, "seed": seed}
        if prefix is not None:
            body["prefix"] = np.asarray(prefix, np.float32)
        reply = self._ask("act", body, self._address.deadline_s)
        with sound(self._address.url):
            return fields.array(reply, "actions", (steps, len(self.spec.joints)), np.float32)

    def imagine(self, look: Look, euler_steps: int, seed: int) -> np.ndarray:
        """See `Engine.imagine`."""
        body = look_body(look) | {"euler_steps": euler_steps, "seed": seed}
        reply = self._ask("imagine", body, self._address.patience_s)
        with sound(self._address.url):
            return fields.array(reply, "pictures", (len(self.spec.cameras), None, None, None, 3), np.uint8)

    def explain(self, latents: np.ndarray, stop: Stop = lambda: False) -> str:
        """See `Engine.explain`; `stop` is asked in between, and passed on to the server."""
        reply = self._ask("explain", {"latents": latents}, self._address.patience_s, stop)
        with sound(self._address.url):
            return fields.text(reply, "text")

    def _ask(
        self, call: str, body: dict[str, Any], deadline_s: float, stop: Stop | None = None
    ) -> dict[Any, Any]:
        number = next(self._numbers)
        reply = self._caller.ask(call, {CALL: call, "number": number, **body}, deadline_s, stop)
        if reply.get("number") != number:
            self._caller.link.drop("it answered another question")
            raise EngineError(
                f"the engine server must answer request {number}; found {reply.get('number')!r:.40}"
            )
        return reply


def connect(name: str, spec: ModelSpec) -> RemoteEngine | ForeignEngine:
    """The engine at an address.

    Args:
        name: see `read_address`.
        spec: of the local bundle; our own servers must serve the same.

    Raises:
        EngineError: no such address, no server there in time, or one of another model.
    """
    address, greetings = read_address(name), []

    def admit(greeting: dict[Any, Any]) -> None:
        check_greeting(greeting, spec, address.url)
        if greetings and (CALL in greeting) != (CALL in greetings[0]):
            raise EngineError(f"{address.url} must go on speaking the protocol that it began with")
        greetings[:] = [greeting]

    link = Link(address, admit)
    try:
        link.wait()
    except EngineError:
        link.close()
        raise
    if CALL not in greetings[0]:
        return ForeignEngine(address, spec, link)
    return RemoteEngine(address, spec, link, quote(str(greetings[0].get("engine"))))


def check_greeting(greeting: Mapping[Any, Any], spec: ModelSpec, url: str) -> None:
    """Refuse one of our servers that speaks another version or serves another model.

    Raises:
        EngineError: with both names.
    """
    if CALL not in greeting:
        return
    if greeting[CALL] != VERSION:
        raise EngineError(f"{url} must speak version {VERSION} of the protocol; found {greeting[CALL]!r:.40}")
    ours, theirs = spec_hash(spec), quote(str(greeting.get("spec_hash")))
    if theirs != ours:
        found = f"{quote(str(greeting.get('model')))} ({theirs[:12]}…)"
        raise EngineError(
            f"{url} must serve the model {spec.name} ({ours[:12]}…) of the local bundle; it serves {found}"
        )
