"""What it costs that the engine is elsewhere: the time of a call less the engine's own, beside openpi's pair.

Client and server are a process each, on this machine, so a real network comes on top. The model is a stand-in
that takes the same time in all of them; pictures go over the wire as the model reads them, three of 64 or of
224 px. `python -m benchmarks.engine_remote SIZE` is our server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.environment import ROOT, PeerError, Peers
from benchmarks.peers.openpi_call import CAMERAS, JOINTS, PROMPT, STEPS, observation, think
from benchmarks.runtime_figures import summary
from wallwm_model.captions import vocabulary
from wallwm_model.engines import Context, Engine, Look
from wallwm_model.engines.caller import FarEngine
from wallwm_model.engines.remote import connect
from wallwm_model.errors import WallWMError
from wallwm_model.policy import Policy
from wallwm_model.preprocess import Observation
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation

SIZES = (64, 224)
CALLS = 300
WARM = 20  # first calls that do not count
PEER = "benchmarks.peers.openpi_call"
PATIENCE_S = 120.0


class StandIn(Engine):
    """An engine that only takes its time."""

    name = "stand-in"

    def __init__(self, size: int) -> None:
        self.spec = ModelSpec(
            name=f"stand-in-{size}",
            robot="sim",
            cameras=tuple(CameraSpec(name, size, size, "world", fx=1.0, fy=1.0) for name in CAMERAS),
            joints=tuple(f"joint_{i}" for i in range(JOINTS)),
            rate_hz=20.0,
            horizon=64,
            steps_per_latent=16,
            normalisation=Normalisation((0.0,) * JOINTS, (1.0,) * JOINTS),
            vocabulary=vocabulary(),
        )

    def observe(self, look: Look) -> Context:
        """Takes no time."""
        return Context({}, look.state, float(STEPS))

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """Takes its time."""
        think()
        return np.zeros((steps, JOINTS), np.float32)

    def close(self) -> None:
        """Nothing is held."""


def overhead(
    peers: Peers | None = None, calls: int = CALLS, say: Callable[[str], None] = lambda text: None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Size of the pictures [px] -> pair -> p50, p99, largest and count of the overhead [ms].

    Pairs: `wallwm_chunk`, our node's engine, which asks twice for a chunk; `wallwm_observe` and `wallwm_act`,
    these two calls; `wallwm_openpi_client`, openpi's client at our server; `wallwm_at_openpi`, our node's engine
    at a server of openpi's protocol; `openpi`, openpi's client there. One that cannot be measured has `missing`:
    the reason.

    Args:
        peers: the environment that has openpi-client; None: ours alone.
        calls: of each pair.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for size in SIZES:
        rows = found[str(size)] = {}
        say(f"remote calls with pictures of {size} px")
        with _server([sys.executable, "-m", "benchmarks.engine_remote", str(size)], None) as port:
            rows.update(ours(port, size, calls))
            _theirs(rows, "wallwm_openpi_client", peers, port, size, calls)
        try:
            with _server([*_python(peers), "-m", PEER, "serve"], peers) as port:
                rows["wallwm_at_openpi"] = at_openpi(port, size, calls)
                _theirs(rows, "openpi", peers, port, size, calls)
        except WallWMError as error:
            rows |= {name: {"missing": str(error)} for name in ("wallwm_at_openpi", "openpi")}
    return found


def ours(port: int, size: int, calls: int) -> dict[str, dict[str, Any]]:
    """Chunks of our own engine at our own server, as the policy node asks for them."""
    engine = connect(f"ws://127.0.0.1:{port}", StandIn(size).spec)
    chunks = _chunks(engine, size, calls, requests=2)
    splits = {
        call: [1000 * (s.network_s + s.queue_s) for s in engine.splits if s.call == call]
        for call in ("observe", "act")
    }
    engine.close()
    rows = {"wallwm_chunk": chunks} | {f"wallwm_{call}": times for call, times in splits.items()}
    return {name: summary(times[WARM:]) for name, times in rows.items()}


def at_openpi(port: int, size: int, calls: int) -> dict[str, Any]:
    """Chunks of our own engine at a server that knows openpi's protocol only."""
    engine = connect(f"ws://127.0.0.1:{port}", StandIn(size).spec)
    times = _chunks(engine, size, calls, requests=1)
    engine.close()
    return summary(times[WARM:])


def _chunks(engine: FarEngine, size: int, calls: int, requests: int) -> list[float]:
    """What each chunk took besides the server's engine [ms]; it takes so many requests."""
    policy, body = Policy(engine), observation(size)
    seen, times = Observation(body["images"], body["state"], 0), []
    for _ in range(calls):
        began = time.perf_counter()
        chunk = policy.event(seen, PROMPT)
        whole_s = time.perf_counter() - began - chunk.preprocess_s
        times.append(1000 * (whole_s - sum(split.engine_s for split in list(engine.splits)[-requests:])))
    return times


def _theirs(
    rows: dict[str, dict[str, Any]], name: str, peers: Peers | None, port: int, size: int, calls: int
) -> None:
    """openpi's client at a server."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "calls.json"
            command = [*_python(peers), "-m", PEER, "drive", str(port), str(size), str(calls), str(file)]
            done = subprocess.run(
                command, cwd=ROOT, env=peers.environ(), capture_output=True, text=True, timeout=PATIENCE_S
            )
            if done.returncode:
                raise PeerError(f"openpi's client failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            times = json.loads(file.read_text(encoding="utf-8"))
        rows[name] = summary([whole - engine for whole, engine in times][WARM:])
    except (WallWMError, subprocess.TimeoutExpired) as error:
        rows[name] = {"missing": str(error)}


def _python(peers: Peers | None) -> list[str]:
    if peers is None or not peers.has("openpi"):
        raise PeerError(peers.missing["openpi"] if peers else "openpi was not asked for")
    return [str(peers.python)]


@contextmanager
def _server(command: list[str], peers: Peers | None) -> Iterator[int]:
    """A server's process; its port."""
    env = peers.environ() if peers else None
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=env, **pipes) as process:
        try:
            words = process.stdout.readline().split()
            if words[:1] != ["port"]:
                raise PeerError(
                    f"a server must say its port; {command[1:]} said {' '.join(words) or 'nothing'}"
                )
            yield int(words[1])
        finally:
            process.kill()


def main(size: int) -> None:
    """Our server of the stand-in, until it is killed."""
    from wallwm_model.engines.gate import Caps
    from wallwm_model.engines.server import serving

    with serving(StandIn(size), caps=Caps(rate_hz=1e6)) as server:
        print(f"port {server.port}", flush=True)
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
