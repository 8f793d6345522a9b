"""The training as torchrun starts it: `torchrun --nproc-per-node 2 -m wallwm_model.train nano --data DATA`.

The same as `./wallwm train`, without its terminal front.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from wallwm_model.errors import WallWMError
from wallwm_model.train.cli import train
from wallwm_model.train.public import PublicWeights


def main() -> int:
    parser = argparse.ArgumentParser(prog="wallwm_model.train", description="Train a model, or go on.")
    parser.add_argument("model", nargs="?", default="nano", help="which model to train")
    parser.add_argument("--data", type=Path, default=Path("data/sim"), help="folder of `wallwm data sim`")
    parser.add_argument("--out", type=Path, help="where weights go; runs/train-MODEL if not given")
    parser.add_argument("--stages", default="video,action", help="stages in order, joined by commas")
    parser.add_argument("--steps", type=int, help="optimiser steps; the recipe's if not given")
    parser.add_argument("--processes", type=int, default=1, help="how many to start, where torchrun does not")
    parser.add_argument("--shard", action="store_true", help="spread one model over all processes (FSDP)")
    for name, what in (("weights", "Wan pipeline"), ("backbone", "Qwen2.5-VL"), ("reader", "Qwen2.5")):
        parser.add_argument(f"--{name}", type=Path, help=f"folder of the public {what} that the model starts from")
    given = parser.parse_args()
    for name in ("steps", "processes"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            parser.error(f"--{name} must be at least 1; found {getattr(given, name)}")
    try:
        train(
            given.model, given.data, given.out or Path("runs") / f"train-{given.model}", stages=tuple(given.stages.split(",")), steps=given.steps,
            processes=given.processes, sharded=given.shard,
            weights=PublicWeights(given.weights, given.backbone, given.reader),
        )  # fmt: skip
    except WallWMError as error:
        print(f"wallwm train, process {os.environ.get('RANK', '0')}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
