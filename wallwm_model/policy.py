"""Both modes of one model: an observation and words in, one chunk out. No state is kept between calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from wallwm_model.engines.base import Context, Engine, Look
from wallwm_model.errors import ObservationError, SpecError
from wallwm_model.poses import settle
from wallwm_model.preprocess import Observation, network_history, network_images, network_state
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Thought

SHORTEST = 4  # steps; an event that is already over still gets a moment to settle


@dataclass(frozen=True)
class Chunk:
    """One chunk: a whole event, or in unified mode a fixed number of steps.

    Attributes:
        actions: (T, D) absolute joint targets [rad or m]; row k is due (k + 1) x step_s after the start.
        step_s: duration of one step [s].
        remaining_s: the model's own estimate of what is left of the present event [s].
        preprocess_s, observe_s, act_s: where the time went [s].
        thought: what led to it, where the text side reasoned; not in words yet (`Policy.explain`).
        waits_s: the parts of observe_s and act_s in which a remote engine had to wait, `network` and `queue` [s];
            empty for an engine of this process.
    """

    actions: np.ndarray
    step_s: float
    remaining_s: float
    preprocess_s: float
    observe_s: float
    act_s: float
    thought: Thought | None = None
    waits_s: dict[str, float] = field(default_factory=dict)

    @property
    def reasoning(self) -> str:
        """What the model thought, in words; empty until it was explained, or if it did not reason."""
        return self.thought.text if self.thought else ""


class Policy:
    """Runs an engine in event mode or in unified mode, call by call."""

    def __init__(self, engine: Engine, euler_steps: int = 0, conditioner: str = "words"):
        """What runs where.

        Args:
            euler_steps: 0: as many as the model was validated with.
            conditioner: what encodes captions and instructions, `words` or `vlm`; the latter also sizes events.

        Raises:
            SpecError: the model lacks this conditioner.
        """
        if conditioner not in engine.spec.conditioners:
            valid = ", ".join(engine.spec.conditioners)
            raise SpecError(
                f"conditioner of model {engine.spec.name} must be among {valid}; found {conditioner!r}"
            )
        self.engine, self.conditioner = engine, conditioner
        self.euler_steps = euler_steps or engine.spec.euler_steps

    def event(
        self,
        observation: Observation,
        caption: str,
        duration_s: float | None = None,
        seed: int = 0,
        committed: np.ndarray | None = None,
    ) -> Chunk:
        """Infer the whole rest of an event.

        Args:
            duration_s: expected duration [s]; None or 0 lets the model decide.
            seed: of the sampler's noise.
            committed: (d, D) joint targets that will be executed whatever comes; the chunk begins with them.

        Raises:
            CaptionError: a word that the model does not know.
            ObservationError: a camera missing or of the wrong shape, a state that is not finite,
                or a duration outside the model's horizon.
            EngineError: the engine failed or gave values that are not finite.
        """
        began = time.perf_counter()
        look = self._look(observation, caption)
        return self._chunk(look, began, duration_s, seed, committed)

    def unified(
        self,
        observation: Observation,
        text: str,
        source: str = "instruction",
        *,
        chunk: int = 0,
        seed: int = 0,
        committed: np.ndarray | None = None,
    ) -> Chunk:
        """Infer a chunk of `spec.chunk_steps` steps.

        Args:
            observation: with `spec.history_pictures` earlier pictures.
            text: the whole task's instruction, or for the source `atomic` what to do in this chunk.
            source: where the text side comes from: `instruction`, `atomic` or `staircase` (reasoned from it).
            chunk: index of the chunk in its task, counted from 1; 0: unknown.
            seed, committed: as in `event`.

        Raises:
            SpecError: the model lacks unified mode, or this source.
            CaptionError, ObservationError, EngineError: as in `event`.
        """
        spec = self.engine.spec
        if "unified" not in spec.modes or source not in spec.sources:
            has = ", ".join(spec.sources) if "unified" in spec.modes else "event mode only"
            raise SpecError(f"source {source!r} needs a model with unified mode and that source; {spec.name} has: {has}")
        if chunk < 0:
            raise ObservationError(f"a chunk's index must be 1 or more, or 0 if unknown; found {chunk}")
        began = time.perf_counter()
        past = network_history(observation, spec)
        route = "staircase" if source == "staircase" else self.conditioner
        look = self._look(observation, text, history=past, chunk=chunk, route=route)
        return self._chunk(look, began, spec.chunk_steps * spec.step_s, seed, committed)

    def explain(self, chunk: Chunk) -> str:
        """What the model thought for a chunk, in words; empty where it did not reason.

        This runs the engine and may take longer than the chunk did: move first, then ask. The answer stays with
        the chunk, as `chunk.reasoning`.

        Raises:
            EngineError: the engine failed, is closed, or gave values that are not finite.
        """
        return chunk.thought.read() if chunk.thought else ""

    def imagine(
        self, observation: Observation, caption: str, *, euler_steps: int = 10, seed: int = 0
    ) -> np.ndarray:
        """The video that the model expects for the length of a fixed chunk: (V, n, H, W, 3) uint8, a picture every
        `spec.picture_steps` steps. For looking at; acting does not need it.

        Raises:
            CaptionError, ObservationError, EngineError: as in `event`.
        """
        return self.engine.imagine(self._look(observation, caption), euler_steps, seed)

    def warm(self) -> None:
        """Run one inference on grey pictures, so that the first real one is not slower than the rest."""
        spec = self.engine.spec
        images = {c.name: np.full((c.height, c.width, 3), 128, np.uint8) for c in spec.cameras}
        past = (images,) * spec.history_pictures
        still = Observation(images, np.asarray(spec.normalisation.mean), 0, history=past)
        words = " ".join(spec.vocabulary[1:2]) or "move"
        if "event" in spec.modes:
            self.event(still, words)
        for source in spec.sources if "unified" in spec.modes else ():
            self.explain(self.unified(still, words, source))

    def _look(self, observation: Observation, text: str, **more) -> Look:
        spec, more = self.engine.spec, {"route": self.conditioner} | more
        return Look(
            network_images(observation, spec),
            network_state(observation, spec),
            spec.tokenise(text, more["route"]),
            mask=observation.sight_mask,
            **more,
        )

    def _chunk(
        self, look: Look, began: float, duration_s: float | None, seed: int, committed: np.ndarray | None
    ) -> Chunk:
        spec = self.engine.spec
        prefix = None
        if committed is not None and len(committed):
            prefix = self._prefix(committed, look)
        prepared = time.perf_counter()
        context = self.engine.observe(look)
        observed = time.perf_counter()
        steps = self._steps(context, duration_s, 0 if prefix is None else len(prefix))
        actions = self.engine.act(context, steps, self.euler_steps, seed, prefix)
        return Chunk(
            actions=settle(spec.normalisation.decode(actions), present(look, spec), spec.quaternions),
            step_s=spec.step_s,
            remaining_s=context.remaining_steps * spec.step_s,
            preprocess_s=prepared - began,
            observe_s=observed - prepared,
            act_s=time.perf_counter() - observed,
            thought=self._thought(context),
            waits_s=self.engine.waits_s(),
        )

    def _thought(self, context: Context) -> Thought | None:
        if context.latents is None:
            return None
        return Thought(lambda stop: self.engine.explain(context.latents, stop), context.next_event)

    def _prefix(self, committed: np.ndarray, look: Look) -> np.ndarray:
        """Committed targets (d, D), normalised."""
        spec, rows = self.engine.spec, np.asarray(committed, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(spec.joints) or not np.isfinite(rows).all():
            raise ObservationError(
                f"committed targets must be (d, {len(spec.joints)}) finite values; found shape {rows.shape}"
                + ("" if np.isfinite(rows).all() else " with values that are not finite")
            )
        return spec.normalisation.encode(settle(rows, present(look, spec), spec.quaternions))

    def _steps(self, context: Context, duration_s: float | None, committed: int) -> int:
        spec = self.engine.spec
        if duration_s:
            wanted = duration_s * spec.rate_hz
            if not 1 <= round(wanted) <= spec.horizon:
                raise ObservationError(
                    f"an event must last {spec.step_s:g} to {spec.horizon * spec.step_s:g} s; found {duration_s:g} s"
                )
            return round(wanted)
        shortest = min(SHORTEST + committed, spec.horizon)
        return int(np.clip(round(context.remaining_steps), shortest, spec.horizon))


def present(look: Look, spec: ModelSpec) -> np.ndarray:
    """(D,) physical state of a look, its orientations on the side where the network sees them."""
    return spec.normalisation.decode(look.state)
