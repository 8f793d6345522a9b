"""An engine behind a server that speaks openpi's protocol."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from wallwm_model.engines.address import Address
from wallwm_model.engines.base import Context, Look
from wallwm_model.engines.caller import FarEngine
from wallwm_model.engines.link import Link
from wallwm_model.errors import EngineError
from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop


class ForeignEngine(FarEngine):
    """An `Engine` behind a server that knows openpi's protocol only, such as openpi's or Wall-X's own.

    The whole chunk is inferred by `observe`; `act` hands its first steps out. Such a server reads pictures,
    state and words; masks, pictures of the past and committed steps it does not, and its words are those of
    the local bundle.
    """

    def __init__(self, address: Address, spec: ModelSpec, link: Link) -> None:
        super().__init__("openpi", reduced(spec), address, link)

    def observe(self, look: Look) -> Context:
        """Ask for a chunk; its length is the time that remains.

        Raises:
            EngineError: no answer, or actions that are not (T, D) finite numbers.
        """
        spec = self.spec
        pictures = {camera.name: image for camera, image in zip(spec.cameras, look.images, strict=True)}
        prompt = spec.said(look.tokens)
        state = spec.normalisation.decode(look.state)
        observation = {"images": pictures, "state": state, "prompt": prompt}
        reply = self._caller.ask("chunk", observation, self._address.deadline_s)
        actions = spec.normalisation.encode(self._actions(reply))
        return Context({"actions": actions}, look.state, float(len(actions)))

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """The first `steps` steps of the chunk.

        Raises:
            EngineError: it has fewer, or committed steps are given.
        """
        actions = context.tensors["actions"]
        if prefix is not None and len(prefix):
            raise EngineError(f"{self.name} cannot go on from committed steps")
        if not 1 <= steps <= len(actions):
            raise EngineError(f"{self.name} gives chunks of {len(actions)} steps; {steps} were wanted")
        return actions[:steps]

    def imagine(self, look: Look, euler_steps: int, seed: int) -> np.ndarray:
        """Raises EngineError: openpi's protocol has no video."""
        raise EngineError(f"{self.name} does not predict video")

    def explain(self, latents: np.ndarray, stop: Stop = lambda: False) -> str:
        """Raises EngineError: openpi's protocol has no reasoning."""
        raise EngineError(f"{self.name} does not reason in words")

    def _actions(self, reply: dict[Any, Any]) -> np.ndarray:
        """(T, D) [rad, m] of a reply, float64."""
        actions, size = reply.get("actions"), len(self.spec.joints)
        expected = (
            f"the engine server {self._address.url} must give actions (T, {size}) of finite numbers [rad, m]"
        )
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "fiu":
            raise EngineError(f"{expected}; found {type(actions).__name__}")
        if actions.ndim != 2 or actions.shape[1] != size or not len(actions):
            raise EngineError(f"{expected}; found {actions.shape}")
        if not np.isfinite(actions).all():
            raise EngineError(f"{expected}; found values that are not finite")
        return actions.astype(np.float64)


def reduced(spec: ModelSpec) -> ModelSpec:
    """What is left of a model behind openpi's protocol: no masks, no committed steps, no language side."""
    return dataclasses.replace(
        spec,
        takes_mask=False,
        takes_prefix=False,
        sources=tuple(source for source in spec.sources if source != "staircase"),
        conditioners=("words",),
        words=(),
        language="words",
        language_length=0,
        reason_length=0,
    )
