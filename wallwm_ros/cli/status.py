"""`./wallwm status`: what a running system does, sees and suffers from."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wallwm_ros.bridge.system_watch import SystemWatch
    from wallwm_ros.core.system import Snapshot

SOUND, WRONG, NOTHING = 0, 1, 3  # exit codes
REFRESH_S = 0.25


def command(
    once: Annotated[bool, typer.Option("--once", help="Print one page and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one page as JSON and end.")] = False,
    wait: Annotated[
        float, typer.Option(min=0.2, max=60, help="Listen this long before a verdict [s].")
    ] = 4.0,
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
) -> None:
    """Watch a running system: nodes, goal, streams, latency, control; Ctrl-C ends.

    Exit codes: 0 sound, 1 something is wrong, 2 wrong usage, 3 nothing is running.
    """
    from rich.console import Console

    from wallwm_ros.cli.status_page import nothing, page

    console = Console()
    with _listening(domain) as (watch, spin):
        now = _settle(watch, spin, wait)
        if as_json:
            print(json.dumps(now.as_dict(), indent=1))
        elif not now.running:
            typer.echo(nothing(now.domain))
        elif once or not sys.stdout.isatty():
            console.print(page(now), highlight=False)
        else:
            now = _live(watch, spin, console)
    raise typer.Exit(code(now))


def code(now: Snapshot) -> int:
    """The exit code that tells of a snapshot."""
    if not now.running:
        return NOTHING
    return WRONG if now.problems else SOUND


@contextmanager
def _listening(domain: int | None) -> Iterator[tuple[SystemWatch, Callable[[float], None]]]:
    """A node in the system's domain, and what lets it listen for so many seconds."""
    import os

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from wallwm_ros.bridge.system_watch import SystemWatch
    from wallwm_ros.demo import domain as domains

    if domain is not None:
        domains.enter(domains.choose(domain))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("wallwm_status", namespace=f"_{os.getpid()}")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)

    try:
        yield SystemWatch(node), spin
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()


def _settle(watch: SystemWatch, spin: Callable[[float], None], wait_s: float) -> Snapshot:
    """Listen until everything has been heard, `wait_s` at most."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until and not watch.complete():
        spin(0.1)
    return watch.snapshot()


def _live(watch: SystemWatch, spin: Callable[[float], None], console: object) -> Snapshot:
    """Show the page until Ctrl-C; the last snapshot."""
    from rich.live import Live

    from wallwm_ros.cli.status_page import page

    now = watch.snapshot()
    try:
        with Live(
            page(now), console=console, screen=True, auto_refresh=False, vertical_overflow="crop"
        ) as live:
            while True:
                spin(REFRESH_S)
                now = watch.snapshot()
                live.update(page(now), refresh=True)
    except KeyboardInterrupt:
        return now
