"""The engine's server on several machines: an application for Ray Serve, of replicas with an engine each.

    serve run wallwm_model.deploy.ray_serve:build bundle=models/nano replicas=2

A robot's connection stays with the replica that Ray chose for it, where its contexts are; what is said on it
is what `./wallwm serve` says. Ray listens on the loopback unless its `http_options` tell it otherwise; TLS is
then for the proxy in front of it, and the token of `WALLWM_TOKEN` or `WALLWM_TOKEN_FILE` is asked for here.
Needs `ray[serve]`.
"""

# Annotations are objects here, not text: Ray sends workers no name that only a text mentions.
import asyncio
from typing import Any

from fastapi import FastAPI, WebSocket
from ray import serve
from ray.serve import Application
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from wallwm_model.engines import load_engine, wire
from wallwm_model.engines.address import token_of_environment
from wallwm_model.engines.conversation import Conversation, Counts
from wallwm_model.engines.gate import Caps, right_token
from wallwm_model.engines.messages import greeting
from wallwm_model.engines.together import shared
from wallwm_model.engines.turns import Turns
from wallwm_model.policy import Policy

api = FastAPI()
REFUSED = 1008  # close code: against the rules


class Socket:
    """Ray's websocket as a conversation knows connections."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def recv(self) -> bytes | str:
        """The next message; raises ConnectionClosed."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise ConnectionClosedError(None, None)
        found = message.get("bytes")
        return message["text"] if found is None else found

    async def send(self, message: bytes | str) -> None:
        """Send; raises ConnectionClosed."""
        try:
            await (self._socket.send_text if isinstance(message, str) else self._socket.send_bytes)(message)
        except Exception as error:  # Starlette and its servers raise several when the peer has gone
            raise ConnectionClosedError(None, None) from error

    def abort(self) -> None:
        """End it."""
        self._ending = asyncio.ensure_future(self._close())

    async def _close(self) -> None:
        try:
            await self._socket.close()
        except Exception:  # it had ended already
            pass


@serve.deployment(max_ongoing_requests=32)
@serve.ingress(api)
class EngineReplica:
    """One engine, and those who talk to it."""

    def __init__(self, bundle: str, engine: str, threads: int) -> None:
        loaded = load_engine(bundle, engine, threads)
        self._caps, self._counts, self._token = Caps(), Counts(), token_of_environment()
        name = serve.get_replica_context().replica_id.unique_id
        self._greeting = wire.pack(greeting(loaded) | {"replica": name})
        several, together = shared(loaded, self._caps.batch)
        self._policy, self._turns = Policy(several), Turns(self._caps.waiting, together)
        self._policy.warm()

    @api.websocket("/")
    async def converse(self, socket: WebSocket) -> None:
        """One robot, until it goes."""
        if self._token and not right_token(socket.headers.getlist("authorization"), self._token):
            await socket.close(REFUSED)
            return
        await socket.accept()
        talk = Conversation(Socket(socket), self._policy, self._turns, self._counts, self._caps)
        try:
            await talk.run(self._greeting)
        except ConnectionClosed:
            pass

    @api.get("/healthz")
    def healthz(self) -> str:
        """It lives."""
        return "OK"


def build(arguments: dict[str, Any]) -> Application:
    """The application.

    Args:
        arguments: `bundle`, and perhaps `engine`, `threads`, `replicas`, as text or as numbers.
    """
    replica = EngineReplica.options(num_replicas=int(arguments.get("replicas", 2)))
    engine, threads = str(arguments.get("engine", "auto")), int(arguments.get("threads", 2))
    return replica.bind(str(arguments["bundle"]), engine, threads)
