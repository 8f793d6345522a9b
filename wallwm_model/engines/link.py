"""A connection to a server, kept up in a thread of its own; calls wait for their answer, or fail at once."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as Unanswered
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from wallwm_model.engines import wire
from wallwm_model.engines.address import Address
from wallwm_model.engines.messages import STOP
from wallwm_model.errors import EngineError, WireError
from wallwm_model.thought import Stop

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
HELLO_S = 10.0  # from connecting to the server's greeting
POLL_S = 0.02  # how often a stop is asked for during `explain`
LONGEST_QUOTE = 300  # characters of what a server says of itself

_QUIET = logging.getLogger("wallwm.link")
_QUIET.setLevel(logging.CRITICAL)


class Link:
    """One connection at a time, made anew when it is lost, after a pause that grows and varies.

    While there is none, calls fail at once. One whose deadline passes, or that is answered with what is no
    answer, costs the connection: its reply, which may yet come, must not be taken for that of the next call.

    Args:
        address: where to.
        admit: told the greeting of every new connection; raises EngineError to refuse that server.

    Attributes:
        era: counts connections; what a server keeps for a client, it keeps for one era.
    """

    def __init__(self, address: Address, admit: Callable[[dict[Any, Any]], None]) -> None:
        self._address, self._admit, self.era = address, admit, 0
        self._connection: ClientConnection | None = None
        self._answer: asyncio.Future[bytes | str] | None = None
        self._trouble, self._refused = "it has not answered yet", False
        self._settled, self._closing = threading.Event(), False
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._keep())
        self._thread = threading.Thread(target=self._run, name="engine link", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the first connection is made.

        Raises:
            EngineError: there is none in time, or the server refuses, or is refused.
        """
        if not self._settled.wait(self._address.connect_s) or self._refused:
            raise self._absent()

    def ask(self, message: dict[str, Any], deadline_s: float, stop: Stop | None = None) -> dict[Any, Any]:
        """A request's reply.

        Args:
            deadline_s: how long it may take [s].
            stop: asked again and again; true tells the server to end the call, whose reply is still awaited.

        Raises:
            EngineError: not connected, no answer in time, no answer at all, or one that tells of an error.
        """
        if self._closing:
            raise EngineError("the engine is closed: load it again")
        data = wire.pack(message)
        future = asyncio.run_coroutine_threadsafe(self._exchange(data, deadline_s), self._loop)
        stopped = stop is None
        while True:
            try:
                reply = future.result(None if stopped else POLL_S)
                break
            except Unanswered:
                if stop is not None and not stopped and stop():
                    stopped = True
                    asyncio.run_coroutine_threadsafe(self._say(STOP), self._loop)
            except CancelledError:
                raise EngineError("the engine was closed during a call") from None
        if isinstance(reply, str):
            raise EngineError(f"the engine server {self._address.url} answered with an error: {quote(reply)}")
        return self._read(reply)

    def drop(self, why: str) -> None:
        """Give the connection up and make a new one."""
        self._loop.call_soon_threadsafe(self._give_up, why)

    def close(self) -> None:
        """End the connection and the thread."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(5.0)

    def _read(self, reply: bytes) -> dict[Any, Any]:
        try:
            body = wire.unpack(reply)
            if not isinstance(body, dict):
                raise WireError(f"a reply must be a map; found {type(body).__name__}")
            return body
        except WireError as error:
            self.drop("its reply was garbage")
            raise EngineError(
                f"the engine server {self._address.url} must speak its protocol: {error}"
            ) from error

    def _absent(self) -> EngineError:
        return EngineError(f"the engine server {self._address.url} is not connected: {self._trouble}")

    # ---- from here on in the link's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.close()

    async def _keep(self) -> None:
        """Connect again and again; the pause between two attempts grows while they fail."""
        failures = 0
        while True:
            era = self.era
            try:
                await self._connect()
            except (EngineError, OSError, ValueError, WebSocketException, asyncio.TimeoutError) as error:
                self._hindered(error)
            failures = failures + 1 if self.era == era else 0
            longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 10))
            await asyncio.sleep(longest_s * random.uniform(0.5, 1.0))

    def _hindered(self, error: Exception) -> None:
        self._trouble = _reason(error)
        final = (EngineError, InvalidStatus, ssl.SSLCertVerificationError)  # asking again would not help
        if isinstance(error, final) and not self._settled.is_set():
            self._refused = True
            self._settled.set()

    async def _connect(self) -> None:
        """Connect, and hand replies on until the connection ends."""
        address = self._address
        headers = {"Authorization": f"Api-Key {address.token}"} if address.token else None
        async with _Direct(
            address.url,
            additional_headers=headers,
            ssl=ssl.create_default_context() if address.secure else None,
            compression=None,
            max_size=wire.LARGEST,
            max_queue=2,
            open_timeout=HELLO_S,
            close_timeout=1.0,
            proxy=None,
            logger=_QUIET,
        ) as connection:
            greeting = wire.unpack(await asyncio.wait_for(connection.recv(), HELLO_S))
            if not isinstance(greeting, dict):
                raise EngineError(f"{address.url} must greet with a map, as openpi's servers do")
            self._admit(greeting)
            self._connection, self.era = connection, self.era + 1
            self._settled.set()
            try:
                why = await self._listen(connection)
            except ConnectionClosed as error:
                why = _reason(error)
            if self._connection is connection:
                self._lost(why)

    async def _listen(self, connection: ClientConnection) -> str:
        """Hand replies on; why the connection has ended."""
        async for frame in connection:
            if self._answer is None or self._answer.done():
                return "it sent what nobody had asked for"
            self._answer.set_result(frame)
        return "it closed the connection"

    async def _exchange(self, data: bytes, deadline_s: float) -> bytes | str:
        connection = self._connection
        if connection is None:
            raise self._absent()
        if self._answer is not None:
            raise EngineError("a remote engine answers one call at a time; another one is under way")
        answer = self._answer = self._loop.create_future()
        timer = self._loop.call_later(deadline_s, self._late, answer, deadline_s)
        try:
            await connection.send(data)
            return await answer
        except ConnectionClosed as error:
            self._give_up(_reason(error), connection)
            return await answer
        finally:
            timer.cancel()
            self._answer = None

    def _late(self, answer: asyncio.Future[bytes | str], deadline_s: float) -> None:
        """A deadline has passed; the connection's end frees whoever still sends."""
        if not answer.done():
            url = self._address.url
            answer.set_exception(
                EngineError(f"the engine server {url} must answer in {deadline_s:g} s; it did not")
            )
            self._give_up("it did not answer in time")

    async def _say(self, frame: bytes) -> None:
        if self._connection is not None:
            try:
                await self._connection.send(frame)
            except ConnectionClosed:
                pass  # whoever waits for the answer hears of it

    def _give_up(self, why: str, which: ClientConnection | None = None) -> None:
        """End the present connection, unless another one is meant."""
        connection = self._connection
        if connection is not None and which in (None, connection):
            self._lost(why)
            connection.transport.abort()

    def _lost(self, why: str) -> None:
        self._connection, self._trouble = None, why
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self._absent())


class _Direct(connect):
    """Goes where it was told to go: a robot follows no redirection."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Every redirection is an error."""
        return exc


def quote(text: str) -> str:
    """What a server says, fit for one line of a log."""
    lines = [part for part in text.strip().splitlines() if part.strip()] or [""]
    last = lines[-1]  # of a traceback, as openpi's servers send one, the sentence
    return "".join(c if c.isprintable() else " " for c in last)[:LONGEST_QUOTE]


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace")
        return f"it refused with HTTP {error.response.status_code} ({quote(body)})"
    if isinstance(error, asyncio.TimeoutError):
        return "it did not greet in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return quote(str(error) or type(error).__name__)
