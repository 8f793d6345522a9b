"""Event mode: one observation and one caption in, one chunk of the event's own length out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from wallwm_model.engines.base import Engine
from wallwm_model.errors import ObservationError
from wallwm_model.preprocess import Observation, network_images, network_state

SHORTEST = 4  # steps; an event that is already over still gets a moment to settle


@dataclass(frozen=True)
class EventChunk:
    """One event's chunk.

    Attributes:
        actions: (T, D) absolute joint targets [rad or m]; row k is due (k + 1) x step_s after the start.
        step_s: duration of one step [s].
        remaining_s: the model's own estimate of the event's length [s].
        preprocess_s, observe_s, act_s: where the time went [s].
    """

    actions: np.ndarray
    step_s: float
    remaining_s: float
    preprocess_s: float
    observe_s: float
    act_s: float


class EventPolicy:
    """Runs an engine in event mode; no state is kept between calls."""

    def __init__(self, engine: Engine, euler_steps: int = 0):
        """`euler_steps` 0: as many as the model was validated with."""
        self.engine = engine
        self.euler_steps = euler_steps or engine.spec.euler_steps

    def event(
        self, observation: Observation, caption: str, duration_s: float | None = None, seed: int = 0
    ) -> EventChunk:
        """Infer the whole event.

        Args:
            duration_s: expected duration [s]; None or 0 lets the model decide.
            seed: of the sampler's noise.

        Raises:
            CaptionError: a word that the model does not know.
            ObservationError: a camera missing or of the wrong shape, a state that is not finite,
                or a duration outside the model's horizon.
            EngineError: the engine failed or gave values that are not finite.
        """
        spec = self.engine.spec
        began = time.perf_counter()
        tokens = spec.tokenise(caption)
        images = network_images(observation, spec)
        state = network_state(observation, spec)
        prepared = time.perf_counter()
        context = self.engine.observe(images, state, tokens, seed)
        observed = time.perf_counter()
        steps = self._steps(context.remaining_steps, duration_s)
        actions = self.engine.act(context, steps, self.euler_steps, seed)
        return EventChunk(
            actions=spec.normalisation.decode(actions),
            step_s=spec.step_s,
            remaining_s=context.remaining_steps * spec.step_s,
            preprocess_s=prepared - began,
            observe_s=observed - prepared,
            act_s=time.perf_counter() - observed,
        )

    def warm(self) -> None:
        """Run one inference on grey pictures, so that the first real one is not slower than the rest."""
        spec = self.engine.spec
        images = {c.name: np.full((c.height, c.width, 3), 128, np.uint8) for c in spec.cameras}
        still = Observation(images, np.asarray(spec.normalisation.mean), 0)
        self.event(still, " ".join(spec.vocabulary[1:2]))

    def _steps(self, remaining: float, duration_s: float | None) -> int:
        spec = self.engine.spec
        if duration_s:
            wanted = duration_s * spec.rate_hz
            if not 1 <= round(wanted) <= spec.horizon:
                raise ObservationError(
                    f"an event must last {spec.step_s:g} to {spec.horizon * spec.step_s:g} s; found {duration_s:g} s"
                )
            return round(wanted)
        return int(np.clip(round(remaining), min(SHORTEST, spec.horizon), spec.horizon))
