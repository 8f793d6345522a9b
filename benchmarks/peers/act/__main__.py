"""LeRobot's ACT as a baseline, trained on our demonstrations from scratch.

`./wallwm python -m benchmarks.peers.act train --data data/sim --out runs/act`, again to go on, and then
`./wallwm eval modes --act runs/act`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers import environment
from wallwm_model.errors import ConfigError, WallWMError


def main(arguments: list[str] | None = None) -> int:
    """Prepare the environment or train; a refusal is one sentence."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers.act", description="LeRobot's ACT as a baseline.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="install LeRobot into the peers' environment")
    trained = commands.add_parser("train", help="train ACT, or go on; installs LeRobot where it is missing")
    trained.add_argument("--data", type=Path, default=Path("data/sim"), help="folder of `wallwm data sim`")
    trained.add_argument("--out", type=Path, default=Path("runs/act"), help="where weights go")
    trained.add_argument("--minutes", type=float, default=40.0, help="CPU time per process")
    trained.add_argument("--steps", type=int, help="end after so many optimiser steps, if that is earlier")
    trained.add_argument("--batch", type=int, default=16, help="per process")
    trained.add_argument(
        "--processes", type=int, default=2, help="data-parallel processes of one thread each"
    )
    given = parser.parse_args(arguments)
    try:
        prepare()
        if given.command == "train":
            train(given)
    except WallWMError as error:
        print(f"act: {error}", file=sys.stderr)
        return 1
    return 0


def prepare() -> None:
    """Install LeRobot unless it is there.

    Raises:
        ConfigError: it cannot be installed.
    """
    from benchmarks.peers.act.policy import missing

    if missing():
        peers = environment.prepare(lambda text: print(text, file=sys.stderr))
        if not peers.has("lerobot"):
            raise ConfigError(peers.missing["lerobot"])


def train(given: argparse.Namespace) -> None:
    """Train in so many processes.

    Raises:
        ConfigError: an option out of range, or no data.
        SpecError: the folder holds another training.
    """
    from benchmarks.peers.act.process import work
    from benchmarks.peers.act.train import Settings, specify
    from wallwm_model.train.cli import spawn

    for name in ("minutes", "steps", "batch", "processes"):
        value = getattr(given, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} must be more than 0; found {value}")
    specify(given.data, given.out)
    settings = Settings(minutes=given.minutes, steps=given.steps, batch=given.batch)
    arguments = given.processes, given.data, given.out, settings
    if given.processes == 1:
        work(0, *arguments)
    else:
        spawn(arguments, given.processes, work)


if __name__ == "__main__":
    sys.exit(main())
