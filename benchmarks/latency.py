"""How long from a chosen observation to a published chunk? Through the live nodes, by stages."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wallwm_ros.demo.stage import Stage

SECONDS = 60.0


def measure(seconds: float) -> dict[str, Any]:
    """Latency of chunks and of each stage [ms], as policy_node reports them, in real time."""
    from wallwm_ros.core.config import PolicyConfig
    from wallwm_ros.demo import domain

    domain.enter(domain.choose())
    chunks, engine = _chunks(seconds)
    stages = {name: sorted(chunk[name] for chunk in chunks) for name in chunks[0]}
    total = stages.pop("chunk")
    return {
        "what": f"{len(chunks)} chunks of live events, models/nano, real time",
        "engine": engine,
        "engine_threads": PolicyConfig().engine_threads,
        "chunk_ms_p50": _quantile(total, 0.5),
        "chunk_ms_p99": _quantile(total, 0.99),
        "stages": {
            name: {"ms_p50": _quantile(times, 0.5), "ms_p99": _quantile(times, 0.99)}
            for name, times in stages.items()
        },
    }


def _chunks(seconds: float) -> tuple[list[dict[str, float]], str]:
    """Stage -> time [ms] for every chunk of the events carried out meanwhile; name of the engine."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor

    from wallwm_model.errors import EngineError
    from wallwm_ros.bridge.diagnostics import latency_from_message
    from wallwm_ros.demo.prepare import Request, prepare
    from wallwm_ros.demo.stage import Stage

    found: list[dict[str, float]] = []
    engines: list[str] = []

    def heard(message: DiagnosticArray) -> None:
        if (stages := latency_from_message(message)) is not None:
            found.append(stages)
            engines.append(message.status[0].hardware_id)

    setting = prepare(Request(task="pick_place", episodes=1, video=False, lockstep=False))
    with tempfile.TemporaryDirectory() as folder, Stage(setting, Path(folder)) as stage:
        node = rclpy.create_node("bench_latency")
        node.create_subscription(DiagnosticArray, "/diagnostics", heard, 50)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        threading.Thread(target=executor.spin, daemon=True).start()
        deadline = time.monotonic() + seconds
        for caption in _captions(stage):
            stage.execute(caption, lambda progress: None)
            if time.monotonic() > deadline:
                break
        time.sleep(0.5)  # the last report is still on its way
        executor.shutdown(timeout_sec=1.0)
    if not found:
        raise EngineError("expected latencies of chunks on /diagnostics; found no report of policy_node")
    return found, engines[-1]


def _captions(stage: Stage) -> Iterator[str]:
    """The events of one fresh scene after the other."""
    for seed in count():
        yield from stage.new_scene("pick_place", seed)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
