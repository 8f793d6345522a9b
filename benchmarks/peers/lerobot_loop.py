"""LeRobot's own loop: its RobotClient (both threads) and its PolicyServer, over gRPC.

`python -m benchmarks.peers.lerobot_loop serve PORT LOW_MS HIGH_MS`, and in another process
`python -m benchmarks.peers.lerobot_loop drive PORT SECONDS FILE`. Run in a folder for their logs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import SimpleNamespace

from benchmarks.peers import stand_in
from benchmarks.peers.rig import ACTION_HZ, ASK_AFTER, CAMERAS, JOINTS, SIZE, STEPS, Diary, Rig, SlowPolicy

stand_in.install()

import torch  # noqa: E402
from lerobot.async_inference import policy_server, robot_client  # noqa: E402
from lerobot.async_inference.configs import PolicyServerConfig, RobotClientConfig  # noqa: E402
from lerobot.configs.types import FeatureType, PolicyFeature  # noqa: E402

CONNECT_S = 60.0
NAMES = [f"joint_{i}.pos" for i in range(JOINTS)]


class Dummy:
    """The slow policy, as LeRobot's server knows policies; the time spent travels in the first column."""

    def __init__(self, low_ms: float, high_ms: float) -> None:
        self._slow = SlowPolicy(low_ms, high_ms)
        shape = PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE))
        self.config = SimpleNamespace(image_features={f"observation.images.{n}": shape for n in CAMERAS})

    def from_pretrained(self, _: str) -> Dummy:
        """Nothing is loaded."""
        return self

    def to(self, _: str) -> Dummy:
        """It is where it is."""
        return self

    def predict_action_chunk(self, observation: dict) -> torch.Tensor:
        """(1, STEPS, JOINTS)."""
        actions, engine_s = self._slow.think()
        actions[:, 0] = engine_s
        return torch.from_numpy(actions)[None]


def serve(port: int, low_ms: float, high_ms: float) -> None:
    """LeRobot's server; loading a policy gives the dummy, which needs no normalisation."""
    policy_server.get_policy_class = lambda _: Dummy(low_ms, high_ms)
    policy_server.make_pre_post_processors = lambda *_, **__: (lambda x: x, lambda x: x)
    # Their entry point is a command line around the same function.
    getattr(policy_server.serve, "__wrapped__", policy_server.serve)(
        PolicyServerConfig(host="127.0.0.1", port=port, fps=round(ACTION_HZ))
    )


class Robot:
    """The rig, as LeRobot's client knows robots: it hands out the newest picture at once."""

    observation_features = {n: float for n in NAMES} | {n: (SIZE, SIZE, 3) for n in CAMERAS}
    action_features = {n: float for n in NAMES}

    def __init__(self) -> None:
        self._rig, self.stamp_ns = Rig(), 0

    def connect(self) -> None:
        """It is connected."""

    def disconnect(self) -> None:
        """End the cameras."""
        self._rig.close()

    def get_observation(self) -> dict:
        """Newest pictures and joints."""
        pictures, self.stamp_ns = self._rig.latest()
        return {**dict(zip(NAMES, self._rig.joints().tolist(), strict=True)), **pictures}

    def send_action(self, action: dict) -> dict:
        """Nothing moves."""
        return action


class Client(robot_client.RobotClient):
    """LeRobot's client; only notes which pictures an observation had, and when its actions are queued."""

    def __init__(self, config: RobotClientConfig) -> None:
        super().__init__(config)
        self.diary, self._stamps = Diary(), {}

    def send_observation(self, obs: robot_client.TimedObservation) -> bool:
        """See LeRobot's."""
        self._stamps[obs.get_timestamp()] = self.robot.stamp_ns
        return super().send_observation(obs)

    def _aggregate_action_queues(self, incoming: list, aggregate=None) -> None:
        super()._aggregate_action_queues(incoming, aggregate)
        stamp_ns = self._stamps[incoming[0].get_timestamp()]
        self.diary.note(stamp_ns, incoming[0].get_action()[0].item())


def drive(port: int, seconds: float, path: str) -> None:
    """Run LeRobot's client for so long, with its own defaults but for the chunk's length and threshold."""
    robot_client.make_robot_from_config = lambda _: Robot()
    config = RobotClientConfig(
        policy_type="act",
        pretrained_name_or_path="none",
        robot=SimpleNamespace(),
        actions_per_chunk=STEPS,
        server_address=f"127.0.0.1:{port}",
        chunk_size_threshold=(STEPS - ASK_AFTER) / STEPS,
        fps=round(ACTION_HZ),
    )
    client, deadline = Client(config), time.monotonic() + CONNECT_S
    while not client.start():
        if time.monotonic() > deadline:
            sys.exit("LeRobot's client did not reach its server")
        time.sleep(0.2)
    threading.Thread(target=client.receive_actions, daemon=True).start()
    threading.Timer(seconds, client.shutdown_event.set).start()
    client.control_loop(task="go on")
    client.diary.write(path)
    client.stop()
    os._exit(0)  # its gRPC threads may abort an ordinary exit; what was measured is written


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
    else:
        drive(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
