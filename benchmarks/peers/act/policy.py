"""LeRobot's ACT for our robot: its own network and loss, in sizes that make it about as large as our nano.

LeRobot is imported when a policy is built, and not before: from this environment or that of the peers.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers import environment
from benchmarks.peers.act.instructions import SIZE, Instructions
from benchmarks.peers.act.resnet import BACKBONE, as_torchvision
from wallwm_model.errors import ConfigError

# Loads diffusers and transformers, which must not meet the stand-in for torchvision.
from wallwm_model.network.model import network_pictures
from wallwm_model.preprocess import Observation, network_images, network_state
from wallwm_model.spec import ModelSpec

WEIGHTS, SPEC = "weights.safetensors", "spec.json"
LEARNING_RATE = 3e-4  # LeRobot's own, 1e-5, is for pretrained weights and 100,000 steps
ENLARGE = 2  # pictures are enlarged, or else the last layer had 2x2 cells
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # LeRobot's default statistics of pictures
MISSING = (
    "LeRobot's ACT needs the peers' environment, {folder}, which "
    "`./wallwm python -m benchmarks.peers.act prepare` makes; found {found}"
)


def missing() -> str:
    """Why LeRobot cannot be imported, in one sentence; empty if it can."""
    if importlib.util.find_spec("lerobot") or _site().joinpath("lerobot").is_dir():
        return ""
    folder = environment.FOLDER
    return MISSING.format(folder=folder.name, found="it without LeRobot" if folder.is_dir() else "none")


def _site() -> Path:
    """Where the peers' environment has its packages, if it is of this Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment.FOLDER / "lib" / version / "site-packages"


def lerobot() -> SimpleNamespace:
    """`ACTConfig`, `ACTPolicy`, `FeatureType`, `PolicyFeature`.

    Raises:
        ConfigError: LeRobot is not there, or cannot be imported.
    """
    if reason := missing():
        raise ConfigError(reason)
    if not importlib.util.find_spec("lerobot"):
        sys.path.append(str(_site()))  # at the end: what both environments have is taken from this one
    try:
        with as_torchvision():
            from lerobot.utils import import_utils

            # Its other policies want transformers of a version of their own; ACT does without.
            import_utils._transformers_available = False
            from lerobot.configs.types import FeatureType, PolicyFeature
            from lerobot.policies.act.configuration_act import ACTConfig
            from lerobot.policies.act.modeling_act import ACTPolicy
    except ImportError as error:
        raise ConfigError(
            f"LeRobot must be importable beside this project's packages; found {error}"
        ) from error
    return SimpleNamespace(
        ACTConfig=ACTConfig, ACTPolicy=ACTPolicy, FeatureType=FeatureType, PolicyFeature=PolicyFeature
    )


def build(spec: ModelSpec) -> nn.Module:
    """LeRobot's ACTPolicy from random numbers; what is not named here is LeRobot's default."""
    its = lerobot()

    def feature(kind: str, *shape: int) -> object:
        return its.PolicyFeature(its.FeatureType[kind], shape)

    pictures = {
        f"observation.images.{c.name}": feature("VISUAL", 3, ENLARGE * c.height, ENLARGE * c.width)
        for c in spec.cameras
    }
    config = its.ACTConfig(
        input_features={
            "observation.state": feature("STATE", len(spec.joints)),
            "observation.environment_state": feature("ENV", SIZE),
            **pictures,
        },
        output_features={"action": feature("ACTION", len(spec.joints))},
        chunk_size=spec.chunk_steps,
        n_action_steps=spec.chunk_steps,
        vision_backbone=BACKBONE,
        pretrained_backbone_weights=None,
        dim_model=192,
        dim_feedforward=768,
        optimizer_lr=LEARNING_RATE,
        optimizer_lr_backbone=LEARNING_RATE,
        device="cpu",
        push_to_hub=False,
    )
    policy = its.ACTPolicy(config)
    policy.model.backbone.to(memory_format=torch.channels_last)
    return policy


def inputs(spec: ModelSpec, pictures: Tensor, state: Tensor, told: Tensor) -> dict[str, Tensor]:
    """What ACT reads.

    Args:
        pictures: (B, V, 3, H, W) in [-1, 1]; state (B, D), normalised; told (B, SIZE).
    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    found = {"observation.state": state, "observation.environment_state": told}
    for camera, seen in zip(spec.cameras, pictures.unbind(1), strict=True):
        large = F.interpolate((seen + 1) / 2, scale_factor=ENLARGE, mode="bilinear")
        large = ((large - mean) / std).contiguous(memory_format=torch.channels_last)
        found[f"observation.images.{camera.name}"] = large
    return found


class Trained:
    """A trained ACT, which looks and says what to do.

    Raises:
        ConfigError: no training in the folder, or LeRobot is not there.
        SpecError: the folder's specification is damaged.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / WEIGHTS).is_file():
            raise ConfigError(f"expected a training of LeRobot's ACT with {WEIGHTS} in {folder}; found none")
        self.spec = ModelSpec.load(folder / SPEC)
        self._told = Instructions(self.spec)
        self._policy = build(self.spec)
        self._policy.load_state_dict(load_file(folder / WEIGHTS))

    def chunk(self, observation: Observation, instruction: str) -> np.ndarray:
        """(chunk_steps, D) joint targets [rad or m].

        Raises:
            CaptionError: a sentence that is no instruction.
            ObservationError: missing or unfit pictures or joints.
        """
        spec = self.spec
        pictures = network_pictures(torch.from_numpy(network_images(observation, spec))[None])
        state = torch.from_numpy(network_state(observation, spec))[None]
        told = self._told(torch.from_numpy(spec.tokenise(instruction))[None])
        found = self._policy.predict_action_chunk(inputs(spec, pictures, state, told))
        return spec.normalisation.decode(found[0].numpy())
