"""What `./wallwm distill` calls: a folder for the student, and processes that train it."""

from __future__ import annotations

import dataclasses
import filecmp
import os
import shutil
from pathlib import Path

from wallwm_model.errors import SpecError
from wallwm_model.spec import ModelSpec
from wallwm_model.train.cli import spawn
from wallwm_model.train.files import replace_file
from wallwm_model.train.public import hand_on


def distill(
    teacher: Path, data: Path, out: Path, *, euler_steps: int, updates: int | None, processes: int,
    action_loss: bool = True,
) -> None:  # fmt: skip
    """Distil the training in `teacher` to `euler_steps` denoising steps, resuming whatever lies in `out`.

    `out` is then a training's folder like any other: `./wallwm export --trained OUT` makes a bundle of it.

    Args:
        updates: of the student; None: the recipe's.
        action_loss: keep the loss on demonstrations; without it distributions alone are matched, as an ablation.

    Raises:
        SpecError: `teacher` holds no finished training, or `out` belongs to another student.
    """
    prepare(teacher, out, euler_steps)
    args = (data, out, euler_steps, updates, action_loss, processes)
    if processes == 1:
        worker(0, *args)
    else:
        spawn(args, processes, worker)


def prepare(teacher: Path, out: Path, euler_steps: int) -> None:
    """The student's folder: the teacher's weights, and its specification with fewer steps."""
    for needed in ("spec.json", "video-ema.safetensors", "action-ema.safetensors"):
        if not (teacher / needed).is_file():
            raise SpecError(f"a teacher must be a folder of `wallwm train` with {needed}; {teacher} has none")
    spec = dataclasses.replace(ModelSpec.load(teacher / "spec.json"), euler_steps=euler_steps)
    if (out / "spec.json").is_file():
        found = ModelSpec.load(out / "spec.json")
        if found != spec:
            raise SpecError(
                f"{out} must hold a student of {teacher} with {euler_steps} steps; found one of {found.name} with "
                f"{found.euler_steps}: choose another --out"
            )
        for name in ("video-ema.safetensors", "action-ema.safetensors"):
            if not filecmp.cmp(teacher / name, out / name, shallow=False):
                raise SpecError(f"{out} must hold a student of {teacher}; found one of another {name}: choose another --out")
        return
    out.mkdir(parents=True, exist_ok=True)
    for path in teacher.glob("*.safetensors"):
        if not path.stem.endswith("-last"):
            shutil.copy(path, out / path.name)
    hand_on(teacher, out)
    replace_file(out / "spec.json", lambda new: new.write_text(spec.to_json()))


def worker(
    rank: int, data: Path, out: Path, euler_steps: int, updates: int | None, action_loss: bool, processes: int
) -> None:
    """One spawned process of the distillation."""
    from wallwm_model.train.distill import RECIPE, Distillation
    from wallwm_model.train.launch import spawned_group
    from wallwm_model.train.loop import build, run_stage
    from wallwm_model.train.progress import Progress

    config = dataclasses.replace(RECIPE, euler_steps=euler_steps, steps=updates or RECIPE.steps)
    if not action_loss:
        config = dataclasses.replace(config, action_weight=0.0)
    with spawned_group(rank, processes, out / f".distill-{os.getppid()}-rendezvous"):
        spec = ModelSpec.load(out / "spec.json")
        stage = Distillation(build(spec, out, "distill"), spec, config, out)
        with Progress("distill", config.steps, out, shown=rank == 0) as progress:
            run_stage(stage, data, report=progress)
