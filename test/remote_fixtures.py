"""An engine that does as it is told, and ways to reach a server of it."""

from __future__ import annotations

import dataclasses
import resource
import threading
import time
from pathlib import Path

import numpy as np
from model_fixtures import small_spec
from websockets.sync.client import connect

from wallwm_model.engines import Context, Engine, Look, wire
from wallwm_model.errors import EngineError
from wallwm_model.preprocess import Observation
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop

PATIENCE_S = 60.0  # a hang ends the test; nothing is judged by how long it took
CAPTION = "retract the left arm"
PEERS = Path(__file__).resolve().parents[1] / ".venv-peers/bin/python"


def remote_spec(**changes) -> ModelSpec:
    """A model with everything: both modes, committed steps, reasoning."""
    spec = small_spec()
    return dataclasses.replace(
        spec,
        modes=("event", "unified"),
        sources=("instruction", "atomic", "staircase"),
        conditioners=("words", "vlm"),
        words=(*spec.vocabulary, "thus"),
        reason_length=6,
        takes_prefix=True,
        **changes,
    )


def until(condition) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def memory_mb() -> float:
    """Resident memory of this process [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class ScriptedEngine(Engine):
    """Answers what it was asked, in numbers; waits while `go` is clear.

    Attributes:
        looks, acts: what it was asked for.
        began: set at the beginning of each call.
        fault: raised by `act`.
        spoil: changes the actions.
    """

    def __init__(self, spec: ModelSpec | None = None) -> None:
        self.spec, self.name = spec or remote_spec(), "scripted"
        self.looks: list[Look] = []
        self.acts: list[tuple] = []
        self.go, self.began = threading.Event(), threading.Event()
        self.go.set()
        self.fault: Exception | None = None
        self.spoil = lambda actions: actions

    def observe(self, look: Look) -> Context:
        """How bright it is goes on to `act`."""
        self._wait()
        self.looks.append(look)
        bright = float(look.images.mean()) + (0 if look.history is None else float(look.history.mean()))
        latents = np.full((2, 3), bright, np.float32) if look.route == "staircase" else None
        return Context(
            {"bright": np.array(bright)}, look.state, 11.6, latents, "" if latents is None else CAPTION
        )

    def act(self, context, steps, euler_steps, seed, prefix=None) -> np.ndarray:
        """Noise of this seed around the state, brighter where it was brighter."""
        self._wait()
        self.acts.append((steps, euler_steps, seed, prefix))
        if self.fault is not None:
            raise self.fault
        noise = np.random.default_rng(seed).standard_normal((steps, len(self.spec.joints)), dtype=np.float32)
        actions = context.state + 0.01 * noise + np.float32(context.tensors["bright"] / 1000)
        if prefix is not None:
            actions[: len(prefix)] = prefix
        return self.spoil(actions)

    def imagine(self, look: Look, euler_steps: int, seed: int) -> np.ndarray:
        """The look, again and again."""
        return np.repeat(look.images[:, None], 4 * self.spec.imagined_frames, axis=1)

    def explain(self, latents: np.ndarray, stop: Stop = lambda: False) -> str:
        """Words until it is stopped; without `go` that is the only end."""
        self.began.set()
        said = 0
        while not stop() and (said < 3 or not self.go.is_set()):
            said += 1
        return "" if stop() else f"thus {latents.mean():.1f}"

    def close(self) -> None:
        """Nothing is held."""

    def _wait(self) -> None:
        self.began.set()
        if not self.go.wait(PATIENCE_S):
            raise EngineError("nobody let the engine go on")


def observation(spec: ModelSpec, seed: int = 0, size: int = 64, past: bool = False) -> Observation:
    """Noise in all cameras, and a state."""
    rng = np.random.default_rng(seed)

    def pictures() -> dict[str, np.ndarray]:
        return {c.name: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for c in spec.cameras}

    history = tuple(pictures() for _ in range(spec.history_pictures)) if past else ()
    return Observation(pictures(), rng.normal(size=len(spec.joints)), 0, history=history)


def body_of(seen: Observation, prompt: str = CAPTION, **more) -> dict:
    """An observation in openpi's convention."""
    return {"images": seen.images, "state": seen.state, "prompt": prompt, **more}


class Wire:
    """A client without manners: sends what it is told, and reads what comes."""

    def __init__(self, port: int, **options) -> None:
        options.setdefault("max_size", None)
        opened = connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, **options)
        self.socket = opened.__enter__()
        self.greeting = wire.unpack(self.socket.recv(PATIENCE_S))

    def ask(self, message) -> dict | str:
        """The reply to a message; bytes and text are sent as they are. Text is an error."""
        self.send(message)
        return self.reply()

    def send(self, message) -> None:
        """Send, and do not wait."""
        self.socket.send(message if isinstance(message, (bytes, str)) else wire.pack(message))

    def reply(self) -> dict | str:
        """What comes next."""
        reply = self.socket.recv(PATIENCE_S)
        return reply if isinstance(reply, str) else wire.unpack(reply)

    def close(self) -> None:
        """Say good-bye."""
        self.socket.close()
