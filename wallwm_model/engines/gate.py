"""Who may talk to the server, how much, and how long one message may take."""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Opcode
from websockets.http11 import Request, Response

from wallwm_model.engines.together import MOST
from wallwm_model.errors import ConfigError

HEALTH = "/healthz"  # as openpi's server has it
SCHEME = "Api-Key "  # as openpi's client sends it
NEEDS_TOKEN = "this server needs its token in the header Authorization: Api-Key TOKEN\n"
SHORTEST_TOKEN = 16
DATA = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)
SPARE = 32  # connections beyond the limit that are told so; further ones are dropped without a word


@dataclass(frozen=True)
class Caps:
    """What one server takes on.

    Attributes:
        frame_bytes: largest message [bytes].
        connections: robots at a time.
        waiting: requests that wait for the engine at a time.
        rate_hz: requests per second of one connection, and how many it may send at once after a pause.
        frame_s: how long a message may be on its way, either way [s].
        contexts: looks kept per connection.
        batch: requests under way in the engine at a time, if its graphs take several robots.
    """

    frame_bytes: int = 32 << 20
    connections: int = 32
    waiting: int = 32
    rate_hz: float = 100.0
    frame_s: float = 10.0
    contexts: int = 4
    batch: int = MOST


@dataclass(frozen=True)
class Secrets:
    """What protects a server that others can reach.

    Attributes:
        token: what clients must send; empty: none.
        cert, key: PEM files; none: no TLS.
    """

    token: str = ""
    cert: Path | None = None
    key: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """A context for the server, if there is a certificate.

        Raises:
            ConfigError: only one of the files, or they cannot be used.
        """
        if self.cert is None and self.key is None:
            return None
        if self.cert is None or self.key is None:
            raise ConfigError("TLS needs a certificate and its key; found one of them only")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"expected a certificate and its key in PEM; {self.cert}, {self.key}: {error}"
            ) from error
        return context


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        ConfigError: no such file, or no token that can be sent and not be guessed.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a token of ASCII text in {path}; {type(error).__name__}") from error
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token in {path} must be {SHORTEST_TOKEN} or more printable characters without spaces"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host of this name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, secrets: Secrets) -> None:
    """Refuse to let others in unprotected.

    Raises:
        ConfigError: another host than the loopback without TLS and a token.
    """
    lacking = [
        what
        for what, there in (
            ("a certificate and its key", secrets.cert and secrets.key),
            ("a token", secrets.token),
        )
        if not there
    ]
    if lacking and not is_loopback(host):
        raise ConfigError(
            f"host {host} can be reached by others: that needs {' and '.join(lacking)}; or use 127.0.0.1"
        )


class RateLimit:
    """Allows `rate_hz` requests per second, and as many at once after a pause of a second."""

    def __init__(self, rate_hz: float, now_s: float) -> None:
        self.rate_hz = rate_hz
        self._left, self._at_s = rate_hz, now_s

    def wait_s(self, now_s: float) -> float:
        """Take one; how long until there is one, if there is none [s]."""
        self._left = min(self.rate_hz, self._left + (now_s - self._at_s) * self.rate_hz)
        self._at_s = now_s
        self._left -= 1
        return max(0.0, -self._left / self.rate_hz)


class Gate:
    """Checks who knocks, and counts who is there.

    Attributes:
        present: connections, from the first byte on.
        refused: how many were turned away.
    """

    def __init__(self, caps: Caps, token: str) -> None:
        self.caps, self._token = caps, token
        self.present: set[Guarded] = set()
        self.refused = 0

    @property
    def served(self) -> int:
        """Connections that were let in."""
        return sum(connection.admitted for connection in self.present)

    def check(self, connection: Guarded, request: Request) -> Response | None:
        """The HTTP answer to one who is not let in, or who only asks whether the server lives."""
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        given = request.headers.get_all("Authorization")
        if self._token and not right_token(given, self._token):
            self.refused += 1
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, NEEDS_TOKEN)
        if self.served >= self.caps.connections:
            self.refused += 1
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                f"this server has all its {self.caps.connections} connections\n",
            )
        connection.admitted = True
        return None

    def full(self) -> bool:
        """Even those that would be turned away politely are too many."""
        return len(self.present) >= self.caps.connections + SPARE


def right_token(given: list[str], token: str) -> bool:
    """Whether there is one header `Authorization`, of openpi's form; in a time that tells no more."""
    expected = f"{SCHEME}{token}".encode()
    return len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "surrogateescape"), expected)


class Guarded(ServerConnection):
    """A connection that is dropped when there are too many, or when a message takes too long to come.

    The clock of a message starts with its first bytes, and stops when its last frame is complete. The answer
    to a ping between two messages starts and stops it too; in the middle of one it does not.
    """

    def __init__(self, gate: Gate, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate, self._open, self.admitted = gate, False, False
        self._late: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """End it without a word."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more, or one too many."""
        super().connection_made(transport)
        if self._gate.full():
            self._gate.refused += 1
            transport.abort()
            return
        self._gate.present.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        self._stop()
        self._gate.present.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a message: its first ones start the clock."""
        if self._late is None:
            self._late = self.loop.call_later(self._gate.caps.frame_s, self.transport.abort)
        super().data_received(data)

    def process_event(self, event: Any) -> None:
        """A whole frame, or the request of the handshake."""
        super().process_event(event)
        final = getattr(event, "fin", True)
        if getattr(event, "opcode", None) in DATA:
            self._open = not final
        if not self._open:
            self._stop()

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
