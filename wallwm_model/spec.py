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

from wallwm_model import captions, subwords
from wallwm_model.camera_spec import CameraSpec
from wallwm_model.errors import SpecError
from wallwm_model.lexicon import Lexicon, Qwen, WordList
from wallwm_model.poses import quaternion_columns

SPEC_VERSION = 1
MODES = ("event", "unified")
SOURCES = ("instruction", "atomic", "staircase")
CONDITIONERS = ("words", "vlm")
TEXTS = ("words", "umt5")
LANGUAGES = ("words", "qwen")
TIME_MAPS = ("keyframe", "anchored", "symmetric")
# Share of a fixed chunk that is carried out before the next one takes over. With a half, the nano dithers between events:
# docs/training.md has the figures.
EXECUTED = 0.75
ACTION_SPACES = ("joint_position", "end_effector_pose")


@dataclass(frozen=True)
class Normalisation:
    """Per-joint affine normalisation: `normal = (value - mean) / std`; `value` in rad or m."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Physical (..., D) [rad or m] -> normalised (..., D), float32; SpecError for another D."""
        self._check(value)
        return ((value - np.asarray(self.mean)) / np.asarray(self.std)).astype(np.float32)

    def decode(self, normal: np.ndarray) -> np.ndarray:
        """Normalised (..., D) -> physical (..., D) [rad or m], float32; SpecError for another D."""
        self._check(normal)
        return (normal * np.asarray(self.std) + np.asarray(self.mean)).astype(np.float32)

    def _check(self, rows: np.ndarray) -> None:
        if np.shape(rows)[-1:] != (len(self.mean),):
            size, found = len(self.mean), np.shape(rows)
            raise SpecError(f"rows must have {size} columns, as the statistics; found {found}")


@dataclass(frozen=True)
class ModelSpec:
    """The outside of a WALL-WM model.

    Attributes:
        name: model name, e.g. `nano`.
        preset: sizes of its network, a name in `network/config.py`.
        robot: robot profile the model was trained for, e.g. `sim`.
        cameras: in the order of the network's view axis.
        joints: names, in the order of the state and action axes (D entries).
        rate_hz: action steps per second [Hz].
        horizon: longest chunk [steps].
        steps_per_latent: action steps per latent video frame, K_p.
        normalisation: of state and actions alike.
        vocabulary: words the caption encoder knows, in id order; id 0 is padding. None with UMT5.
        caption_length: longest caption [words, or tokens of UMT5].
        euler_steps: denoising steps the model was validated with.
        action_space: `joint_position` (absolute targets, rad / m) or `end_effector_pose` (positions in m and
            quaternions; `joints` then names the columns, orientations `<hand>_qx` to `<hand>_qw`).
        modes: `event`, `unified`.
        patches: rows and columns of patches per picture, the grid of sight masks.
        takes_mask: whether the model was trained with sight masks; the graphs have an input for one anyway.
        takes_prefix: whether the model was trained to go on from committed steps.
        chunk_steps: length of the fixed chunks of unified mode [steps].
        history: latent frames of the past that unified mode reads, M.
        time_map: which video features the action tower was trained to read, see `train.recipes.LossConfig`.
        picture_steps: action steps between two pictures of a clip.
        latent: channels, height, width of one latent frame of the video codec.
        sources: where unified mode's text can come from: `instruction`, `atomic`, `staircase`.
        conditioners: what can encode a caption or instruction: `words` (the T5 path), `vlm` (beside the pictures).
        words: of the language side, in id order, those of `vocabulary` first; none where it has no such side.
        reason_length: longest reasoning text, its end included [words, or tokens of Qwen].
        text: what encodes captions, `words` (of `vocabulary`) or `umt5`.
        language: what the language side's texts are made of: the list `words`, or tokens of `qwen`.
        language_length: longest caption or instruction of the language side; 0: `caption_length`.
        folder: where the `spec.json` that was loaded lies, with its tokenizers; no part of the specification.
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
    patches: tuple[int, int] = (4, 4)
    takes_mask: bool = False
    takes_prefix: bool = False
    preset: str = "nano"
    chunk_steps: int = 32
    history: int = 1
    time_map: str = "keyframe"
    picture_steps: int = 4
    latent: tuple[int, int, int] = (16, 8, 8)
    sources: tuple[str, ...] = ()
    conditioners: tuple[str, ...] = ("words",)
    words: tuple[str, ...] = ()
    reason_length: int = 0
    text: str = "words"
    language: str = "words"
    language_length: int = 0
    version: int = SPEC_VERSION
    folder: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.joints)
        if len(self.normalisation.mean) != size or len(self.normalisation.std) != size:
            raise SpecError(
                f"normalisation must have {size} entries, one per joint; found "
                f"{len(self.normalisation.mean)} means and {len(self.normalisation.std)} deviations"
            )
        if not all(s > 0 for s in self.normalisation.std):
            raise SpecError(f"normalisation deviations must be positive; found {self.normalisation.std}")
        unified = "unified" in self.modes
        for name in ("horizon", "chunk_steps") if unified else ("horizon",):
            if getattr(self, name) % self.steps_per_latent:
                raise SpecError(
                    f"{name} must be a multiple of steps_per_latent={self.steps_per_latent}; "
                    f"found {getattr(self, name)}"
                )
        if unified and not 0 < self.chunk_steps <= self.horizon:
            raise SpecError(f"chunk_steps must be 1 to horizon={self.horizon}; found {self.chunk_steps}")
        single = (("action_space", ACTION_SPACES), ("time_map", TIME_MAPS), ("text", TEXTS), ("language", LANGUAGES))
        for name, valid in single:
            if getattr(self, name) not in valid:
                raise SpecError(f"{name} must be one of {', '.join(valid)}; found {getattr(self, name)!r}")
        if self.action_space == "end_effector_pose" and not self.quaternions:
            found = ", ".join(self.joints)
            raise SpecError(f"end-effector poses need columns _qx, _qy, _qz, _qw; found {found}")
        for name, valid in (("modes", MODES), ("sources", SOURCES), ("conditioners", CONDITIONERS)):
            unknown = [value for value in getattr(self, name) if value not in valid]
            if unknown:
                raise SpecError(f"{name} must be among {', '.join(valid)}; found {', '.join(unknown)}")
        self._check_language()

    def _check_language(self) -> None:
        """Raises SpecError when reasoning is promised without the words for it, or the other way round."""
        if not isinstance(self.language_length, int) or self.language_length < 0:
            raise SpecError(f"language_length must be 0 or more tokens; found {self.language_length!r}")
        promised = "staircase" in self.sources or "vlm" in self.conditioners
        if not (promised or self.words or self.reasons or self.language != "words"):
            return
        known = len(self.vocabulary)
        listed = bool(self.words) and self.words[:known] == self.vocabulary
        if not self.reasons or (self.language == "words" and not listed):
            raise SpecError(
                f"a language side needs words that begin with the {known} of the vocabulary, and reasoning texts "
                f"of 1 word or more; found {len(self.words)} words and texts of {self.reason_length}"
            )

    @property
    def quaternions(self) -> tuple[int, ...]:
        """First column of each orientation x y z w; none with joint targets."""
        return quaternion_columns(self.joints) if self.action_space == "end_effector_pose" else ()

    @property
    def reasons(self) -> bool:
        """Whether the model has a language side."""
        return self.reason_length > 0

    @property
    def lexicon(self) -> Lexicon:
        """What texts of the language side are made of."""
        return Qwen(self._beside(subwords.LANGUAGE_FILE)) if self.language == "qwen" else WordList(self.words)

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Files that must lie beside `spec.json`."""
        needed = {subwords.FILE: self.text == "umt5", subwords.LANGUAGE_FILE: self.language == "qwen"}
        return tuple(name for name, wanted in needed.items() if wanted)

    def tokens(self, route: str) -> tuple[int, int]:
        """Length of a text on a route (`engines.base.Route`), and how many ids there are, padding included."""
        if route != "words" and self.reasons:
            return self.language_length or self.caption_length, self.lexicon.size
        return self.caption_length, subwords.UMT5_IDS if self.text == "umt5" else len(self.vocabulary)

    def said(self, tokens: np.ndarray) -> str:
        """The way back from `tokenise` on the route `words`."""
        if self.text == "umt5":
            return subwords.read_tokenizer(self._beside(subwords.FILE)).decode([int(i) for i in tokens if i])
        return " ".join(self.vocabulary[i] for i in tokens if i)

    def _beside(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name

    @property
    def step_s(self) -> float:
        """Duration of one action step [s]."""
        return 1.0 / self.rate_hz

    @property
    def latent_frames(self) -> int:
        """Future latent video frames of the longest event."""
        return self.horizon // self.steps_per_latent

    @property
    def replan_steps(self) -> int:
        """Unified mode looks again after so many steps of a fixed chunk, unless it is told otherwise."""
        return int(EXECUTED * self.chunk_steps)

    @property
    def history_pictures(self) -> int:
        """Earlier pictures per camera that unified mode reads, one every `picture_steps` steps."""
        return self.history * self.steps_per_latent // self.picture_steps

    @property
    def imagined_frames(self) -> int:
        """Latent frames of predicted video: as long as a fixed chunk."""
        return self.chunk_steps // self.steps_per_latent

    @property
    def normalisation_hash(self) -> str:
        """SHA-256 over joints and their normalisation; pins statistics to weights."""
        text = json.dumps([self.joints, self.normalisation.mean, self.normalisation.std])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The specification as JSON, with the hash of its normalisation."""
        body = dataclasses.asdict(self) | {"normalisation_hash": self.normalisation_hash}
        del body["folder"]
        for name in ("text", "language", "language_length"):  # as it was before there was a choice
            if body[name] == type(self).__dataclass_fields__[name].default:
                del body[name]
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
            if "folder" in body:
                raise KeyError("folder")
            body["cameras"] = tuple(map(CameraSpec.from_body, body["cameras"]))
            body["normalisation"] = Normalisation(**{k: tuple(v) for k, v in body["normalisation"].items()})
            for name in ("joints", "vocabulary", "modes", "patches", "latent", "sources",
                         "conditioners", "words"):  # fmt: skip
                if name in body:
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
        """Read a `spec.json`; tokenizers that it may need lie beside it."""
        if not path.is_file():
            raise SpecError(f"expected a spec.json at {path}; found none")
        return dataclasses.replace(cls.from_json(path.read_text()), folder=path.parent)

    def tokenise(self, caption: str, route: str = "words") -> np.ndarray:
        """Caption or instruction -> ids of its words or tokens, int64, padded with 0; `tokens` says how many.

        Args:
            route: to the words' own encoder, or `vlm` or `staircase`: to the language side.

        Raises:
            CaptionError: a word outside the vocabulary, a mark that stands for something else, an empty or an overlong
                caption.
            SpecError: no tokenizer beside the specification of a model that needs one.
        """
        length, _ = self.tokens(route)
        if route != "words" and self.language == "qwen":
            return self.lexicon.caption(caption, length)
        if self.text == "umt5":
            return subwords.tokenise(caption, self._beside(subwords.FILE), length)
        return captions.tokenise(caption, self.vocabulary, length)
