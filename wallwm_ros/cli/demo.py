"""`./wallwm demo`: the simulated robot, the policy and the control as ROS 2 processes, and a planner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    task: Annotated[str | None, typer.Option(help="pick_place or handover; default: one of each.")] = None,
    episodes: Annotated[int | None, typer.Option(help="How many scenes; alone: of pick_place.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first scene; the others follow.")] = None,
    events: Annotated[
        str | None,
        typer.Option(
            help='Your own events: "reach the red cube with the right arm; grasp the red cube ...".'
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="event: each event is sent; unified: one instruction, the model does the rest.")
    ] = "event",
    source: Annotated[
        str, typer.Option(help="What unified mode reads: staircase (its own reasoning) or instruction.")
    ] = "staircase",
    video: Annotated[bool, typer.Option(help="Write demo.mp4.")] = True,
    lockstep: Annotated[
        bool,
        typer.Option(
            "--lockstep/--realtime",
            help="Time follows the commands: exact, as fast as the machine can. Or the wall clock.",
        ),
    ] = True,
    blank_cameras: Annotated[
        bool, typer.Option("--blank-cameras", help="Show the policy grey pictures.")
    ] = False,
    robot: Annotated[str, typer.Option(help="Robot profile: a name or a YAML file.")] = "sim",
    model: Annotated[str, typer.Option(help="Engine bundle: a folder.")] = "models/nano",
    retries: Annotated[int, typer.Option(help="Send an event that was not achieved again, this often.")] = 0,
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: a free one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for film, plots and result.json.")] = None,
) -> None:
    """A simulated two-arm robot carries out events under the model, through real ROS 2 actions."""
    from rich.console import Console

    from wallwm_ros.demo.prepare import Request, prepare
    from wallwm_ros.demo.run import run

    request = Request(
        task, episodes, seed, events, mode, source, video, lockstep, blank_cameras, robot, model, retries, domain, out
    )
    raise typer.Exit(run(prepare(request), Console()))
