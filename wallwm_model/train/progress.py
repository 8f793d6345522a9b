"""What a training shows: a bar with the running losses, a line per validation, a plot."""

from __future__ import annotations

import json
import time
from pathlib import Path

ERRORS = ("_mm", "_steps", "_error")  # how names of held-out errors end
SHARES = ("tokens", "exact", "next_event")  # held-out shares of what is right


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
            shown = " ".join(f"{k} {v:.3g}" for k, v in found.items())
            self.bar.console.print(f"step {step} after {minutes:.1f} min: {shown}")
            plot(self.out, self.stage)


def plot(out: Path, stage: str) -> None:
    """Losses and held-out errors over the steps -> <stage>.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    history = json.loads((out / f"{stage}.json").read_text())["history"]
    keys = [k for k in history[-1] if k != "step" and "p90" not in k]
    errors, shares = [k for k in keys if k.endswith(ERRORS)], [k for k in keys if k in SHARES]
    losses = [k for k in keys if k not in errors + shares]
    panels = [
        (losses, "training loss", "log"), (errors, "held-out error", "log"), (shares, "held-out share", "linear")
    ]  # fmt: skip
    panels = [panel for panel in panels if panel[0]]
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), squeeze=False)
    for axis, (chosen, title, scale) in zip(axes[0], panels, strict=True):
        for key in chosen:
            axis.plot([h["step"] for h in history], [h.get(key) for h in history], label=key)
        axis.set(xlabel="step", yscale=scale, title=f"{stage} stage: {title}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / f"{stage}.png", dpi=100)
    plt.close(figure)
