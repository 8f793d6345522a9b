"""`./wallwm eval modes`: how often each policy succeeds, in the simulator, without ROS in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wallwm_model.errors import ConfigError

app = typer.Typer(help="Evaluate bundles in the simulator.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Evaluate bundles in the simulator."""


@app.command()
def modes(
    bundles: Annotated[
        list[str] | None, typer.Argument(help="Bundles, each NAME=FOLDER or FOLDER; default models/nano.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Held-out scenes per task and variation.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 1000,
    tasks: Annotated[str, typer.Option(help="Tasks, joined by commas.")] = "pick_place",
    variations: Annotated[str, typer.Option(help="Kinds of scenes, joined by commas.")] = "plain",
    act: Annotated[
        Path | None, typer.Option(help="Training of LeRobot's ACT to set beside them, see docs/training.md.")
    ] = None,
    only: Annotated[str, typer.Option(help="Policies whose name holds this.")] = "",
    engine: Annotated[str, typer.Option(help="Inference engine.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 1,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Every mode of every bundle on the same scenes; prints a table with 95 % intervals."""
    from rich.console import Console

    from wallwm_model.eval.modes import compare, drivers
    from wallwm_model.sim.scene import TRAINING_SEEDS

    if seed + episodes > TRAINING_SEEDS:
        raise ConfigError(f"seeds must lie below {TRAINING_SEEDS}, where training begins; found {seed + episodes - 1}")
    named = dict(_named(text) for text in bundles or ["models/nano"])
    known = drivers(named, engine, threads) | ({} if act is None else _baseline(act, threads))
    policies = {name: driver for name, driver in known.items() if only in name}
    if not policies:
        raise ConfigError(f"--only must name a policy of {', '.join(known)}; found {only!r}")
    asked = tuple(tasks.split(",")), tuple(variations.split(","))
    with Console().status("") as status:

        def report(name: str, done: int, good: int) -> None:
            status.update(f"{name}: {good} of {done} done")

        found = compare(
            policies, tasks=asked[0], variations=asked[1], episodes=episodes, seed=seed, report=report
        )
    _show(found["by_scene"])
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@app.command()
def video(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")] = Path("models/nano"),
    data: Annotated[Path, typer.Option(help="Folder written by `wallwm data sim`.")] = Path("data/sim"),
    events: Annotated[int, typer.Option(min=1, help="Held-out events.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of the video.")] = 10,
    strips: Annotated[int, typer.Option(min=0, help="Of so many events pictures are written.")] = 4,
    pictures: Annotated[Path, typer.Option(help="Folder for them.")] = Path("runs/video"),
    engine: Annotated[str, typer.Option(help="Inference engine.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 1,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Video that a bundle predicts of held-out events: PSNR, SSIM, LPIPS beside copying the last picture."""
    from rich.console import Console

    from wallwm_model.engines import load_engine
    from wallwm_model.eval.video import predict
    from wallwm_model.eval.video_metrics import compare, write_strip

    _, folder = _named(str(bundle))
    with Console().status("") as status:

        def report(done: int) -> None:
            status.update(f"{done} of {events} events")

        clips = predict(
            load_engine(folder, engine, threads), data, events, euler_steps=steps, seed=0, report=report
        )
        status.update("comparing")
        found = compare(clip for cameras in clips for clip in cameras)
    for event in range(min(strips, len(clips))):
        for clip in clips[event * len(clips) // strips]:
            write_strip(clip, pictures / f"{event}-{clip.name.rpartition(', ')[2]}.png")
    _show_video(found, len(clips))
    if out is not None:
        body = {"events": len(clips), "denoising_steps": steps} | found
        out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def _named(text: str) -> tuple[str, Path]:
    """`NAME=FOLDER` or `FOLDER` -> name, folder; relative ones may also lie in the package's share."""
    from wallwm_ros.core.paths import data_path

    name, _, folder = text.rpartition("=")
    path = Path(folder)
    return name or path.name, path if path.is_dir() else data_path(folder)


def _baseline(folder: Path, threads: int) -> dict:
    """LeRobot's ACT, which only a checkout of this project can drive."""
    try:
        from benchmarks.peers.act.driver import drivers
    except ModuleNotFoundError as error:
        found = f"found no module {error.name}"
        raise ConfigError(f"--act needs a checkout with benchmarks/, and torch; {found}") from error
    return drivers(folder, threads)


def _show(by_scene: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="success in the simulator, 95 % Wilson intervals")
    for column in ("policy", "task", "scenes", "success", "interval"):
        table.add_column(column)
    for name, tasks in by_scene.items():
        for task, rows in tasks.items():
            for variation, row in rows.items():
                low, high = (100 * value for value in row["interval95"])
                count = f"{row['success']} / {row['episodes']}"
                table.add_row(name, task, variation, count, f"{low:.1f} to {high:.1f} %")
    Console().print(table)


def _show_video(found: dict, events: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"predicted video of {events} held-out events")
    for column in ("", "PSNR [dB]", "SSIM", "LPIPS"):
        table.add_column(column)
    for name, shown in (("predicted", "predicted"), ("copy", "last picture copied"), ("better", "share better")):
        row = found[name]
        table.add_row(shown, f"{row['psnr']:.2f}", f"{row['ssim']:.3f}", f"{row['lpips']:.3f}")
    Console().print(table)
