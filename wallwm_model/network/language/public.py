"""Public weights for the frozen parts of the language side: Qwen2.5-VL for the backbone, Qwen2.5 for the reader."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel, Qwen2_5_VLModel, Qwen2Model

from wallwm_model.errors import SpecError
from wallwm_model.network.checkpoint import listed
from wallwm_model.network.language.model import Language


def load_public(language: Language, backbone: Path, reader: Path) -> Language:
    """Fill the backbone and the reader from folders of public checkpoints, in transformers' layout.

    Raises:
        SpecError: a preset whose backbone is no public model, or a folder without weights of this architecture.
    """
    config = language.config
    if not config.public:
        raise SpecError("only language sides of Qwen's sizes start from public weights; this one trains from nothing")
    read(Qwen2_5_VLModel, backbone, config.qwen(), into=language.backbone.qwen)
    read(Qwen2Model, reader, config.small(), into=language.reader.lm)
    return language


def read(kind: type[PreTrainedModel], folder: Path, config: PreTrainedConfig, *, into: PreTrainedModel) -> None:
    """Copy a checkpoint's weights into a model of class `kind`; transformers knows how its files name them.

    Raises:
        SpecError: see `load_public`.
    """
    if not any(folder.glob("*.safetensors")):
        raise SpecError(f"a checkpoint must be a folder with *.safetensors; found none in {folder}")
    try:
        found, info = kind.from_pretrained(
            folder, config=config, local_files_only=True, output_loading_info=True,
            ignore_mismatched_sizes=True, dtype=torch.float32,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise SpecError(f"{folder} must hold weights of {kind.__name__}; found: {reason}") from None
    more = [name for name in info["unexpected_keys"] if not name.startswith("lm_head.")]
    wrong_shapes = [row[0] for row in info["mismatched_keys"]]
    names = {"missing": info["missing_keys"], "not expected": more, "of another shape": wrong_shapes}
    if said := [f"{len(wrong)} {what}: {listed(sorted(wrong))}" for what, wrong in names.items() if wrong]:
        raise SpecError(f"{folder} must hold the tensors of this {kind.__name__}; found {'; '.join(said)}")
    into.load_state_dict(found.state_dict())
