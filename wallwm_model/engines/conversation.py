"""One connection of the server: requests in, replies out, one after the other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from functools import partial
from typing import Protocol

from websockets.exceptions import ConnectionClosed

from wallwm_model.engines import wire
from wallwm_model.engines.calls import Session
from wallwm_model.engines.gate import Caps, RateLimit
from wallwm_model.engines.messages import STOP
from wallwm_model.engines.turns import Job, Turns
from wallwm_model.errors import EngineError, WallWMError, WireError
from wallwm_model.policy import Policy

LONGEST_ERROR = 500  # characters
KEPT = 1000  # last requests that percentiles are made of
SPAN_S = 10.0  # of the request rate


class Counts:
    """What the server has done; written by its event loop, read by anyone."""

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self._last: deque[tuple[float, float]] = deque(maxlen=KEPT)  # (end [s], length [ms])

    def add(self, began_s: float, failed: bool) -> None:
        """One request is answered."""
        now_s = time.perf_counter()
        self.requests += 1
        self.errors += failed
        self._last.append((now_s, 1000 * (now_s - began_s)))

    def rate_hz(self) -> float:
        """Requests per second, of the last few seconds."""
        now_s, last = time.perf_counter(), list(self._last)
        recent = [end_s for end_s, _ in last if end_s > now_s - SPAN_S]
        span_s = now_s - recent[0] if len(recent) == KEPT else SPAN_S
        return len(recent) / max(span_s, 1e-3)

    def percentile_ms(self, share: float) -> float:
        """From a request's arrival to its answer [ms]; 0 before the first."""
        lengths = sorted(length for _, length in list(self._last))
        return lengths[min(int(share * len(lengths)), len(lengths) - 1)] if lengths else 0.0


class Connection(Protocol):
    """What a conversation needs of a websocket; all but `abort` raise ConnectionClosed when it has ended."""

    async def recv(self) -> bytes | str:
        """The next whole message."""

    async def send(self, message: bytes | str, /) -> None:
        """Send a message."""

    def abort(self) -> None:
        """End it without a word."""


class Conversation:
    """Reads one frame ahead while the engine works, so that a stop, or the client's end, is heard at once."""

    def __init__(
        self, connection: Connection, policy: Policy, turns: Turns, counts: Counts, caps: Caps
    ) -> None:
        self._connection, self._turns, self._counts, self._caps = connection, turns, counts, caps
        self._session = Session(policy, caps.contexts)
        self._limit = RateLimit(caps.rate_hz, time.monotonic())
        self._ahead: asyncio.Task[bytes | str]

    async def run(self, greeting: bytes) -> None:
        """Until the client goes, or does not read what it asked for."""
        self._read_ahead()
        try:
            await self._send(greeting)
            while True:
                frame = await self._ahead
                self._read_ahead()
                await self._turn(frame)
        except ConnectionClosed:
            self._connection.abort()
        finally:
            self._ahead.cancel()

    async def _turn(self, frame: bytes | str) -> None:
        began_s = time.perf_counter()
        wait_s = self._limit.wait_s(time.monotonic())
        if wait_s:  # whoever asks too often also waits for being told so
            await asyncio.sleep(wait_s)
        if frame == STOP:
            return  # it came when the `explain` had ended
        reply = await self._reply(frame, too_often=wait_s > 0)
        await self._send(reply)
        self._counts.add(began_s, failed=isinstance(reply, str))

    async def _reply(self, frame: bytes | str, too_often: bool) -> bytes | str:
        """The reply to a frame; text if it is an error.

        Raises:
            ConnectionClosed: nobody waits for it any more.
        """
        try:
            if too_often:
                raise WireError(
                    f"a connection may send {self._caps.rate_hz:g} requests per second; found more"
                )
            body = wire.unpack(frame, self._caps.frame_bytes)
            if not isinstance(body, dict):
                raise WireError(f"a request must be a map; found {type(body).__name__}")
            stop = threading.Event()
            job = self._turns.submit(partial(self._session.answer, body, stop.is_set))
            await self._finish(job, stop)
            return wire.pack(job.future.result() | {"server_timing": job.timing})
        except ConnectionClosed:
            raise
        except WallWMError as error:
            return line(str(error))
        except Exception as error:  # an engine may raise anything; its server goes on
            return line(f"the engine failed: {type(error).__name__}: {error}")

    async def _finish(self, job: Job, stop: threading.Event) -> None:
        """Wait for a job's end.

        Raises:
            ConnectionClosed: the client has gone; the job does not begin, or `explain` stops.
            EngineError: the server is shutting down.
        """
        future = asyncio.wrap_future(job.future)
        future.add_done_callback(_seen)
        while not future.done():
            await asyncio.wait({future} | self._listening(), return_when=asyncio.FIRST_COMPLETED)
            if self._ahead.done() and self._ahead.exception() is not None:
                stop.set()
                self._turns.drop(job)
                raise self._ahead.exception()
            if self._ahead.done() and self._ahead.result() == STOP:
                stop.set()
                self._read_ahead()
        if future.cancelled():
            raise EngineError("the server is shutting down")

    def _listening(self) -> set[asyncio.Task]:
        """The task that reads, unless it holds the next request already."""
        return set() if self._ahead.done() else {self._ahead}

    def _read_ahead(self) -> None:
        self._ahead = asyncio.create_task(self._connection.recv())
        self._ahead.add_done_callback(_seen)

    async def _send(self, frame: bytes | str) -> None:
        """Raises ConnectionClosed for a client that does not read in time, too."""
        timer = asyncio.get_running_loop().call_later(self._caps.frame_s, self._connection.abort)
        try:
            await self._connection.send(frame)
        finally:
            timer.cancel()


def line(text: str) -> str:
    """One line of printable text, not too long: what goes into other machines' logs."""
    return "".join(c if c.isprintable() else " " for c in text)[:LONGEST_ERROR]


def _seen(future: asyncio.Future) -> None:
    """What it raised was dealt with, or interests nobody."""
    if not future.cancelled():
        future.exception()
