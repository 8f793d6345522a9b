"""The training with a tiny recipe, as processes of its own: `torchrun test/tiny_training.py tiny --data ...`.

`SHARDING=1` instead compares a sharded with an unsharded run and with a resumed one, in one group of processes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from wallwm_model.network.config import PRESETS, NetworkConfig
from wallwm_model.train.recipes import RECIPES, LossConfig, Recipe, TrainConfig

TINY = NetworkConfig(layers=2, width=48, heads=2, ffn=96, keypoints=8, text_width=32, action_width=32, action_ffn=64)
PRESETS["tiny"] = TINY
CONFIG = TrainConfig(
    steps=4, batch=2, warmup=1, decay=0.0, look=0.25, video_every=2, unified=0.5, validate_every=2,
    loss=LossConfig(draws=2, longest_prefix=4),
)  # fmt: skip
RECIPES["tiny"] = Recipe("tiny", {"video": CONFIG, "action": CONFIG, "adapt": CONFIG})
RECIPES["tiny-adam"] = RECIPES["tiny"].but(muon_lr=0.0)


def compare_sharded(data: Path, out: Path) -> None:
    """Three trainings of the same data below `out`: plain, sharded, and sharded with an interruption."""
    from wallwm_model.train.cli import prepare, run
    from wallwm_model.train.launch import torchrun_group, wait

    with torchrun_group():
        for folder, pauses, sharded in (("plain", (4,), False), ("sharded", (4,), True), ("resumed", (2, 4), True)):
            prepare("tiny-adam", data, out / folder)
            for stage in ("video", "action"):
                for steps in pauses:
                    run("tiny-adam", stage, data, out / folder, steps, sharded)
                    wait()
        try:
            run("tiny-adam", "video", data, out / "sharded", 6, False)
        except Exception as error:
            (out / f"refused-{os.environ['RANK']}.json").write_text(json.dumps([type(error).__name__, str(error)]))


if __name__ == "__main__":
    if os.environ.get("SHARDING"):
        compare_sharded(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        from wallwm_model.train.__main__ import main

        sys.exit(main())
