"""Serves one engine to several robots over websockets, ours and those of openpi's client.

The first frame tells what is served; then each request gets one reply, in order. A text frame is an error, as
with openpi. The event loop only moves messages; the engine runs in threads of its own (`turns`), one request
at a time, or several robots' together (`together`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from websockets.asyncio.server import Server, serve

from wallwm_model.engines import wire
from wallwm_model.engines.base import Engine
from wallwm_model.engines.conversation import Conversation, Counts
from wallwm_model.engines.gate import Caps, Gate, Guarded, Secrets, check_exposure
from wallwm_model.engines.messages import greeting
from wallwm_model.engines.together import shared
from wallwm_model.engines.turns import Turns
from wallwm_model.errors import ConfigError
from wallwm_model.policy import Policy

CLOSE_S = 2.0
CAPS, NO_SECRETS = Caps(), Secrets()  # where nothing else is said

_QUIET = logging.getLogger("wallwm.server")  # peers that break off are no news, and no tracebacks
_QUIET.setLevel(logging.CRITICAL)


class EngineServer:
    """A server in the running event loop.

    Args:
        engine: what is served; stays the caller's.
        caps: what is taken on.
        secrets: token and TLS, both needed for other hosts than the loopback.

    Attributes:
        counts: what it has done.
        gate: who is connected.
        port: where it listens.
    """

    def __init__(self, engine: Engine, caps: Caps = CAPS, secrets: Secrets = NO_SECRETS) -> None:
        self.caps, self._secrets = caps, secrets
        self.counts, self.gate, self.port = Counts(), Gate(caps, secrets.token), 0
        self._greeting = wire.pack(greeting(engine))
        several, together = shared(engine, caps.batch)
        self._policy, self._turns = Policy(several), Turns(caps.waiting, together)
        self._server: Server | None = None

    @property
    def secure(self) -> bool:
        """Whether what is sent is encrypted."""
        return self._secrets.cert is not None

    def warm(self) -> None:
        """Run one inference on nothing, so that the first robot's is as fast as the others."""
        self._policy.warm()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            ConfigError: not protected enough for this host, an unusable certificate, or the port is taken.
        """
        check_exposure(host, self._secrets)
        caps = self.caps
        try:
            self._server = await serve(
                self._converse,
                host,
                port,
                ssl=self._secrets.tls(),
                create_connection=partial(Guarded, self.gate),
                process_request=self.gate.check,
                compression=None,  # pictures gain little, and small frames could grow without bound
                max_size=caps.frame_bytes,
                max_queue=1,
                open_timeout=caps.frame_s,
                close_timeout=CLOSE_S,
                logger=_QUIET,
            )
        except OSError as error:
            raise ConfigError(
                f"host and port must be free to listen on; {host}:{port}: {error.strerror or error}"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> bool:
        """Say good-bye to all and end the thread; false if the engine is still busy."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.gate.present):
                if not connection.admitted:
                    connection.transport.abort()
            await self._server.wait_closed()
        return await asyncio.get_running_loop().run_in_executor(None, self._turns.close)

    async def _converse(self, connection: Guarded) -> None:
        await Conversation(connection, self._policy, self._turns, self.counts, self.caps).run(self._greeting)


@contextmanager
def serving(
    engine: Engine, host: str = "127.0.0.1", port: int = 0, caps: Caps = CAPS, secrets: Secrets = NO_SECRETS
) -> Iterator[EngineServer]:
    """A server in a thread of its own, for as long as the block runs.

    Raises:
        ConfigError: it cannot be started like this.
    """
    loop = asyncio.new_event_loop()
    server = EngineServer(engine, caps, secrets)
    thread = threading.Thread(target=loop.run_forever, name="engine server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(host, port), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
