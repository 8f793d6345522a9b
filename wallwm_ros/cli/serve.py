"""`./wallwm serve`: one engine for several robots, over websockets."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from wallwm_model.engines.base import Engine
    from wallwm_model.engines.server import EngineServer

REFRESH_S = 0.5
PORT = 8000  # as openpi's servers


def command(
    bundle: Annotated[Path, typer.Argument(help="Engine bundle.")] = Path("models/nano"),
    host: Annotated[
        str, typer.Option(help="Where to listen; others than this machine need TLS and a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = PORT,
    engine: Annotated[str, typer.Option(help="As the parameter of policy_node.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the engine.")] = 2,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Robots at a time.")] = 32,
    batch: Annotated[
        int, typer.Option(min=1, max=8, help="Requests that run together, if the bundle can.")
    ] = 8,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
) -> None:
    """Serve a bundle to robots and to openpi's clients; Ctrl-C ends."""
    from rich.console import Console

    from wallwm_model.engines import load_engine
    from wallwm_model.engines.gate import Caps, Secrets, check_exposure, read_token
    from wallwm_model.engines.server import EngineServer
    from wallwm_ros.core.paths import data_path

    secrets = Secrets(read_token(token_file) if token_file else "", cert, key)
    check_exposure(host, secrets)
    secrets.tls()
    loaded = load_engine(bundle if bundle.is_dir() else data_path(str(bundle)), engine, threads)
    try:
        server = EngineServer(loaded, Caps(connections=connections, batch=batch), secrets)
        asyncio.run(_serve(server, loaded, host, port, Console()))
    finally:
        loaded.close()


async def _serve(server: EngineServer, engine: Engine, host: str, port: int, console: Console) -> None:
    """Until SIGINT or SIGTERM."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await loop.run_in_executor(None, server.warm)
    await server.start(host, port)
    scheme = "wss" if server.secure else "ws"
    where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
    # In plain text and in one line, for scripts that wait for it.
    print(f"serving {engine.spec.name} on {engine.name} at {where}", flush=True)
    try:
        await _show(server, stopped, console)
    finally:
        busy = not await server.stop()
        print(f"stopped; {line(server)}" + (", the engine is still busy" if busy else ""), flush=True)


async def _show(server: EngineServer, stopped: asyncio.Event, console: Console) -> None:
    """A line of state on a terminal, until it is stopped."""
    if not console.is_terminal:
        await stopped.wait()
        return
    with console.status(line(server)) as status:
        while not stopped.is_set():
            status.update(line(server))
            try:
                await asyncio.wait_for(stopped.wait(), REFRESH_S)
            except asyncio.TimeoutError:
                continue


def line(server: EngineServer) -> str:
    """What the server does, in one line."""
    counts = server.counts
    text = (
        f"robots {server.gate.served}  requests {counts.requests} ({counts.rate_hz():.1f}/s)  "
        f"p50 {counts.percentile_ms(0.5):.1f} ms  p99 {counts.percentile_ms(0.99):.1f} ms"
    )
    more = {"errors": counts.errors, "refused": server.gate.refused}
    return text + "".join(f"  {name} {count}" for name, count in more.items() if count)
