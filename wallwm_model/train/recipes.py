"""How models are trained: stages, what each of them trains, and the settings of every named model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from wallwm_model.errors import SpecError
from wallwm_model.spec import TIME_MAPS

# What each stage trains; all else is frozen (method.md, section 6). The codec is always frozen. The nano's
# caption encoder stands in for T5 and, having no weights to start from, trains with the video stage.
PARTS = {
    "video": ("video.captions", "video.stems", "video.objects", "video.pointers", "video.queries", "video.dit",
              "video.grounding", "video.remaining"),
    "action": ("action",),
    "adapt": ("video.dit", "action"),
    "distill": ("video.dit", "action"),
}  # fmt: skip
STAGES = ("video", "action", "adapt")  # of a training; "distill" makes a student of what they gave


def within(config: object, low: float, high: float | None, *names: str) -> None:
    """Raises SpecError for a setting outside of low..high."""
    for name in names:
        value = getattr(config, name)
        if not low <= value <= (float("inf") if high is None else high):
            raise SpecError(f"{name} must be {low} to {'any' if high is None else high}; found {value}")


PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class LossConfig:
    """What the losses draw and weigh.

    Attributes:
        draws: action noise levels per observation, K.
        prefix: share of chunks that go on from committed steps; longest_prefix: how many at most [steps].
        dct: weight of the DCT-II term on the action chunk.
        time_map: which video features the action tower reads: the keyframe's only, those of one anchored noise
            level (1-to-N), or those of the action's own level (1-to-1). The engines read keyframes.
        sight: share of samples whose cross-view attention is masked by view frusta.
        tube: share of video samples with a tube mask; tube_condition: of these, share whose keyframe has it too.
        tube_weight: lambda_mask, weight of the video loss inside the tube.
        relight: largest relative change of brightness.
    """

    draws: int = 6
    prefix: float = 0.5
    longest_prefix: int = 12
    dct: float = 0.0
    time_map: str = "keyframe"
    sight: float = 0.5
    tube: float = 0.3
    tube_condition: float = 0.3
    tube_weight: float = 2.0
    relight: float = 0.2

    def __post_init__(self) -> None:
        if self.time_map not in TIME_MAPS:
            raise SpecError(f"time_map must be one of {', '.join(TIME_MAPS)}; found {self.time_map!r}")
        within(self, 0, 1, "prefix", "sight", "tube", "tube_condition", "relight")
        within(self, 0, None, "longest_prefix", "dct", "tube_weight")
        within(self, 1, None, "draws")


@dataclass(frozen=True)
class TrainConfig:
    """One stage's settings; `batch` is per process.

    Attributes:
        muon_lr: of matrices inside the towers; 0 gives them to AdamW, as a sharded training does.
        decay: share of the steps over which the learning rate falls to zero.
        ema: decay of the averaged weights.
        look: share of the video stage, its first steps, in which key points alone learn where things are.
        video_every: every n-th batch of the video stage carries video; the others ground the keyframe.
        unified: share of batches with fixed-length chunks and pictures of the past; the rest are events.
        frozen: parameters whose names hold one of these words stay as they are.
        precision: of matrix products, by autocast: `bf16` is meant for GPUs. Weights, averages and what the optimiser
            keeps are always fp32.
    """

    steps: int
    batch: int
    muon_lr: float = 0.015
    adam_lr: float = 1.5e-3
    warmup: int = 50
    decay: float = 0.4
    ema: float = 0.998
    look: float = 0.0
    video_every: int = 8
    unified: float = 0.4
    frozen: tuple[str, ...] = ()
    precision: str = "fp32"
    loss: LossConfig = field(default_factory=LossConfig)
    validate_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SpecError(f"precision must be one of {', '.join(PRECISIONS)}; found {self.precision!r}")
        within(self, 1, None, "steps", "batch", "warmup", "video_every", "validate_every")
        within(self, 0, None, "muon_lr", "adam_lr", "seed")
        within(self, 0, 1, "look", "decay", "ema", "unified")


@dataclass(frozen=True)
class Recipe:
    """A named model: its sizes, the settings of its stages, and its action space (`spec.ACTION_SPACES`)."""

    preset: str
    stages: dict[str, TrainConfig]
    action_space: str = "joint_position"

    def but(self, preset: str = "", action_space: str = "", **changes) -> Recipe:
        """The same with other settings in every stage."""
        stages = {name: dataclasses.replace(config, **changes) for name, config in self.stages.items()}
        return Recipe(preset or self.preset, stages, action_space or self.action_space)


NANO = Recipe(
    "nano",
    {
        "video": TrainConfig(steps=3000, look=0.5, batch=32, decay=0.3),
        "action": TrainConfig(steps=1600, batch=20),
        # Close to what the stages before have learnt, so slowly, and by AdamW alone.
        "adapt": TrainConfig(steps=400, batch=12, muon_lr=0.0, adam_lr=2e-4, warmup=20, ema=0.99),
    },
)
RECIPES = {
    "nano": NANO,
    "nano-fixed": NANO.but(unified=1.0),
    "nano-no-views": NANO.but(frozen=("cross_view",)),
    "nano-pose": NANO.but(action_space="end_effector_pose"),
    "nano-no-masks": NANO.but(loss=LossConfig(sight=0.0, tube=0.0)),
    "small": NANO.but(preset="small", precision="bf16"),
    # On public weights, so gently; for GPUs.
    "wan2.1-1.3b": NANO.but(preset="wan2.1-1.3b", precision="bf16", batch=4, muon_lr=0.0, adam_lr=5e-5),
    "wan2.2-5b": NANO.but(preset="wan2.2-5b", precision="bf16", batch=2, muon_lr=0.0, adam_lr=2e-5),
}
