"""Train the language side's stages one after the other, resuming whatever lies in the folder.

    python -m wallwm_model.train.language_run DATA OUT VIDEO [STAGE ...]

DATA is a folder of demonstrations, VIDEO a nano bundle or a training folder with a finished video stage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from wallwm_model.errors import SpecError, WallWMError
from wallwm_model.network.language.config import preset
from wallwm_model.network.language.model import Language
from wallwm_model.train.language import RECIPES, STAGES, LanguageStage, load_stage, run
from wallwm_model.train.language_data import MomentDataset
from wallwm_model.train.language_teacher import bundle_teacher, video_weights

BATCH = 64  # of the validation


def train(
    data: Path,
    out: Path,
    video: Path,
    stages: tuple[str, ...] = STAGES,
    name: str = "nano",
    report: Callable[[str, int, dict, dict | None], None] = lambda *_: None,
) -> Language:
    """All `stages` of preset `name`; `report(stage, step, losses, found)` is called after each step.

    Raises:
        SpecError: unknown stage or preset, or a stage that needs another one which is not in `out`.
        BundleError: `video` holds no trained video tower.
    """
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise SpecError(f"stages must be among {', '.join(STAGES)}; found {', '.join(unknown)}")
    out.mkdir(parents=True, exist_ok=True)
    moments, held_out = MomentDataset(data), MomentDataset(data, held_out=True).sweep(BATCH)
    language = Language(preset(name))
    for stage in stages:
        torch.manual_seed(0)
        _prepare(language, stage, out, video)
        teacher = bundle_teacher(video) if stage == "vlm" else None
        running = LanguageStage(stage, language, RECIPES[stage], teacher, out)
        running.resume()
        run(running, moments, held_out, lambda step, losses, found, s=stage: report(s, step, losses, found))
    return language


def _prepare(language: Language, stage: str, out: Path, video: Path) -> None:
    """Load what `stage` builds on."""
    eyes = language.backbone.qwen.visual.patch_embed
    if stage == "backbone" and hasattr(eyes, "start_from"):
        eyes.start_from(video_weights(video, ""))
    needed = {"vlm": ("backbone",), "staircase": ("backbone", "reader")}.get(stage, ())
    for earlier in needed:
        path = out / f"{earlier}.safetensors"
        if not path.is_file():
            raise SpecError(f"stage {stage} needs stage {earlier}'s weights at {path}; found none")
        load_stage(language, earlier, load_file(path))


def _print(stage: str, step: int, losses: dict, found: dict | None) -> None:
    if found or step % 50 == 0:
        shown = " ".join(f"{k} {v:.4f}" for k, v in (losses | (found or {})).items())
        print(f"{stage} {step}: {shown}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) < 4:
        sys.exit(f"usage: python -m wallwm_model.train.language_run DATA OUT VIDEO [{' '.join(STAGES)}]")
    try:
        data, out, video = map(Path, sys.argv[1:4])
        train(data, out, video, tuple(sys.argv[4:]) or STAGES, report=_print)
    except WallWMError as error:
        sys.exit(str(error))
