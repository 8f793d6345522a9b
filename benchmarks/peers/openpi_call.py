"""One call after the other with openpi's own client, against any server of its protocol; and such a server.

`python -m benchmarks.peers.openpi_call serve SIZE` prints its port;
`python -m benchmarks.peers.openpi_call drive PORT SIZE CALLS FILE` leaves the times of the calls in a file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
JOINTS, STEPS = 14, 42
THINK_S = 0.005  # of the stand-in for a model; the overhead is what comes on top of what it really took
PROMPT = "retract the left arm"


def think() -> float:
    """What a model does for so long; how long it really took [s]."""
    began = time.perf_counter()
    time.sleep(THINK_S)
    return time.perf_counter() - began


def observation(size: int) -> dict:
    """Three pictures of `size` px, a state and words, in openpi's convention."""
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for name in CAMERAS}
    return {"images": images, "state": np.zeros(JOINTS, np.float32), "prompt": PROMPT}


def serve() -> None:
    """Metadata first, then packed observation in, packed actions and timing out: openpi's protocol."""
    from openpi_client import msgpack_numpy
    from websockets.asyncio import server

    actions = np.zeros((STEPS, JOINTS), np.float32)

    async def handle(connection: server.ServerConnection) -> None:
        packer = msgpack_numpy.Packer()
        await connection.send(packer.pack({}))
        async for message in connection:
            msgpack_numpy.unpackb(message)
            timing = {"infer_ms": 1000 * think()}
            await connection.send(packer.pack({"actions": actions, "server_timing": timing}))

    async def run() -> None:
        async with server.serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as serving:
            print(f"port {serving.sockets[0].getsockname()[1]}", flush=True)
            await serving.serve_forever()

    asyncio.run(run())


def drive(port: int, size: int, calls: int, path: str) -> None:
    """Leave [whole, engine] of every call [ms]."""
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    client, seen, rows = WebsocketClientPolicy("127.0.0.1", port), observation(size), []
    for _ in range(calls):
        began = time.perf_counter()
        reply = client.infer(seen)
        rows.append((1000 * (time.perf_counter() - began), reply["server_timing"]["infer_ms"]))
    Path(path).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        drive(*map(int, sys.argv[2:5]), sys.argv[5])
