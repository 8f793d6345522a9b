"""What `./wallwm train` and torchrun call: one process per core or GPU, stage after stage."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallwm_model.captions import vocabulary
from wallwm_model.errors import SpecError, WallWMError
from wallwm_model.spec import ACTION_SPACES, MODES, SOURCES, CameraSpec, ModelSpec, Normalisation
from wallwm_model.subwords import UMT5_LENGTH
from wallwm_model.train.public import NONE, PublicWeights, link

if TYPE_CHECKING:
    from wallwm_model.train.recipes import TrainConfig

WORDS_LENGTH = 16  # longest caption or instruction of the event grammar [words]


def make_spec(
    name: str,
    preset: str,
    data: Path,
    action_space: str = "joint_position",
    stages: Iterable[TrainConfig] | None = None,
) -> ModelSpec:
    """The specification of a model trained on `data`: cameras and joints of the data, statistics over it.

    Args:
        stages: settings of its training, which say what it learns to take; None: those of the recipe `nano`.

    Raises:
        SpecError: unknown preset or action space, or pictures of another size than the preset's.
    """
    from wallwm_model.network.codec import GROUP
    from wallwm_model.network.config import preset as sizes_of
    from wallwm_model.train.dataset import EventDataset
    from wallwm_model.train.end_effector import COLUMNS, statistics
    from wallwm_model.train.recipes import NANO

    if action_space not in ACTION_SPACES:
        raise SpecError(f"action_space must be one of {', '.join(ACTION_SPACES)}; found {action_space!r}")
    events = EventDataset(data)
    described = events.samples.meta
    poses = action_space == "end_effector_pose"
    mean, std = statistics(events) if poses else events.statistics()
    learnt = abilities(NANO.stages.values() if stages is None else stages)
    sizes = sizes_of(preset)
    if described["frame_size"] != sizes.image:
        found = described["frame_size"]
        raise SpecError(
            f"pictures for preset {preset} must have {sizes.image} px (`wallwm data sim --size`); found {found} in {data}"
        )
    words = sizes.text == "words"
    return ModelSpec(
        name=name,
        robot="sim",
        cameras=sim_cameras(described["cameras"], described["frame_size"]),
        joints=COLUMNS if poses else tuple(described["joints"]),
        rate_hz=1 / described["step_s"],
        horizon=described["horizon"],
        steps_per_latent=GROUP * described["frame_steps"],
        normalisation=Normalisation(
            tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) for v in std)
        ),
        vocabulary=vocabulary() if words else (),
        caption_length=WORDS_LENGTH if words else UMT5_LENGTH,
        text=sizes.text,
        preset=preset,
        patches=sizes.grid,
        latent=sizes.latent,
        action_space=action_space,
        picture_steps=described["frame_steps"],
        **learnt,
    )


def abilities(stages: Iterable[TrainConfig]) -> dict[str, Any]:
    """The fields of `ModelSpec` that say what a model has learnt in every one of its stages.

    Raises:
        SpecError: no mode, or no time map, that all stages have.
    """
    stages = tuple(stages)
    events = all(stage.unified < 1 for stage in stages)
    unified = all(stage.unified > 0 for stage in stages)
    modes = tuple(mode for mode, learnt in zip(MODES, (events, unified), strict=True) if learnt)
    maps = {stage.loss.time_map for stage in stages}
    if not modes:
        raise SpecError("the stages of a model must have a mode in common; found unified 0 and 1 among them")
    if len(maps) > 1:
        raise SpecError(f"the stages of a model must have one time_map; found {', '.join(sorted(maps))}")
    return {
        "modes": modes,
        "sources": SOURCES[:2] if unified else (),
        "takes_mask": all(stage.loss.sight > 0 for stage in stages),
        "takes_prefix": unified and all(stage.loss.prefix > 0 for stage in stages),
        "time_map": maps.pop(),
    }


def sim_cameras(names: list[str], size: int) -> tuple[CameraSpec, ...]:
    """The simulated robot's cameras as the network sees them."""
    from wallwm_model.sim.calibration import sim_calibration

    cameras = sim_calibration().cameras
    return tuple(CameraSpec.of(cameras[name], size, size) for name in names)


def train(
    name: str, data: Path, out: Path, *, stages: tuple[str, ...], steps: int | None, processes: int,
    sharded: bool = False, weights: PublicWeights = NONE,
) -> None:  # fmt: skip
    """Train `name` on `data`, stage by stage, resuming whatever lies in `out`.

    Args:
        processes: how many to start; under torchrun its processes are used instead.
        sharded: spread weights and optimiser state over the processes (FSDP).
        weights: checkpoints that a model of Wan's sizes starts from; each has to be told once.

    Raises:
        SpecError: unknown model, a stage that it does not have, a stage whose predecessors are not trained, or files in `out` that
            another model, number of processes or kind of training has left there.
    """
    from wallwm_model.train import language_recipes
    from wallwm_model.train.launch import torchrun, torchrun_group, wait
    from wallwm_model.train.recipes import RECIPES, STAGES

    if name not in RECIPES:
        raise SpecError(f"model must be one of {', '.join(RECIPES)}; found {name!r}")
    known = (*RECIPES[name].stages, *language_recipes.STAGES)
    if not stages or not set(stages) <= set(known):
        raise SpecError(f"stages of {name} must be among {', '.join(known)}; found {', '.join(stages) or 'none'}")
    if sharded and not set(stages) <= set(STAGES):
        found = ", ".join(stage for stage in stages if stage not in STAGES)
        raise SpecError(f"stages that can be sharded are {', '.join(STAGES)}; found {found}")
    if torchrun():
        with torchrun_group():
            prepare(name, data, out, weights)
            for stage in stages:
                run(name, stage, data, out, steps, sharded)
                wait()  # the next stage reads what the first process writes
        return
    prepare(name, data, out, weights)
    for stage in stages:
        args = (name, stage, data, out, steps, processes, sharded)
        if processes == 1:
            worker(0, *args)
        else:
            spawn(args, processes)


def spawn(args: tuple, processes: int, work: Callable[..., None] | None = None) -> None:
    """Run `work` (`worker`) in processes of their own; what one of them refuses is refused here, word for word."""
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as folder:
        refusal = Path(folder) / "refusal"
        try:
            mp.spawn(_spawned, (refusal, work or worker, *args), nprocs=processes)
        except mp.ProcessRaisedException:
            if not refusal.is_file():
                raise
            raise SpecError(refusal.read_text()) from None


def _spawned(rank: int, refusal: Path, work: Callable[..., None], *args) -> None:
    try:
        work(rank, *args)
    except WallWMError as error:
        part = refusal.with_suffix(f".{rank}")
        part.write_text(str(error))
        part.rename(refusal)
        raise


def prepare(name: str, data: Path, out: Path, weights: PublicWeights = NONE) -> None:
    """Write the model's specification, once; check that what is there is this model's.

    Args:
        weights: see `train`.

    Raises:
        SpecError: `out` belongs to another model, or public weights that are missing or not wanted.
    """
    from wallwm_model.train.files import replace_file
    from wallwm_model.train.launch import wait
    from wallwm_model.train.parallel import world
    from wallwm_model.train.recipes import RECIPES

    recipe, path = RECIPES[name], out / "spec.json"
    if path.is_file() and (found := ModelSpec.load(path).name) != name:
        raise SpecError(f"{out} must hold a training of {name}; found one of {found}: choose another --out")
    if world()[0] == 0:
        out.mkdir(parents=True, exist_ok=True)
        link(name, recipe.preset, out, weights)
        if not path.is_file():
            stages = recipe.stages.values()
            spec = make_spec(name, recipe.preset, data, recipe.action_space, stages)
            replace_file(path, lambda new: new.write_text(spec.to_json()))
    wait()


def worker(
    rank: int, name: str, stage: str, data: Path, out: Path, steps: int | None, processes: int, sharded: bool
) -> None:
    """One spawned process of one stage."""
    from wallwm_model.train.launch import spawned_group

    with spawned_group(rank, processes, out / f".{stage}-{os.getppid()}-rendezvous"):
        run(name, stage, data, out, steps, sharded)


def run(name: str, stage: str, data: Path, out: Path, steps: int | None, sharded: bool) -> None:
    """One stage, in one process of the group."""
    from wallwm_model.train import language_recipes

    if stage in language_recipes.STAGES:
        _run_language(stage, data, out, steps)
    else:
        _run_towers(name, stage, data, out, steps, sharded)


def _run_language(stage: str, data: Path, out: Path, steps: int | None) -> None:
    from wallwm_model.train.language_recipes import RECIPES
    from wallwm_model.train.language_run import run_language_stage
    from wallwm_model.train.parallel import world
    from wallwm_model.train.progress import Progress

    with Progress(stage, steps or RECIPES[stage].steps, out, shown=world()[0] == 0) as progress:
        run_language_stage(stage, data, out, steps=steps, report=progress)


def _run_towers(name: str, stage: str, data: Path, out: Path, steps: int | None, sharded: bool) -> None:
    from wallwm_model.train.loop import Stage, build, run_stage
    from wallwm_model.train.parallel import world
    from wallwm_model.train.progress import Progress
    from wallwm_model.train.recipes import RECIPES

    config = RECIPES[name].stages[stage]
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    spec = ModelSpec.load(out / "spec.json")
    trained = Stage(stage, build(spec, out, stage), spec, config, out, sharded=sharded)
    with Progress(stage, config.steps, out, shown=world()[0] == 0) as progress:
        run_stage(trained, data, report=progress)
