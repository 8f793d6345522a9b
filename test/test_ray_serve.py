"""The engine's server as an application of Ray Serve, with two replicas; only where Ray is installed."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs ray[serve], which set-up does not install")
serve = pytest.importorskip("ray.serve")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

from remote_fixtures import CAPTION, Wire, body_of, observation, until  # noqa: E402
from websockets.exceptions import InvalidStatus  # noqa: E402

from wallwm_model.deploy.ray_serve import build  # noqa: E402
from wallwm_model.engines import load_engine  # noqa: E402
from wallwm_model.policy import Policy  # noqa: E402

BUNDLE = "models/nano"


@pytest.fixture
def port(monkeypatch):
    """Where Ray serves two replicas, which want a token."""
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("WALLWM_TOKEN", "a-token-of-many-characters")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        serve.start(http_options={"port": port})
        serve.run(build({"bundle": str(root / BUNDLE), "engine": "onnx", "threads": 1, "replicas": 2}))
        yield port
    finally:
        serve.shutdown()
        ray.shutdown()


def test_two_replicas_answer_like_the_engine_itself(port):
    near, header = load_engine(BUNDLE, "onnx", 1), {"Authorization": "Api-Key a-token-of-many-characters"}
    seen, clients = observation(near.spec), []
    expected = Policy(near).event(seen, CAPTION).actions

    def both() -> bool:
        clients.append(Wire(port, additional_headers=header))
        return len({client.greeting["replica"] for client in clients}) == 2

    until(both)
    for client in clients:
        assert np.array_equal(client.ask(body_of(seen))["actions"], expected)
        assert "must be text" in client.ask(body_of(seen, prompt=3))
    far = load_engine(BUNDLE, f"ws://127.0.0.1:{port}?deadline_s=30")
    assert np.array_equal(Policy(far).event(seen, CAPTION).actions, expected)
    far.close()
    with pytest.raises(InvalidStatus):
        Wire(port)
