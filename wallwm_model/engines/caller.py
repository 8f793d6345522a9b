"""Calls to a server over one link, and where their time went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wallwm_model.engines.address import Address
from wallwm_model.engines.base import Engine
from wallwm_model.engines.link import Link
from wallwm_model.errors import EngineError, WireError
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop

KEPT = 1000  # last calls whose times are kept
BEGINNINGS = ("observe", "chunk")  # calls that begin a new chunk


@dataclass(frozen=True)
class Split:
    """Where the time of one call went [s].

    Attributes:
        call: its name; `chunk` for a whole observation in openpi's convention.
        network_s: everything but what the server says of itself: packing, both ways, unpacking.
        queue_s: waiting for other robots' requests.
        engine_s: the server's engine.
    """

    call: str
    network_s: float
    queue_s: float
    engine_s: float


class Caller:
    """Calls over one link, and what they cost.

    Attributes:
        splits: of the last calls, oldest first.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.splits: deque[Split] = deque(maxlen=KEPT)
        self._new: list[Split] = []

    def ask(
        self, call: str, message: dict[str, Any], deadline_s: float, stop: Stop | None = None
    ) -> dict[Any, Any]:
        """See `Link.ask`."""
        if call in BEGINNINGS:
            self._new.clear()
        began_s = time.perf_counter()
        reply = self.link.ask(message, deadline_s, stop)
        whole_s = time.perf_counter() - began_s
        timing = reply.get("server_timing")
        timing = timing if isinstance(timing, Mapping) else {}
        queue_s = _seconds(timing, "queue_ms", whole_s)
        engine_s = _seconds(timing, "infer_ms", whole_s - queue_s)
        split = Split(call, whole_s - queue_s - engine_s, queue_s, engine_s)
        self.splits.append(split)
        self._new.append(split)
        return reply

    def waits_s(self) -> dict[str, float]:
        """`network` and `queue` times of the calls since the last look began [s]."""
        new = self._new
        return {"network": sum(s.network_s for s in new), "queue": sum(s.queue_s for s in new)}


class FarEngine(Engine):
    """What engines behind a server share: where it is, and where the time of the calls went."""

    def __init__(self, name: str, spec: ModelSpec, address: Address, link: Link) -> None:
        self.name, self.spec = f"{name} at {address.url}", spec
        self._address, self._caller = address, Caller(link)

    @property
    def splits(self) -> deque[Split]:
        """Where the time of the last calls went."""
        return self._caller.splits

    def waits_s(self) -> dict[str, float]:
        """See `Engine.waits_s`."""
        return self._caller.waits_s()

    def close(self) -> None:
        """End the connection."""
        self._caller.link.close()


@contextmanager
def sound(url: str) -> Iterator[None]:
    """Says whose reply it was that is not sound."""
    try:
        yield
    except WireError as error:
        raise EngineError(f"the reply of the engine server {url} is not sound: {error}") from error


def _seconds(timing: Mapping[Any, Any], name: str, most_s: float) -> float:
    """What a server says of its time [s], as far as it can be true."""
    value = timing.get(name)
    if isinstance(value, (int, float)) and value >= 0:
        return min(value / 1000, most_s)
    return 0.0
