"""What a training shows: a bar with the running losses, a line per validation, a plot."""

from __future__ import annotations

import json
import time
from pathlib import Path


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
