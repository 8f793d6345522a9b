"""openpi's own loop: its Runtime, ActionChunkBroker and websocket client, against a server of its protocol.

`python -m benchmarks.peers.openpi_loop serve PORT LOW_MS HIGH_MS`, and in another process
`python -m benchmarks.peers.openpi_loop drive PORT SECONDS FILE`.
"""

from __future__ import annotations

import asyncio
import sys
import time

from openpi_client import action_chunk_broker, base_policy, msgpack_numpy, websocket_client_policy
from openpi_client.runtime import environment, runtime
from openpi_client.runtime.agents import policy_agent
from websockets.asyncio import server

from benchmarks.peers.rig import ACTION_HZ, ASK_AFTER, Diary, Rig, SlowPolicy

CONNECT_S = 60.0


class Dummy(base_policy.BasePolicy):
    """The slow policy, as openpi's servers know policies."""

    def __init__(self, low_ms: float, high_ms: float) -> None:
        self._slow = SlowPolicy(low_ms, high_ms)

    def infer(self, obs: dict) -> dict:
        """The pictures' stamp and the time spent here travel with the actions."""
        actions, engine_s = self._slow.think()
        return {"actions": actions, "engine_s": engine_s, "stamp_ns": obs["stamp_ns"]}


def serve(port: int, low_ms: float, high_ms: float) -> None:
    """Metadata on connection, then packed observation in, packed actions out: openpi's protocol."""
    policy = Dummy(low_ms, high_ms)

    async def handle(connection: server.ServerConnection) -> None:
        packer = msgpack_numpy.Packer()
        await connection.send(packer.pack({}))
        async for message in connection:
            await connection.send(packer.pack(policy.infer(msgpack_numpy.unpackb(message))))

    async def run() -> None:
        async with server.serve(handle, "127.0.0.1", port, compression=None, max_size=None) as serving:
            await serving.serve_forever()

    asyncio.run(run())


class Robot(environment.Environment):
    """The rig, as openpi's runtime knows robots; notes when the first action of a chunk arrives."""

    def __init__(self, seconds: float) -> None:
        self._rig, self.diary = Rig(), Diary()
        self._until = time.monotonic() + seconds

    def reset(self) -> None:
        """Nothing is to be reset."""

    def is_episode_complete(self) -> bool:
        """The time is up."""
        return time.monotonic() > self._until

    def get_observation(self) -> dict:
        """Newest pictures and joints."""
        pictures, stamp_ns = self._rig.latest()
        return {"images": pictures, "state": self._rig.joints(), "prompt": "go on", "stamp_ns": stamp_ns}

    def apply_action(self, action: dict) -> None:
        """The action is there; nothing moves."""
        self.diary.note(action["stamp_ns"], action["engine_s"])


def drive(port: int, seconds: float, path: str) -> None:
    """Run openpi's runtime for so long."""
    client = _connect(port)
    robot = Robot(seconds)
    broker = action_chunk_broker.ActionChunkBroker(client, action_horizon=ASK_AFTER)
    agent = policy_agent.PolicyAgent(broker)
    runtime.Runtime(robot, agent, subscribers=[], max_hz=ACTION_HZ).run()
    robot.diary.write(path)


def _connect(port: int) -> websocket_client_policy.WebsocketClientPolicy:
    deadline = time.monotonic() + CONNECT_S
    while True:
        try:
            return websocket_client_policy.WebsocketClientPolicy("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    else:
        drive(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
