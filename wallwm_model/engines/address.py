"""Where a remote engine is, how long it may take, and the token for it: `ws://HOST:PORT?deadline_s=2`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from wallwm_model.errors import ConfigError, EngineError

SCHEMES = ("ws://", "wss://")
TOKEN, TOKEN_FILE = "WALLWM_TOKEN", "WALLWM_TOKEN_FILE"  # environment; the file is asked first


@dataclass(frozen=True)
class Address:
    """One server.

    Attributes:
        url: what to connect to, without options.
        deadline_s: how long an answer may take, from the call on [s].
        patience_s: the same of `imagine` and `explain`, which nobody waits for before moving [s].
        connect_s: how long the server may take to appear when the engine is loaded [s].
        token: sent as `Authorization: Api-Key TOKEN`; empty: none. Never printed.
    """

    url: str
    deadline_s: float = 2.0
    patience_s: float = 60.0
    connect_s: float = 5.0
    token: str = field(default="", repr=False)

    @property
    def secure(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.url.startswith("wss://")


OPTIONS = ("deadline_s", "patience_s", "connect_s")


def is_address(engine: str) -> bool:
    """Whether an engine's name means a server."""
    return engine.startswith(SCHEMES)


def read_address(text: str) -> Address:
    """An engine's name as an address, with the token of the environment.

    Raises:
        EngineError: no such address, an unknown option, or a token that would travel unencrypted.
    """
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.fragment or "@" in parts.netloc:
        raise EngineError(
            f"a remote engine must be ws://HOST:PORT or wss://HOST:PORT, with options {', '.join(OPTIONS)}"
        )
    times = {name: _seconds(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    address = Address(f"{parts.scheme}://{parts.netloc}{parts.path}", **times, token=token_of_environment())
    if address.token and not address.secure and not _is_here(parts.hostname or ""):
        raise EngineError(
            f"a token must not travel unencrypted: use wss:// for {address.url}, or unset {TOKEN}"
        )
    return address


def _seconds(name: str, value: str) -> float:
    if name not in OPTIONS:
        raise EngineError(f"a remote engine's options are {', '.join(OPTIONS)}; found {name!r}")
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 3600:
        raise EngineError(f"{name} must be 0.01 to 3600 seconds; found {value!r}")
    return seconds


def token_of_environment() -> str:
    """The token of `TOKEN_FILE` or of `TOKEN`; empty where there is none.

    Raises:
        ConfigError: no such file, or no token that can be sent.
    """
    path = os.environ.get(TOKEN_FILE)
    token = os.environ.get(TOKEN, "").strip()
    if path:
        try:
            token = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{TOKEN_FILE} must name a file with a token; {path}: {type(error).__name__}"
            ) from error
    if not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise ConfigError(
            f"the token of {TOKEN_FILE if path else TOKEN} must be printable ASCII without spaces"
        )
    return token


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
