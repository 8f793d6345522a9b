"""What all engines of a bundle share: naming of tensors, the denoising loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from wallwm_model.engines.base import Context, Engine, Look
from wallwm_model.engines.explain import Graph, explain, next_caption
from wallwm_model.errors import EngineError
from wallwm_model.flow import euler, schedule
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop

WINDOWS = {"event": 0, "observation": 1}


class GraphEngine(Engine):
    """An `Engine` from callables, name -> array in and out.

    Args:
        graphs: `text`, `observe` and `act`, or one for each of some lengths, `act_16` ...; `observe_past` where
            the model reads pictures of the past; `imagine` and `decode` where it predicts video; `reason` and
            `explain` where it has a language side. `deploy/export.py` says what goes in and out of each.

    Raises:
        EngineError: the specification promises a language side, and a graph of it is missing.
    """

    def __init__(self, name: str, spec: ModelSpec, graphs: Mapping[str, Graph]):
        self.name, self.spec, self._graphs = name, spec, dict(graphs)
        self._lengths = sorted(int(graph[4:]) for graph in graphs if graph.startswith("act_"))
        missing = [graph for graph in ("reason", "explain") if spec.reasons and graph not in graphs]
        if missing:
            raise EngineError(
                f"model {spec.name} must have the graphs reason and explain; {missing[0]} is missing"
            )

    def observe(self, look: Look) -> Context:
        """See `Engine.observe`."""
        text, reasoned = self._text(look)
        inputs = {
            "images": look.images[None],
            "text": text,
            "mask": self._mask(look.mask),
            "chunk": np.array([look.chunk], np.int64),
        }
        if look.history is not None:
            inputs["history"] = look.history[None]
        out = self._run("observe" if look.history is None else "observe_past", inputs)
        remaining = float((reasoned or out)["remaining"][0])
        if not np.isfinite(remaining):
            raise EngineError(f"engine {self.name} must estimate a finite remaining time; found {remaining}")
        window = np.array([WINDOWS["event" if look.history is None else "observation"]], np.int64)
        tensors = {"video": out["video"], "positions": out["positions"][0], "window": window}
        if not reasoned:
            return Context(tensors, look.state, remaining)
        latents = reasoned["latents"][0] if look.route == "staircase" else None
        following, _ = next_caption(reasoned["caption"][0], self.spec.lexicon)
        return Context(tensors, look.state, remaining, latents, following)

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """See `Engine.act`."""
        if not 1 <= steps <= self.spec.horizon:
            raise EngineError(f"a chunk must have 1 to {self.spec.horizon} steps; found {steps}")
        shape = (1, steps, len(self.spec.joints))
        committed = self._prefix(prefix, steps)
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        fixed = {
            "video": context.tensors["video"],
            "state": context.state[None],
            "window": context.tensors["window"],
        }

        graph, frame = self._frame(steps)
        if frame:
            fixed["steps"] = np.array([steps], np.int64)

        def clean(x: np.ndarray, t: float) -> np.ndarray:
            level = np.full(shape[:2], t, np.float32)
            level[:, : len(committed)] = 0.0
            inputs = {"noisy": lengthen(x, frame), "t": lengthen(level, frame), **fixed}
            return self._run(graph, inputs)["clean"][:, :steps]

        actions = euler(clean, noise, euler_steps, committed)[0]
        if not np.isfinite(actions).all():
            raise EngineError(f"engine {self.name} must give finite actions; found non-finite values")
        return actions

    def imagine(self, look: Look, euler_steps: int, seed: int) -> np.ndarray:
        """See `Engine.imagine`."""
        rng = np.random.default_rng(seed)
        channels, *size = self.spec.latent
        shape = (1, len(self.spec.cameras), channels, self.spec.imagined_frames, *size)
        x = rng.standard_normal(shape, dtype=np.float32)
        fixed = {"images": look.images[None], "text": self._text(look)[0], "mask": self._mask(look.mask)}
        levels = schedule(euler_steps)
        for t, following in zip(levels[:-1], levels[1:]):
            inputs = fixed | {"noisy": x, "t": np.array([t], np.float32)}
            x = x + (following - t) * self._run("imagine", inputs)["velocity"]
        pictures = self._run("decode", {"images": look.images[None], "latents": x})["pictures"][0]
        return np.round(pictures * 255).astype(np.uint8)

    def explain(self, latents: np.ndarray, stop: Stop = lambda: False) -> str:
        """See `Engine.explain`."""
        spec = self.spec

        def graph(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return self._run("explain", inputs)

        return explain(graph, latents, spec.lexicon, spec.reason_length, stop)

    def through(self, wrap: Callable[[str, Graph], Graph]) -> GraphEngine:
        """The same engine with every graph, by its name, as `wrap` makes it."""
        return GraphEngine(self.name, self.spec, {name: wrap(name, graph) for name, graph in self._graphs.items()})

    def close(self) -> None:
        """Drop all graphs."""
        self._graphs.clear()

    def _frame(self, steps: int) -> tuple[str, int]:
        """The `act` graph for a chunk, and the length that it wants to be filled up to; 0: none."""
        fitting = [length for length in self._lengths if length >= steps]
        return (f"act_{fitting[0]}", fitting[0]) if fitting else ("act", 0)

    def _text(self, look: Look) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Text features (1, n, width) on the look's route, and what the language side said if it was asked."""
        if look.route == "words":
            return self._run("text", {"tokens": look.tokens[None]})["text"], {}
        reasoned = self._run("reason", {"images": look.images[None], "tokens": look.tokens[None]})
        return reasoned[look.route], reasoned

    def _mask(self, mask: np.ndarray | None) -> np.ndarray:
        rows, columns = self.spec.patches
        size = len(self.spec.cameras) * rows * columns
        if mask is None:
            return np.ones((1, size, size), np.float32)
        if mask.shape != (size, size) or mask.dtype != bool:
            raise EngineError(
                f"a sight mask must have shape ({size}, {size}) and be bool; found {mask.shape} {mask.dtype}"
            )
        return mask[None].astype(np.float32)

    def _prefix(self, prefix: np.ndarray | None, steps: int) -> np.ndarray:
        width = len(self.spec.joints)
        if prefix is None:
            return np.zeros((0, width), np.float32)
        if not self.spec.takes_prefix:
            raise EngineError(f"model {self.spec.name} was not trained to go on from committed steps")
        if prefix.ndim != 2 or prefix.shape[1] != width or len(prefix) >= steps:
            raise EngineError(
                f"committed steps must have shape (fewer than {steps}, {width}); found {prefix.shape}"
            )
        return prefix.astype(np.float32)

    def _run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self._graphs:
            raise EngineError("the engine is closed: load the bundle again")
        if name not in self._graphs:
            raise EngineError(f"model {self.spec.name} has no {name} graph; found {', '.join(self._graphs)}")
        return self._graphs[name](inputs)


def lengthen(rows: np.ndarray, length: int) -> np.ndarray:
    """(1, T, ...) filled up with zeros to (1, length, ...); as it is for length 0."""
    missing = max(0, length - rows.shape[1])
    if not missing:
        return rows
    return np.concatenate([rows, np.zeros((1, missing, *rows.shape[2:]), rows.dtype)], axis=1)
