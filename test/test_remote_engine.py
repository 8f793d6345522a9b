"""The engine at an address: the answers of one here, and what becomes of calls when its server fails."""

from __future__ import annotations

import dataclasses
import http
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from remote_fixtures import CAPTION, PATIENCE_S, ScriptedEngine, memory_mb, observation, until
from tiny_engine import tiny_spec
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve

from wallwm_model.engines import load_engine, remote, wire
from wallwm_model.engines.address import read_address
from wallwm_model.engines.gate import Caps, Secrets
from wallwm_model.engines.messages import CALL, greeting
from wallwm_model.engines.server import serving
from wallwm_model.errors import EngineError, ObservationError, WallWMError
from wallwm_model.policy import Policy

HERE = Path(__file__).parent
TOKEN = "a-token-of-many-characters"
GIB = 1 << 30


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    for name in ("WALLWM_TOKEN", "WALLWM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def connected(port, spec, options=""):
    """The remote engine of a server."""
    engine = remote.connect(f"ws://127.0.0.1:{port}{options}", spec)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def far(engine):
    with serving(engine) as server, connected(server.port, engine.spec) as far:
        far.server = server
        yield far


# ---- our own server


def test_a_policy_cannot_tell_it_from_an_engine_of_its_own(engine, far):
    near, away = Policy(engine), Policy(far)
    for seed in range(3):
        seen = observation(engine.spec, seed, past=True)
        committed = np.tile(seen.state, (4, 1))
        answers = [
            (
                policy.event(seen, CAPTION, seed=seed),
                policy.event(seen, CAPTION, 1.0, seed, committed),
                policy.unified(seen, CAPTION, seed=seed, chunk=2, committed=committed),
            )
            for policy in (near, away)
        ]
        for one, other in zip(*answers, strict=True):
            assert np.array_equal(one.actions, other.actions) and one.remaining_s == other.remaining_s
    assert np.array_equal(near.imagine(seen, CAPTION), away.imagine(seen, CAPTION))


def test_looks_arrive_as_they_were_sent(engine, far):
    policy, seen = Policy(far), observation(engine.spec, past=True)
    patches = 3 * 4 * 4
    seen = dataclasses.replace(seen, sight_mask=np.random.default_rng(0).random((patches, patches)) > 0.5)
    policy.unified(seen, CAPTION, "staircase", chunk=3)
    look = engine.looks[-1]
    assert (look.chunk, look.route) == (3, "staircase") and np.array_equal(look.mask, seen.sight_mask)
    assert look.history.shape == (3, engine.spec.history_pictures, 64, 64, 3)
    assert np.array_equal(look.images[0], seen.images["head_cam"])


def test_a_thought_is_read_at_the_server_and_can_be_stopped(engine, far):
    policy, seen = Policy(far), observation(engine.spec, past=True)
    chunk = policy.unified(seen, CAPTION, "staircase")
    assert chunk.thought.next_event == CAPTION and policy.explain(chunk).startswith("thus ")
    other = policy.unified(seen, CAPTION, "staircase", seed=1)
    engine.began.clear()
    engine.go.clear()  # so that only the stop ends it
    assert other.thought.read(engine.began.is_set) == ""
    engine.go.set()
    assert len(policy.event(seen, CAPTION).actions)


def test_the_time_is_split_and_kept(engine, far):
    policy, seen = Policy(far), observation(engine.spec)
    chunk = policy.event(seen, CAPTION)
    assert [split.call for split in far.splits] == ["observe", "act"]
    assert all(min(split.network_s, split.queue_s, split.engine_s) >= 0 for split in far.splits)
    assert set(chunk.waits_s) == {"network", "queue"}
    whole = sum(split.network_s + split.queue_s + split.engine_s for split in far.splits)
    assert chunk.waits_s["network"] < whole <= chunk.observe_s + chunk.act_s
    assert Policy(engine).event(seen, CAPTION).waits_s == {}


def test_load_engine_takes_an_address():
    pytest.importorskip("onnxruntime")
    nano = load_engine("models/nano", "onnx", 1)
    with serving(nano) as server:
        far = load_engine("models/nano", f"ws://127.0.0.1:{server.port}")
        seen = observation(nano.spec)
        expected = Policy(nano).event(seen, CAPTION).actions
        assert np.array_equal(Policy(far).event(seen, CAPTION).actions, expected)
        assert far.name.startswith("onnx at ws://127.0.0.1:")
        far.close()
        with pytest.raises(EngineError, match="closed: load it again"):
            Policy(far).event(seen, CAPTION)
    nano.close()


def test_another_model_is_refused_with_both_names(engine):
    other = dataclasses.replace(engine.spec, name="giant", horizon=32)
    with serving(engine) as server:
        with pytest.raises(EngineError, match=r"must serve the model giant \(.*it serves nano \("):
            remote.connect(f"ws://127.0.0.1:{server.port}", other)


def test_another_version_is_refused(engine):
    with answering(lambda body: b"", first=greeting(engine) | {CALL: 99}) as port:
        with pytest.raises(EngineError, match="must speak version 1 of the protocol; found 99"):
            remote.connect(f"ws://127.0.0.1:{port}", engine.spec)


def test_contexts_of_a_lost_connection_are_refused_here(engine, far):
    policy, seen = Policy(far), observation(engine.spec)
    context = far.observe(policy._look(seen, CAPTION))
    far._caller.link.drop("for the test")
    until(lambda: works(lambda: policy.event(seen, CAPTION)))
    with pytest.raises(EngineError, match="look again"):
        far.act(context, 4, 1, 0)


def test_errors_of_the_server_are_errors_here(engine, far):
    engine.fault = RuntimeError("out of memory")
    with pytest.raises(
        EngineError, match="answered with an error: the engine failed: RuntimeError: out of memory"
    ):
        Policy(far).event(observation(engine.spec), CAPTION)
    engine.fault = None
    assert works(lambda: Policy(far).event(observation(engine.spec), CAPTION))


def works(call) -> bool:
    """Whether a call gets through."""
    try:
        call()
    except EngineError:
        return False
    return True


# ---- addresses and tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ws://", "must be ws://HOST:PORT"),
        ("ws://host:port", "must be ws://HOST:PORT"),
        ("ws://host:99999", "must be ws://HOST:PORT"),
        ("ws://me:secret@host:1", "must be ws://HOST:PORT"),
        ("ws://host:1#x", "must be ws://HOST:PORT"),
        ("ws://host:1?deadline=2", "options are deadline_s, patience_s, connect_s; found 'deadline'"),
        ("ws://host:1?deadline_s=soon", "deadline_s must be 0.01 to 3600 seconds; found 'soon'"),
        ("ws://host:1?deadline_s=0", "deadline_s must be"),
        ("ws://host:1?deadline_s=nan", "deadline_s must be"),
    ],
)
def test_addresses_that_are_none(text, words):
    with pytest.raises(EngineError, match=words) as caught:
        read_address(text)
    assert "secret" not in str(caught.value)


def test_addresses_and_their_options(monkeypatch, tmp_path):
    assert read_address("ws://host:8000/path?deadline_s=0.5") == dataclasses.replace(
        read_address("ws://host:8000/path"), deadline_s=0.5
    )
    monkeypatch.setenv("WALLWM_TOKEN", TOKEN)
    assert read_address("wss://host").token == TOKEN and TOKEN not in repr(read_address("wss://host"))
    assert read_address("ws://127.0.0.1:1").token == read_address("ws://[::1]:1").token == TOKEN
    with pytest.raises(EngineError, match="must not travel unencrypted"):
        read_address("ws://host:8000")
    (tmp_path / "token").write_text("of the file\n".replace(" ", "-"))
    monkeypatch.setenv("WALLWM_TOKEN_FILE", str(tmp_path / "token"))
    assert read_address("wss://host").token == "of-the-file"
    monkeypatch.setenv("WALLWM_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(WallWMError, match="FileNotFoundError"):
        read_address("wss://host")


def test_a_wrong_token_is_refused_at_once_and_not_told(engine, monkeypatch):
    with serving(engine, secrets=Secrets(TOKEN)) as server:
        monkeypatch.setenv("WALLWM_TOKEN", "another-token-of-many")
        with pytest.raises(EngineError, match="HTTP 401 .*needs its token") as caught:
            remote.connect(f"ws://127.0.0.1:{server.port}?connect_s=60", engine.spec)
        assert "another-token" not in str(caught.value) and TOKEN not in str(caught.value)
        monkeypatch.setenv("WALLWM_TOKEN", TOKEN)
        with connected(server.port, engine.spec) as far:
            assert far.observe(Policy(far)._look(observation(engine.spec), CAPTION)).remaining_steps > 0


def test_over_tls_with_a_certificate_that_is_trusted(engine, monkeypatch, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        key,
        "-out",
        cert,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl makes no certificate here: {error}")
    monkeypatch.setenv("WALLWM_TOKEN", TOKEN)
    with serving(engine, "0.0.0.0", secrets=Secrets(TOKEN, cert, key)) as server:
        with pytest.raises(EngineError, match="certificate verify failed"):
            remote.connect(f"wss://localhost:{server.port}", engine.spec)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        far = remote.connect(f"wss://localhost:{server.port}", engine.spec)
        assert len(Policy(far).event(observation(engine.spec), CAPTION).actions) == 12
        far.close()


def test_no_server_is_an_error_in_time_and_leaves_no_thread(engine):
    with serving(engine) as server:
        port = server.port
    with pytest.raises(EngineError, match="is not connected: nothing listens there"):
        remote.connect(f"ws://127.0.0.1:{port}?connect_s=0.3", engine.spec)
    assert "engine link" not in [thread.name for thread in threading.enumerate()]


# ---- servers that fail


@contextmanager
def process(port, folder):
    """A server that can be killed."""
    command = [sys.executable, str(HERE / "remote_server.py"), str(port), "sound", str(folder)]
    env_path = {"PYTHONPATH": f"{HERE.parent}:{HERE}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | env_path) as running:
        try:
            running.port = int(running.stdout.readline().split()[1])
            yield running
        finally:
            running.kill()


def test_killed_in_the_middle_of_a_call_and_back_again(tmp_path):
    spec = tiny_spec()
    seen = observation(spec)
    with process(0, tmp_path) as first:
        far = remote.connect(f"ws://127.0.0.1:{first.port}?deadline_s=60", spec)
        policy, found = Policy(far), []
        assert len(policy.event(seen, CAPTION).actions) == 12
        (tmp_path / "hang").touch()

        def ask() -> None:
            try:
                policy.event(seen, CAPTION)
            except EngineError as error:
                found.append(error)

        caller = threading.Thread(target=ask)
        caller.start()
        until((tmp_path / "hanging").exists)
        first.send_signal(signal.SIGKILL)
        caller.join(PATIENCE_S)
    assert not caller.is_alive() and "is not connected" in str(found[0])
    for _ in range(3):  # at once, and not after the deadline of a minute
        with pytest.raises(
            EngineError, match="is not connected: (nothing listens there|no close frame|.*reset)"
        ):
            policy.event(seen, CAPTION)
    (tmp_path / "hang").unlink()
    with process(first.port, tmp_path):
        until(lambda: works(lambda: policy.event(seen, CAPTION)))
    far.close()


def test_a_slow_answer_is_given_up_and_never_taken_for_the_next(engine):
    with serving(engine) as server, connected(server.port, engine.spec, "?deadline_s=0.3") as far:
        policy, dark, bright = Policy(far), observation(engine.spec, 1), observation(engine.spec, 2)
        engine.go.clear()
        with pytest.raises(EngineError, match="must answer in 0.3 s"):
            policy.event(dark, CAPTION)
        engine.go.set()
        until(lambda: works(lambda: policy.event(bright, CAPTION)))
        assert np.array_equal(
            policy.event(bright, CAPTION).actions, Policy(engine).event(bright, CAPTION).actions
        )


def test_a_halted_server_is_given_up_even_by_who_still_sends(tmp_path):
    """What is sent fills the socket's buffers, and stays there."""
    spec = tiny_spec()
    with process(0, tmp_path) as halted, connected(halted.port, spec, "?patience_s=0.5") as far:
        halted.send_signal(signal.SIGSTOP)
        with pytest.raises(EngineError, match="must answer in 0.5 s"):
            far.explain(np.zeros((4, 1 << 20), np.float32))
        halted.send_signal(signal.SIGCONT)
        until(lambda: works(lambda: Policy(far).event(observation(spec), CAPTION)))


@contextmanager
def listening(handle, **options):
    """A server of `websockets` itself, with nothing of ours around it."""
    with serve(handle, "127.0.0.1", 0, compression=None, max_size=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()


@contextmanager
def answering(reply, first=None):
    """openpi's published protocol: metadata on connection, then a packed reply to each packed observation."""

    def handle(connection) -> None:
        connection.send(wire.pack({} if first is None else first))
        for frame in connection:
            answer = reply(wire.unpack(frame))
            for part in answer if isinstance(answer, list) else [answer]:
                connection.send(part if isinstance(part, (bytes, str)) else wire.pack(part))

    with listening(handle) as port:
        yield port


GARBAGE = [
    (lambda b: b"\xc1\xc1", "must speak its protocol"),
    (lambda b: b"\x93\x01", "must speak its protocol"),
    (lambda b: wire.pack([1]), "a reply must be a map"),
    (
        lambda b: "Traceback (most recent call last):\n  File x\nValueError: bad \x1b[31mshape",
        "ValueError: bad  .31mshape",
    ),
    (lambda b: {}, "must answer request 1; found None"),
    (lambda b: {"number": b["number"] + 1}, "must answer request 1; found 2"),
    (lambda b: {"number": b["number"]}, "not sound: context must be"),
    (
        lambda b: {"number": b["number"], "context": 1, "remaining_steps": float("nan")},
        "remaining_steps must be finite",
    ),
    (
        lambda b: {"number": b["number"], "context": 1, "remaining_steps": 9, "next_event": 3},
        "next_event must be text",
    ),
]


@pytest.mark.parametrize(("reply", "words"), GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_an_error_and_not_an_answer(engine, reply, words):
    with answering(reply, first=greeting(engine)) as port, connected(port, engine.spec) as far:
        with pytest.raises(EngineError, match=words) as caught:
            far.observe(Policy(far)._look(observation(engine.spec), CAPTION))
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.full((12, 14), np.nan, np.float32), "finite"),
        (np.zeros((11, 14), np.float32), r"\(12, 14\) of float32; found \(11, 14\)"),
        (np.zeros((12, 13), np.float32), r"found \(12, 13\)"),
        (np.zeros((12, 14)), "of float64"),
        ([[0.0]], "found list"),
        (None, "found nothing"),
    ],
)
def test_actions_that_must_not_reach_an_arm(engine, actions, words):
    look = {"context": 1, "remaining_steps": 12.0, "next_event": ""}

    def reply(body: dict) -> dict:
        return {"number": body["number"], **(look if body[CALL] == "observe" else {"actions": actions})}

    with answering(reply, first=greeting(engine)) as port, connected(port, engine.spec) as far:
        with pytest.raises(EngineError, match=words):
            Policy(far).event(observation(engine.spec), CAPTION)


def test_a_server_that_answers_twice_loses_the_connection(engine):
    def twice(body: dict) -> list[dict]:
        return [{"number": body["number"], "text": text} for text in ("one", "two")]

    with answering(twice, first=greeting(engine)) as port, connected(port, engine.spec) as far:
        era = far._caller.link.era
        assert far.explain(np.zeros((1, 1), np.float32)) == "one"
        until(lambda: far._caller.link.era > era)
        until(lambda: works(lambda: far.explain(np.zeros((1, 1), np.float32))))


def test_a_reply_of_a_gigabyte_is_refused_by_its_announcement(engine):
    def handle(connection) -> None:
        connection.send(wire.pack(greeting(engine)))
        for _ in connection:
            connection.socket.sendall(bytes([0x82, 127]) + GIB.to_bytes(8, "big") + b"x" * 1000)

    before = memory_mb()
    with listening(handle) as port, connected(port, engine.spec) as far:
        with pytest.raises(EngineError, match="is not connected: .*(1009|too big|exceeds)"):
            far.explain(np.zeros((1, 1), np.float32))
    assert memory_mb() - before < 64


def test_a_server_that_redirects_is_not_followed(engine):
    asked = []

    def redirect(connection, request):
        asked.append(request.path)
        return Response(http.HTTPStatus.FOUND, "Found", Headers(Location="/elsewhere"), b"")

    with listening(lambda c: None, process_request=redirect) as port:
        with pytest.raises(EngineError, match="HTTP 302"):
            remote.connect(f"ws://127.0.0.1:{port}", engine.spec)
    assert asked == ["/"]


def test_a_server_replaced_by_one_of_another_model_is_not_used(engine):
    with serving(engine) as server:
        port = server.port
        far = remote.connect(f"ws://127.0.0.1:{port}", engine.spec)
        policy, seen = Policy(far), observation(engine.spec)
        policy.event(seen, CAPTION)
    other = ScriptedEngine(dataclasses.replace(engine.spec, name="giant"))
    with serving(other, port=port):
        until(lambda: "it serves giant" in reason(policy, seen))
    with serving(engine, port=port):
        until(lambda: works(lambda: policy.event(seen, CAPTION)))
    assert not other.looks
    far.close()


def reason(policy, seen) -> str:
    """Why a call fails."""
    with pytest.raises(EngineError) as caught:
        policy.event(seen, CAPTION)
    return str(caught.value)


def test_reconnecting_does_not_grow(engine, monkeypatch):
    monkeypatch.setattr("wallwm_model.engines.link.FIRST_PAUSE_S", 0.001)
    with serving(engine, caps=Caps(rate_hz=1e6)) as server, connected(server.port, engine.spec) as far:
        policy, seen, sizes = Policy(far), observation(engine.spec), []
        for i in range(60):
            far._caller.link.drop("for the test")
            until(lambda: works(lambda: policy.event(seen, CAPTION)))
            engine.looks.clear(), engine.acts.clear()
            if i in (10, 59):
                sizes.append(memory_mb())
        assert sizes[1] - sizes[0] < 30 and threading.active_count() < 20


# ---- servers of openpi's protocol


def test_a_foreign_server_gets_openpis_observation_and_its_actions_come_back(engine):
    heard, rows = [], np.random.default_rng(0).normal(size=(20, 14)).astype(np.float32)

    def reply(body):
        heard.append(body)
        return {"actions": rows, "server_timing": {"infer_ms": 0.001}}

    with answering(reply, first={"policy": "theirs"}) as port, connected(port, engine.spec) as far:
        seen = observation(engine.spec, size=128)
        chunk = Policy(far).event(seen, CAPTION)
        assert np.abs(chunk.actions - rows).max() < 1e-6 and chunk.remaining_s == 20 * engine.spec.step_s
        assert set(heard[0]) == {"images", "state", "prompt"} and heard[0]["prompt"] == CAPTION
        assert {n: p.shape for n, p in heard[0]["images"].items()} == dict.fromkeys(seen.images, (64, 64, 3))
        assert np.abs(heard[0]["state"] - seen.state).max() < 1e-6
        assert len(Policy(far).event(seen, CAPTION, 0.5).actions) == 10
        assert [split.call for split in far.splits] == ["chunk", "chunk"] and far.splits[0].engine_s == 1e-6
        with pytest.raises(EngineError, match="gives chunks of 20 steps; 40 were wanted"):
            Policy(far).event(seen, CAPTION, 2.0)
        with pytest.raises(EngineError, match="committed steps"):
            far.act(far.observe(Policy(far)._look(seen, CAPTION)), 4, 1, 0, rows[:2])


def test_a_foreign_server_takes_from_the_model_what_it_cannot_do(engine):
    with answering(lambda b: {"actions": np.zeros((40, 14))}) as port, connected(port, engine.spec) as far:
        spec = far.spec
        assert not spec.takes_prefix and not spec.takes_mask and spec.sources == ("instruction", "atomic")
        assert far.name.startswith("openpi at ws://")
        Policy(far).warm()
        chunk = Policy(far).unified(observation(spec, past=True), CAPTION)
        assert len(chunk.actions) == spec.chunk_steps
        for call in (far.imagine, far.explain):
            with pytest.raises(EngineError, match="does not"):
                call(np.zeros((1, 1)), 1, 0) if call == far.imagine else call(np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"actions": np.full((5, 14), np.inf)}, "not finite"),
        ({"actions": np.zeros((5, 7))}, r"\(T, 14\).*found \(5, 7\)"),
        ({"actions": np.zeros((0, 14))}, r"found \(0, 14\)"),
        ({"actions": np.zeros(14)}, r"found \(14,\)"),
        ({"actions": np.full((5, 14), "x")}, "found ndarray"),
        ({"actions": [[0.0] * 14]}, "found list"),
        ({}, "found NoneType"),
        (
            "Traceback (most recent call last):\n  ...\nKeyError: 'observation/image'",
            "KeyError: 'observation/image'",
        ),
    ],
    ids=range(8),
)
def test_a_foreign_servers_wrong_answers(engine, reply, words):
    with answering(lambda b: reply) as port, connected(port, engine.spec) as far:
        with pytest.raises(EngineError, match=words):
            Policy(far).event(observation(engine.spec), CAPTION)


def test_what_is_wrong_here_is_found_before_anything_is_sent(engine, far):
    with pytest.raises(ObservationError):
        Policy(far).event(dataclasses.replace(observation(engine.spec), images={}), CAPTION)
    assert not far.splits


def test_the_policy_nodes_parameter_takes_addresses():
    from wallwm_ros.core.config import PolicyConfig

    assert PolicyConfig(engine="ws://gpu:8000").engine == "ws://gpu:8000"
    assert PolicyConfig(engine="wss://gpu?deadline_s=1").engine.startswith("wss")
    with pytest.raises(
        WallWMError, match="engine must be one of auto, .*, ws://..., wss://...; found 'http://gpu'"
    ):
        PolicyConfig(engine="http://gpu")
