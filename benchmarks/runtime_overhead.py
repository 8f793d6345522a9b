"""From the cameras' stamp to the chunk, less the engine's own time: ours, openpi's and LeRobot's loop.

All three get the same pictures at the same rate and the same slow policy, ask for the next chunk once four
steps of the present one are used, and are measured when the chunk is in the process that moves the robot:
with us in a listener's callback beside the control process, with the peers when their client has it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import MODULES, PeerError, Peers
from benchmarks.peers.rig import ASK_AFTER, CAMERA_HZ, SIZE, STEPS
from benchmarks.runtime_figures import summary
from wallwm_model.errors import WallWMError

# Name of the table: thinking time of the policy [ms].
LATENCIES = {"constant_100_ms": (100.0, 100.0), "random_100_to_600_ms": (100.0, 600.0)}
WARM = 3  # first chunks that do not count: connections and caches are new
PATIENCE_S = 120.0
WHAT = (
    f"3 cameras of {SIZE}x{SIZE} at {CAMERA_HZ:g} Hz, chunks of {STEPS} steps, "
    f"the next one wanted after {ASK_AFTER}"
)
THREADS = {
    "wallwm": "policy_node, control_node, robot and listener: a process each, engine 1 thread",
    "openpi": "client and server: a process each, engine 1 thread",
    "lerobot": "client (2 threads) and server (4 gRPC workers): a process each, torch 1 thread",
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """Times of the chunks of one loop [ms]; `published`: on leaving the policy's process, if known."""

    overhead: list[float]
    total: list[float]
    published: list[float] | None = None


def run(
    seconds: float, peers: Peers, folder: Path, say: Say, tables: Sequence[str] = tuple(LATENCIES)
) -> dict[str, dict[str, Any]]:
    """Table -> loop -> figures [ms]; one that failed or is not there has `missing` instead: the reason."""
    found: dict[str, dict[str, Any]] = {}
    for name in tables:
        low, high = LATENCIES[name]
        rows = found[name] = {}
        for loop in ("wallwm", *MODULES):
            say(f"overhead of {loop}, policy {name.replace('_', ' ')}")
            own = folder / f"{name}-{loop}"
            own.mkdir(parents=True)
            try:
                if loop == "wallwm":
                    sample = ours(seconds, low, high, own)
                else:
                    sample = theirs(loop, peers, seconds, low, high, own)
                rows[loop] = figures(sample) | {"threads": THREADS[loop]}
            except WallWMError as error:  # the others can still be measured
                rows[loop] = {"missing": str(error)}
    return found


def figures(sample: Sample) -> dict[str, Any]:
    """p50, p99, largest and count of the overhead, and the whole time's p50 [ms].

    Raises:
        PeerError: too few chunks to say anything.
    """
    if len(sample.overhead) <= WARM:
        raise PeerError(f"expected more than {WARM} chunks; found {len(sample.overhead)}")
    body = summary(sample.overhead[WARM:])
    body["with_engine_ms_p50"] = summary(sample.total[WARM:])["ms_p50"]
    if sample.published is not None:
        body["until_published_ms_p99"] = summary(sample.published[WARM:])["ms_p99"]
    return body


def ours(seconds: float, low: float, high: float, folder: Path) -> Sample:
    """policy_node and control_node as processes, an endless task, a listener to the chunks.

    Raises:
        WallWMError: a process ended, or the task.
    """
    from benchmarks.runtime_live import Live
    from wallwm_msgs.msg import ActionChunk
    from wallwm_ros.bridge import qos
    from wallwm_ros.bridge.stamps import to_ns

    rows: list[tuple[float, float, float]] = []

    def heard(message: ActionChunk) -> None:
        now_ns, engine_ms = time.time_ns(), 1000.0 * message.remaining_s
        if message.steps:
            seen_ns = to_ns(message.observation_stamp)
            total_ms = (now_ns - seen_ns) / 1e6
            published_ms = (to_ns(message.header.stamp) - seen_ns) / 1e6
            rows.append((total_ms - engine_ms, total_ms, published_ms - engine_ms))

    model = f"overhead-{low:g}-{high:g}"
    robot = ["benchmarks.runtime_robot"]
    with Live(folder, robot, model, mode="unified", replan_steps=ASK_AFTER) as live:
        live.node.create_subscription(ActionChunk, "/action_chunk", heard, qos.CHUNK)
        task = live.task()
        live.until(lambda: bool(rows) or task.over, "a first chunk")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not task.over:
            live.group.check()
            time.sleep(0.1)
        if task.over:
            raise WallWMError(f"the task must go on until the benchmark's end; found: {task.text}")
    overhead, total, published = zip(*rows, strict=True)
    return Sample(list(overhead), list(total), list(published))


def theirs(name: str, peers: Peers, seconds: float, low: float, high: float, folder: Path) -> Sample:
    """A peer's server and its client as processes.

    Raises:
        PeerError: it is missing, or one of them failed; says why in one sentence.
    """
    if not peers.has(name):
        raise PeerError(peers.missing[name])
    port, times = _free_port(), [f"{low:g}", f"{high:g}"]
    command = [str(peers.python), "-m", MODULES[name]]
    log = folder / "server.log"
    options = {"env": peers.environ(), "cwd": folder}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "serve", str(port), *times], stdout=out, stderr=subprocess.STDOUT, **options
        )
        try:  # the client waits for its server
            client = subprocess.run(
                [*command, "drive", str(port), f"{seconds:g}", "chunks.json"],
                capture_output=True, text=True, timeout=seconds + PATIENCE_S, **options,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PeerError(f"{name}'s client did not end in time") from None
        finally:
            server.kill()
            server.wait()
    if client.returncode:
        raise PeerError(
            f"{name}'s client failed: {_last(client.stderr)}; its server: {_last(log.read_text())}"
        )
    body = json.loads((folder / "chunks.json").read_text(encoding="utf-8"))
    return Sample(body["overhead_ms"], body["total_ms"])


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
