"""What `./wallwm train` calls: one process per core, progress bars, loss plots."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

from wallwm_model.captions import vocabulary
from wallwm_model.errors import SpecError
from wallwm_model.spec import MODES, SOURCES, CameraSpec, ModelSpec, Normalisation


def make_spec(name: str, preset: str, data: Path) -> ModelSpec:
    """The specification of a model trained on `data`: cameras and joints of the data, statistics over it."""
    from wallwm_model.network.codec import GROUP
    from wallwm_model.train.dataset import EventDataset

    events = EventDataset(data)
    described = events.samples.meta
    mean, std = events.statistics()
    return ModelSpec(
        name=name,
        robot="sim",
        cameras=sim_cameras(described["cameras"], described["frame_size"]),
        joints=tuple(described["joints"]),
        rate_hz=1 / described["step_s"],
        horizon=described["horizon"],
        steps_per_latent=GROUP * described["frame_steps"],
        normalisation=Normalisation(
            tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) for v in std)
        ),
        vocabulary=vocabulary(),
        preset=preset,
        modes=MODES,
        sources=SOURCES[:2],
        takes_mask=True,
        takes_prefix=True,
        picture_steps=described["frame_steps"],
    )


def sim_cameras(names: list[str], size: int) -> tuple[CameraSpec, ...]:
    """The simulated robot's cameras as the network sees them."""
    from wallwm_model.sim.calibration import sim_calibration

    cameras = sim_calibration().cameras
    return tuple(CameraSpec.of(cameras[name], size, size) for name in names)



def train(
    name: str, data: Path, out: Path, *, stages: tuple[str, ...], steps: int | None, processes: int
) -> None:
    """Train `name` on `data`, stage by stage, resuming whatever lies in `out`."""
    import torch.multiprocessing as mp

    from wallwm_model.train.recipes import RECIPES, STAGES

    if name not in RECIPES:
        raise SpecError(f"model must be one of {', '.join(RECIPES)}; found {name!r}")
    if not set(stages) <= set(STAGES):
        raise SpecError(f"stages must be among {', '.join(STAGES)}; found {', '.join(stages)}")
    out.mkdir(parents=True, exist_ok=True)
    spec_path = out / "spec.json"
    if not spec_path.is_file():
        spec_path.write_text(make_spec(name, RECIPES[name].preset, data).to_json())
    for stage in stages:
        args = (name, stage, data, out, steps, processes)
        if processes == 1:
            worker(0, *args)
        else:
            mp.spawn(worker, args, nprocs=processes)


def worker(rank: int, name: str, stage: str, data: Path, out: Path, steps: int | None, processes: int) -> None:
    """One process of one stage."""
    import torch
    import torch.distributed as dist

    from wallwm_model.train.loop import Stage, build, run_stage
    from wallwm_model.train.recipes import RECIPES

    torch.set_num_threads(1)
    if processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = out / f".{stage}-{os.getppid()}-rendezvous"
        dist.init_process_group("gloo", init_method=f"file://{store.resolve()}", rank=rank, world_size=processes)
    config = RECIPES[name].stages[stage]
    if steps is not None:
        config = dataclasses.replace(config, steps=steps)
    spec = ModelSpec.load(out / "spec.json")
    run = Stage(stage, build(spec, out, stage), spec, config, out)
    try:
        with Progress(stage, config.steps, out, shown=rank == 0) as progress:
            run_stage(run, data, report=progress)
    finally:
        if processes > 1:
            dist.destroy_process_group()
            if rank == 0:
                store.unlink(missing_ok=True)


class Progress:
    """A progress bar with the running losses, a line per validation, and a loss plot."""

    def __init__(self, stage: str, steps: int, out: Path, *, shown: bool):
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.stage, self.steps, self.out, self.shown = stage, steps, out, shown
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
        self.bar = Bar(TextColumn(f"{stage} stage"), *columns, disable=not shown)
        self.began = time.monotonic()

    def __enter__(self) -> Progress:
        self.bar.start()
        self.task = self.bar.add_task(self.stage, total=self.steps, text="")
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def __call__(self, step: int, losses: dict[str, float], found: dict[str, float] | None) -> None:
        if not self.shown:
            return
        text = " ".join(f"{k} {v:.3g}" for k, v in losses.items())
        self.bar.update(self.task, completed=step, text=text)
        if found is not None:
            minutes = (time.monotonic() - self.began) / 60
            shown = " ".join(f"{k} {v:.1f}" for k, v in found.items())
            self.bar.console.print(f"step {step} after {minutes:.1f} min: {shown}")
            plot(self.out, self.stage)


def plot(out: Path, stage: str) -> None:
    """Losses and held-out errors over the steps -> <stage>.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    history = json.loads((out / f"{stage}.json").read_text())["history"]
    keys = [k for k in history[-1] if k != "step" and "p90" not in k]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, chosen, title in (
        (axes[0], [k for k in keys if not k.endswith(("_mm", "_steps"))], "training loss"),
        (axes[1], [k for k in keys if k.endswith(("_mm", "_steps"))], "held-out error"),
    ):
        for key in chosen:
            axis.plot([h["step"] for h in history], [h.get(key) for h in history], label=key)
        axis.set(xlabel="step", yscale="log", title=f"{stage} stage: {title}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / f"{stage}.png", dpi=100)
    plt.close(figure)
