"""What a model is from outside: cameras, joints, rates, shapes, normalisation, vocabulary.

One `ModelSpec` travels with the weights as `spec.json`; training, export and run time all read it,
so that a robot whose joints or cameras differ is refused before anything moves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wallwm_model.errors import SpecError

SPEC_VERSION = 1


@dataclass(frozen=True)
class CameraSpec:
    """One camera as the model sees it.

    Attributes:
        name: camera name, as in the robot profile, e.g. `head_cam`.
        height, width: size of the picture the network reads [px].
        mount: link that carries the camera (`world` for a fixed one).
        fovy: vertical field of view of the training pictures [rad].
    """

    name: str
    height: int
    width: int
    mount: str
    fovy: float


@dataclass(frozen=True)
class Normalisation:
    """Per-joint affine normalisation: `normal = (value - mean) / std`; `value` in rad or m."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Physical (..., D) [rad or m] -> normalised (..., D), float32."""
        return ((value - np.asarray(self.mean)) / np.asarray(self.std)).astype(np.float32)

    def decode(self, normal: np.ndarray) -> np.ndarray:
        """Normalised (..., D) -> physical (..., D) [rad or m], float32."""
        return (normal * np.asarray(self.std) + np.asarray(self.mean)).astype(np.float32)


@dataclass(frozen=True)
class ModelSpec:
    """The outside of a WALL-WM model.

    Attributes:
        name: model name, e.g. `nano`.
        robot: robot profile the model was trained for, e.g. `sim`.
        cameras: in the order of the network's view axis.
        joints: names, in the order of the state and action axes (D entries).
        rate_hz: action steps per second [Hz].
        horizon: longest chunk [steps].
        steps_per_latent: action steps per latent video frame, K_p.
        normalisation: of state and actions alike.
        vocabulary: words the caption encoder knows, in id order; id 0 is padding.
        caption_length: longest caption [words].
        euler_steps: denoising steps the model was validated with.
        action_space: `joint_position` (absolute targets, rad / m).
    """

    name: str
    robot: str
    cameras: tuple[CameraSpec, ...]
    joints: tuple[str, ...]
    rate_hz: float
    horizon: int
    steps_per_latent: int
    normalisation: Normalisation
    vocabulary: tuple[str, ...]
    caption_length: int = 16
    euler_steps: int = 5
    action_space: str = "joint_position"
    modes: tuple[str, ...] = field(default=("event",))
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        size = len(self.joints)
        if len(self.normalisation.mean) != size or len(self.normalisation.std) != size:
            raise SpecError(
                f"normalisation must have {size} entries, one per joint; found "
                f"{len(self.normalisation.mean)} means and {len(self.normalisation.std)} deviations"
            )
        if not all(s > 0 for s in self.normalisation.std):
            raise SpecError(f"normalisation deviations must be positive; found {self.normalisation.std}")
        if self.horizon % self.steps_per_latent:
            raise SpecError(
                f"horizon must be a multiple of steps_per_latent={self.steps_per_latent}; found {self.horizon}"
            )

    @property
    def step_s(self) -> float:
        """Duration of one action step [s]."""
        return 1.0 / self.rate_hz

    @property
    def latent_frames(self) -> int:
        """Future latent video frames of the longest event."""
        return self.horizon // self.steps_per_latent

    @property
    def normalisation_hash(self) -> str:
        """SHA-256 over joints and their normalisation; pins statistics to weights."""
        text = json.dumps([self.joints, self.normalisation.mean, self.normalisation.std])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The specification as JSON, with the hash of its normalisation."""
        body = dataclasses.asdict(self) | {"normalisation_hash": self.normalisation_hash}
        return json.dumps(body, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Parse `to_json`'s output.

        Raises:
            SpecError: unknown version, missing or unknown field, or a normalisation that was altered.
        """
        try:
            body = json.loads(text)
        except json.JSONDecodeError as error:
            raise SpecError(f"spec.json must be JSON; found {error}") from error
        if not isinstance(body, dict) or body.get("version") != SPEC_VERSION:
            found = body.get("version") if isinstance(body, dict) else type(body).__name__
            raise SpecError(f"spec.json must have version {SPEC_VERSION}; found {found}")
        pinned = body.pop("normalisation_hash", None)
        try:
            body["cameras"] = tuple(CameraSpec(**camera) for camera in body["cameras"])
            body["normalisation"] = Normalisation(**{k: tuple(v) for k, v in body["normalisation"].items()})
            for name in ("joints", "vocabulary", "modes"):
                body[name] = tuple(body[name])
            spec = cls(**body)
        except (KeyError, TypeError) as error:
            raise SpecError(f"spec.json has a missing or unknown field: {error}") from error
        if pinned != spec.normalisation_hash:
            raise SpecError(
                f"normalisation hash must be {spec.normalisation_hash[:12]}…; found {str(pinned)[:12]}…: "
                "the statistics do not belong to these weights"
            )
        return spec

    @classmethod
    def load(cls, path: Path) -> ModelSpec:
        """Read a `spec.json`."""
        if not path.is_file():
            raise SpecError(f"expected a spec.json at {path}; found none")
        return cls.from_json(path.read_text())

    def tokenise(self, caption: str) -> np.ndarray:
        """Caption -> word ids (caption_length,) int64, padded with 0.

        Raises:
            CaptionError: a word outside the vocabulary, an empty or an overlong caption.
        """
        from wallwm_model.captions import tokenise

        return tokenise(caption, self.vocabulary, self.caption_length)
