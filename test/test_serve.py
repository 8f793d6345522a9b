"""The engine's server: what it answers, to whom, and what it takes without harm."""

from __future__ import annotations

import base64
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from remote_fixtures import (
    CAPTION,
    PATIENCE_S,
    PEERS,
    ScriptedEngine,
    Wire,
    body_of,
    memory_mb,
    observation,
    until,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus

from wallwm_model.engines import wire
from wallwm_model.engines.gate import Caps, RateLimit, Secrets, check_exposure, is_loopback, read_token
from wallwm_model.engines.messages import CALL, STOP, look_body, spec_hash
from wallwm_model.engines.server import serving
from wallwm_model.errors import ConfigError, WallWMError
from wallwm_model.policy import Policy

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-of-many-characters"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def server(engine):
    with serving(engine) as running:
        yield running


def upgraded(port: int) -> socket.socket:
    """A raw socket after the handshake and the greeting."""
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    key = base64.b64encode(b"0123456789abcdef").decode()
    raw.sendall(
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    read = b""
    while b"spec_hash" not in read:
        read += raw.recv(4096)
    return raw


def closed(raw: socket.socket) -> bytes:
    """What the server still says before it closes the connection."""
    read = b""
    try:
        while part := raw.recv(65536):
            read += part
    except ConnectionError:
        pass
    return read


# ---- answers


def test_the_greeting_says_what_is_served(server, engine):
    client = Wire(server.port)
    assert client.greeting[CALL] == 1 and client.greeting["spec_hash"] == spec_hash(engine.spec)
    assert client.greeting["joints"] == list(engine.spec.joints) and client.greeting["engine"] == "scripted"


def test_an_openpi_observation_gives_the_policys_own_chunk(server, engine):
    seen = observation(engine.spec)
    expected = Policy(engine).event(seen, CAPTION, seed=3)
    reply = Wire(server.port).ask(body_of(seen, seed=3, stamp_ns=5))
    assert reply["actions"].dtype == np.float32 and np.array_equal(reply["actions"], expected.actions)
    assert reply["remaining_s"] == expected.remaining_s and reply["step_s"] == engine.spec.step_s
    assert {"queue_ms", "engine_ms", "infer_ms"} == set(reply["server_timing"])
    arrays = [name for name, value in reply.items() if isinstance(value, np.ndarray)]
    assert arrays == ["actions"]  # openpi's broker cuts every array along its steps


@pytest.mark.parametrize("size", [64, 224])
def test_an_observation_may_have_openpis_other_shapes(server, engine, size):
    seen, client = observation(engine.spec, size=size), Wire(server.port)
    expected = client.ask(body_of(seen))["actions"]
    turned = {name: picture.transpose(2, 0, 1) for name, picture in seen.images.items()}
    assert np.array_equal(client.ask(body_of(seen) | {"images": turned})["actions"], expected)
    flat = {f"observation/{name}": picture for name, picture in seen.images.items()}
    flat |= {"observation/state": seen.state, "prompt": CAPTION}
    assert np.array_equal(client.ask(flat)["actions"], expected)
    assert np.array_equal(client.ask(body_of(seen) | {"state": seen.state.tolist()})["actions"], expected)
    assert len(client.ask(body_of(seen, duration_s=0.5))["actions"]) == 10


def test_the_engines_calls_by_name(server, engine):
    seen, client, policy = observation(engine.spec), Wire(server.port), Policy(engine)
    look = policy._look(seen, CAPTION, route="staircase")
    context = client.ask({CALL: "observe", "number": 7, **look_body(look)})
    assert (context["number"], context["next_event"]) == (7, CAPTION) and context["latents"].shape == (2, 3)
    ask = {CALL: "act", "context": context["context"], "steps": 5, "euler_steps": 2, "seed": 1}
    expected = engine.act(engine.observe(look), 5, 2, 1)
    assert np.array_equal(client.ask(ask)["actions"], expected)
    prefix = np.zeros((2, len(engine.spec.joints)), np.float32)
    assert not client.ask(ask | {"prefix": prefix})["actions"][:2].any()
    assert client.ask({CALL: "explain", "latents": context["latents"]})["text"].startswith("thus ")
    shown = client.ask({CALL: "imagine", "euler_steps": 2, "seed": 0, **look_body(look)})["pictures"]
    assert shown.shape == (3, 8, 64, 64, 3) and shown.dtype == np.uint8


def test_contexts_belong_to_their_connection_and_only_the_last_are_kept(server, engine):
    one, other = Wire(server.port), Wire(server.port)
    look = {CALL: "observe", **look_body(Policy(engine)._look(observation(engine.spec), CAPTION))}
    numbers = [one.ask(look)["context"] for _ in range(6)]
    act = {CALL: "act", "steps": 3, "euler_steps": 1, "seed": 0}
    assert "actions" in one.ask(act | {"context": numbers[2]})
    assert "context must be one of this connection's last looks (3, 4, 5, 6)" in one.ask(act | {"context": 1})
    assert "last looks (none)" in other.ask(act | {"context": numbers[-1]})


LOOK = {CALL: "observe"}
ACT = {CALL: "act", "context": 1, "steps": 3, "euler_steps": 1, "seed": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: "hello", "binary frame"),
        (lambda b: b"\xc1", "whole and of msgpack"),
        (lambda b: [1], "a request must be a map; found list"),
        (lambda b: {}, "state must be 14 numbers"),
        (lambda b: b | {"prompt": None}, "prompt must be text; found nothing"),
        (lambda b: b | {"prompt": "fly to the moon"}, "moon"),
        (lambda b: b | {"prompt": ""}, "caption"),
        (lambda b: b | {"state": "up"}, "state must be"),
        (lambda b: b | {"state": [[]]}, r"state must have shape \(14,\)"),
        (lambda b: b | {"state": ["a"]}, "state must be"),
        (lambda b: b | {"state": b["state"][:3]}, r"state must have shape \(14,\); found \(3,\)"),
        (lambda b: b | {"state": b["state"] * np.nan}, "state must be finite"),
        (lambda b: b | {"images": {}}, "head_cam, wrist_cam_left, wrist_cam_right missing"),
        (lambda b: b | {"images": [1]}, "images must be a map"),
        (lambda b: b | {"images": {"head_cam": 1}}, "images must be a map"),
        (lambda b: b | {"images": {n: p[:, :0] for n, p in b["images"].items()}}, "a picture must be"),
        (lambda b: b | {"images": {n: p[0] for n, p in b["images"].items()}}, "a picture must be"),
        (lambda b: b | {"images": {n: p[:10] for n, p in b["images"].items()}}, "same aspect ratio"),
        (lambda b: b | {"images": {n: p / 255 for n, p in b["images"].items()}}, "uint8; found"),
        (lambda b: b | {"seed": -1}, "seed must be a whole number"),
        (lambda b: b | {"seed": 1.5}, "seed must be a whole number"),
        (lambda b: b | {"duration_s": 99.0}, "an event must last"),
        (lambda b: b | {"duration_s": float("inf")}, "duration_s must be finite"),
        (lambda b: {CALL: "fly"}, "wallwm must be one of observe, act, imagine, explain; found 'fly'"),
        (lambda b: {CALL: 3}, "wallwm must be text"),
        (lambda b: LOOK, "tokens must be an array"),
        (lambda b: LOOK | {"tokens": np.full(16, 9999)}, "tokens must be 16 word ids"),
        (lambda b: LOOK | {"tokens": np.full(16, -1)}, "tokens must be 16 word ids"),
        (lambda b: LOOK | {"tokens": np.zeros(16, np.int64)}, "images must be an array"),
        (lambda b: ACT, "last looks (none); found 1".replace("(", r"\(").replace(")", r"\)")),
        (lambda b: ACT | {"context": "1"}, "context must be a whole number"),
        (lambda b: {CALL: "explain"}, "latents must be an array"),
        (lambda b: {CALL: "explain", "latents": np.full((1, 2), np.inf, np.float32)}, "finite"),
        (lambda b: {CALL: "explain", "latents": np.zeros((1, 2))}, "of float32; found"),
    ],
    ids=range(34),
)
def test_bad_requests_are_answered_in_a_sentence_and_the_next_is_served(server, engine, change, words):
    client, body = Wire(server.port), body_of(observation(engine.spec))
    reply = client.ask(change(body))
    assert isinstance(reply, str) and re.search(words, reply), reply
    assert "Traceback" not in reply and "\n" not in reply and len(reply) <= 500
    assert "actions" in client.ask(body)


@pytest.mark.parametrize("name", ["steps", "euler_steps", "seed", "prefix"])
def test_what_is_out_of_range_never_reaches_the_engine(server, engine, name):
    client = Wire(server.port)
    client.ask({CALL: "observe", **look_body(Policy(engine)._look(observation(engine.spec), CAPTION))})
    bad = {"steps": 65, "euler_steps": 10**9, "seed": -1, "prefix": np.full((1, 14), np.nan, np.float32)}
    assert name in client.ask(ACT | {name: bad[name]})
    assert not engine.acts


def test_an_engine_that_fails_is_told_of_in_one_line_and_goes_on(server, engine):
    client, body = Wire(server.port), body_of(observation(engine.spec))
    engine.fault = RuntimeError("out of memory\nin the second layer" + "!" * 9999)
    reply = client.ask(body)
    assert (
        reply.startswith("the engine failed: RuntimeError: out of memory in the second") and len(reply) == 500
    )
    engine.fault = None
    assert "actions" in client.ask(body)
    until(lambda: (server.counts.requests, server.counts.errors) == (2, 1))


# ---- several at a time


def test_a_stop_ends_an_explanation_and_one_too_late_does_no_harm(server, engine):
    client = Wire(server.port)
    engine.go.clear()  # so that only the stop ends it
    client.send({CALL: "explain", "number": 4, "latents": np.zeros((1, 2), np.float32)})
    assert engine.began.wait(PATIENCE_S)
    client.send(STOP)
    assert (client.reply())["text"] == ""
    client.send(STOP)
    engine.go.set()
    assert "actions" in client.ask(body_of(observation(engine.spec)))


def test_whoever_leaves_frees_the_engine(server, engine):
    """An explanation ends with its client; a request that waits does not begin."""
    talker, waiting, last = (Wire(server.port) for _ in range(3))
    engine.go.clear()
    talker.send({CALL: "explain", "latents": np.zeros((1, 2), np.float32)})
    assert engine.began.wait(PATIENCE_S)
    waiting.send(body_of(observation(engine.spec)))
    until(lambda: server._turns.waiting == 1)
    waiting.close()
    until(lambda: server._turns.waiting == 0)
    talker.close()
    engine.go.set()
    assert "actions" in last.ask(body_of(observation(engine.spec)))
    assert len(engine.looks) == 1


def test_requests_of_several_robots_take_turns_and_too_many_are_told(engine):
    with serving(engine, caps=Caps(waiting=2)) as server:
        clients = [Wire(server.port) for _ in range(4)]
        body = body_of(observation(engine.spec))
        engine.go.clear()
        clients[0].send(body | {"seed": 0})
        assert engine.began.wait(PATIENCE_S)
        for i in (1, 2):
            clients[i].send(body | {"seed": i})
            until(lambda i=i: server._turns.waiting == i)
        assert "busy: 2 requests wait already" in clients[3].ask(body)
        engine.go.set()
        replies = [client.reply() for client in clients[:3]]
        assert all("actions" in reply for reply in replies)
        assert [seed for _, _, seed, _ in engine.acts] == [0, 1, 2]
        assert min(reply["server_timing"]["queue_ms"] for reply in replies) >= 0


def test_pipelined_requests_are_answered_in_order(server, engine):
    client = Wire(server.port)
    latents = np.zeros((1, 2), np.float32)
    for number in range(5):
        client.send({CALL: "explain", "number": number, "latents": latents})
    assert [client.reply()["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_the_end_of_the_server_is_an_answer_too(engine):
    with serving(engine) as server:
        client, waiting = Wire(server.port), Wire(server.port)
        engine.go.clear()
        client.send(body_of(observation(engine.spec)))
        assert engine.began.wait(PATIENCE_S)
        waiting.send(body_of(observation(engine.spec)))
        until(lambda: server._turns.waiting == 1)
        threading.Timer(0.1, engine.go.set).start()
    for peer in (client, waiting):
        with pytest.raises(ConnectionClosed):
            peer.reply()
            peer.reply()


# ---- who is let in


def test_only_with_the_token(engine):
    with serving(engine, secrets=Secrets(TOKEN)) as server:
        for headers in ({}, {"Authorization": f"Api-Key {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN}"},
                        {"Authorization": "Api-Key"}, {"Authorization": "Api-Key t\u00f6ken"}):  # fmt: skip
            with pytest.raises(InvalidStatus, match="401"):
                Wire(server.port, additional_headers=headers)
        client = Wire(server.port, additional_headers={"Authorization": f"Api-Key {TOKEN}"})
        assert "actions" in client.ask(body_of(observation(engine.spec)))
        assert server.gate.refused == 5 and server.gate.served == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz") as reply:
            assert (reply.status, reply.read()) == (200, b"OK\n")


def test_others_than_this_machine_need_a_certificate_and_a_token(engine, tmp_path):
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("robot.lan") and not is_loopback("::")
    both = Secrets(TOKEN, tmp_path / "cert", tmp_path / "key")
    check_exposure("0.0.0.0", both)
    for secrets in (Secrets(), Secrets(TOKEN), Secrets("", both.cert, both.key), Secrets(TOKEN, both.cert)):
        with pytest.raises(ConfigError, match="can be reached by others"):
            check_exposure("0.0.0.0", secrets)
        with pytest.raises(WallWMError):
            with serving(engine, "0.0.0.0", secrets=secrets):
                pass
    with pytest.raises(ConfigError, match="in PEM"):
        both.tls()


def test_a_token_file_must_hold_a_token(tmp_path):
    path = tmp_path / "token"
    for text in ("short", "", f"{TOKEN} {TOKEN}", "t\u00f6" * 20):
        path.write_text(text)
        with pytest.raises(ConfigError, match="token"):
            read_token(path)
    path.write_text(f"  {TOKEN}\n")
    assert read_token(path) == TOKEN
    with pytest.raises(ConfigError, match="FileNotFound"):
        read_token(tmp_path / "none")


def test_a_taken_port_is_named(server, engine):
    with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}"):
        with serving(engine, port=server.port):
            pass


# ---- abuse


@pytest.mark.parametrize("fin", [0x80, 0x00], ids=["whole", "fragment"])
def test_a_frame_of_a_gigabyte_is_refused_by_its_announcement(server, engine, fin):
    before = memory_mb()
    raw = upgraded(server.port)
    raw.sendall(bytes([fin | 2, 0x80 | 127]) + GIB.to_bytes(8, "big") + b"mask" + b"x" * 1000)
    assert b"\x03\xf1" in closed(raw)  # close code 1009, too big
    assert memory_mb() - before < 64
    assert "actions" in Wire(server.port).ask(body_of(observation(engine.spec)))


def test_fragments_do_not_add_up_beyond_the_limit(engine):
    with serving(engine, caps=Caps(frame_bytes=MIB)) as server:
        raw = upgraded(server.port)
        part = bytes([0x80 | 126]) + (60_000).to_bytes(2, "big") + b"\0\0\0\0" + b"x" * 60_000
        try:
            raw.sendall(b"\x02" + part)
            for _ in range(40):
                raw.sendall(b"\x00" + part)
        except ConnectionError:
            pass
        else:
            assert b"\x03\xf1" in closed(raw)
        with pytest.raises(ConnectionClosed):
            Wire(server.port).ask(wire.pack({"x": np.zeros(2 * MIB, np.uint8)}))


@pytest.mark.parametrize("begin", [b"GET / HT", b""], ids=["handshake", "frame"])
def test_a_message_that_takes_too_long_costs_the_connection(engine, begin):
    """Others are served meanwhile; silence between messages is no fault."""
    with serving(engine, caps=Caps(frame_s=0.3)) as server:
        good = Wire(server.port)
        raw = (
            socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
            if begin
            else upgraded(server.port)
        )
        raw.sendall(begin or bytes([0x82, 0x80 | 126]) + (1000).to_bytes(2, "big") + b"mask")
        ended = threading.Event()
        threading.Thread(target=lambda: (closed(raw), ended.set()), daemon=True).start()
        while not ended.wait(0.02):
            assert "actions" in good.ask(body_of(observation(engine.spec)))
            try:
                raw.sendall(b"x")
            except OSError:
                break
        assert ended.wait(PATIENCE_S)
        until(lambda: len(server.gate.present) == 1)
        assert "actions" in good.ask(body_of(observation(engine.spec)))


def test_a_thousand_connections_leave_the_first_one_served(engine):
    with serving(engine, caps=Caps(connections=3)) as server:
        first, body, before = Wire(server.port), body_of(observation(engine.spec)), memory_mb()
        crowd = []
        for i in range(1000):
            raw = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
            crowd.append(raw)
            if i % 100 == 0:
                assert "actions" in first.ask(body)
            while len(crowd) > 300:  # the test's own files are limited
                crowd.pop(0).close()
        assert len(server.gate.present) <= 3 + 32
        assert "actions" in first.ask(body)
        for raw in crowd:
            raw.close()
        until(lambda: len(server.gate.present) == 1)
        others = [Wire(server.port) for _ in range(2)]
        with pytest.raises(InvalidStatus, match="503"):
            Wire(server.port)
        assert all("actions" in other.ask(body) for other in others)
        assert memory_mb() - before < 100


def test_who_asks_too_often_is_told_and_slowed_down(engine):
    with serving(engine, caps=Caps(rate_hz=5.0)) as server:
        client, other = Wire(server.port), Wire(server.port)
        latents = {CALL: "explain", "latents": np.zeros((1, 2), np.float32)}
        replies = [client.ask(latents) for _ in range(12)]
        refused = [reply for reply in replies if isinstance(reply, str)]
        assert refused and all("5 requests per second" in reply for reply in refused)
        assert "text" in replies[0] and "text" in other.ask(latents)


def test_the_rate_limit_counts_what_is_left():
    limit = RateLimit(10.0, now_s=100.0)
    assert [limit.wait_s(100.0) for _ in range(10)] == [0.0] * 10
    assert limit.wait_s(100.0) == pytest.approx(0.1)
    assert limit.wait_s(100.3) == 0.0
    assert [limit.wait_s(200.0) for _ in range(10)] == [0.0] * 10 and limit.wait_s(200.0) > 0


def test_memory_does_not_grow_with_requests_errors_and_connections(engine):
    body = body_of(observation(engine.spec))
    with serving(engine, caps=Caps(rate_hz=1e6)) as server:

        def rounds(count: int) -> None:
            for _ in range(count):
                client = Wire(server.port)
                client.ask(body)
                client.ask({CALL: "observe", **look})
                client.ask({"prompt": "?"})
                client.send(body)  # leaves without the answer
                client.close()
                engine.looks.clear(), engine.acts.clear()
            until(lambda: not server.gate.present)
            gc.collect()

        look = look_body(Policy(engine)._look(observation(engine.spec), CAPTION))
        rounds(10)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        rounds(40)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < 500 * KIB  # one forgotten observation per round would be 1.5 MB


# ---- programs


OPENPI_CLIENT = """
import sys
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_client.action_chunk_broker import ActionChunkBroker

port, token, file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = WebsocketClientPolicy("127.0.0.1", port, api_key=token)
seen = np.load(file)
images = {name[4:]: seen[name] for name in seen if name.startswith("cam:")}
observation = {"images": images, "state": seen["state"], "prompt": "retract the left arm"}
assert client.get_server_metadata()["model"] == "nano"
reply = client.infer(observation)
assert reply["server_timing"]["infer_ms"] > 0
try:
    client.infer({"prompt": "no pictures"})
except RuntimeError as error:
    assert "state must be" in str(error), error
else:
    raise SystemExit("no error")
np.save(file + ".out.npy", client.infer(observation)["actions"])
steps = [ActionChunkBroker(client, action_horizon=4).infer(observation)["actions"] for _ in range(2)]
assert np.array_equal(steps[0], reply["actions"][0])
"""


def test_openpis_own_client_is_served(engine, tmp_path):
    if not PEERS.exists():
        pytest.skip("openpi-client is not there: ./wallwm bench runtime brings it")
    seen, file = observation(engine.spec, size=224), tmp_path / "seen.npz"
    np.savez(file, state=seen.state, **{f"cam:{name}": picture for name, picture in seen.images.items()})
    expected = Policy(engine).event(seen, CAPTION).actions
    with serving(engine, secrets=Secrets(TOKEN)) as server:
        command = [PEERS, "-c", OPENPI_CLIENT, str(server.port), TOKEN, str(file)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env={"PATH": os.environ["PATH"]}
        )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(f"{file}.out.npy"), expected)


def test_the_command_serves_a_bundle_until_ctrl_c():
    pytest.importorskip("onnxruntime")
    command = [
        sys.executable,
        "-m",
        "wallwm_ros.cli.main",
        "serve",
        "models/nano",
        "--port",
        "0",
        "--engine",
        "onnx",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("serving nano on onnx at ws://127.0.0.1:"), line
        client = Wire(int(line.rpartition(":")[2]))
        assert client.greeting["model"] == "nano"
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        process.kill()
    assert process.returncode == 0 and output.startswith("stopped; robots 0") and "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "needs a certificate and its key and a token"),
        (["--token-file", "/no/such/file"], "expected a token"),
        (["--cert", "/no/such/file"], "one of them only"),
        (["--engine", "steam"], "engine must be auto"),
        (["/no/such/bundle"], "bundle"),
    ],
)
def test_the_command_refuses_in_a_sentence(options, words, capsys):
    from wallwm_ros.cli.main import main

    assert main(["serve", "--port", "0", *options]) == 1
    said = capsys.readouterr().err
    assert said.startswith("wallwm: ") and words in said and said.count("\n") == 1


def test_the_line_of_state():
    from wallwm_ros.cli.serve import line

    with serving(ScriptedEngine()) as server:
        Wire(server.port).ask({})
        until(lambda: server.counts.requests == 1)
        text = line(server)
    assert text.startswith("robots ") and "requests 1 (0.1/s)" in text and "errors 1" in text
