"""What the demonstration shows in the terminal: live progress, then tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from wallwm_model.eval.intervals import wilson
from wallwm_ros.demo import results
from wallwm_ros.demo.episode import Progress as EventProgress
from wallwm_ros.demo.plan import Episode
from wallwm_ros.demo.results import EpisodeResult, EventResult

STAGE_WORDS = {"waiting": "looking", "inferring": "thinking", "executing": "", "settling": "settling"}


def title(number: int, total: int, episode: Episode) -> str:
    """`episode 1 of 2 · pick_place · seed 7`."""
    return f"episode {number} of {total} · {episode.task} · seed {episode.seed}"


def detail(progress: EventProgress, step_s: float) -> str:
    """`12/31 · 0.9 s left`, or what the policy is busy with before it moves."""
    word = STAGE_WORDS.get(progress.stage, progress.stage)
    if word:
        return word  # also of a task, which counts chunks instead of steps
    total = progress.step + round(progress.remaining_s / step_s)
    return f"{progress.step}/{total} · {progress.remaining_s:.1f} s left"


class EpisodeScreen:
    """A list of the episode's events, each with a bar that fills as the arm moves."""

    def __init__(self, console: Console, heading: str, step_s: float) -> None:
        self._console, self._heading, self._step_s = console, heading, step_s
        self._thought = ""
        self._bars = Progress(
            TextColumn("{task.fields[mark]}"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, min_width=18)),
            console=console,
            refresh_per_second=8,
            expand=True,
        )

    def begin(self, episode: Episode, captions: tuple[str, ...]) -> None:
        self._console.print(f"\n[bold]{escape(self._heading)}[/]")
        for caption in captions:
            self._bars.add_task(f"[dim]{escape(caption)}[/]", total=1.0, mark=" ", detail="")
        self._bars.start()

    def event(self, number: int, caption: str) -> None:
        self._bars.update(number, description=f"[bold]{escape(caption)}[/]", mark="[cyan]▶[/]", completed=0.0)

    def progress(self, number: int, progress: EventProgress) -> None:
        words, known = detail(progress, self._step_s), progress.progress
        if known is None:
            self._bars.update(number, total=None, detail=words)
        else:
            self._bars.update(number, completed=known, detail=words)
        if progress.reasoning not in ("", self._thought):
            self._thought = progress.reasoning
            self._console.print(f"  [dim]{escape(self._thought)}[/]", highlight=False)

    def event_done(self, number: int, result: EventResult) -> None:
        mark = "[green]✓[/]" if result.success else "[red]✗[/]"
        words = f"{result.steps} steps · {result.seconds:.1f} s"
        share = 1.0 if result.completed else min(0.99, result.steps / max(1, result.planned))
        self._bars.update(
            number, description=escape(result.caption), mark=mark, detail=words, completed=share, total=1.0
        )

    def end(self, result: EpisodeResult) -> None:
        self.close()
        word = "[bold green]success[/]" if result.success else "[bold red]failure[/]"
        self._console.print(f"  {word} · {escape(result.outcome)}")

    def close(self) -> None:
        """Stop drawing; also after an interruption."""
        self._bars.stop()


class SeriesScreen:
    """One line for many episodes; failures leave a line each."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._results: list[EpisodeResult] = []
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("episodes", total=total, rate="")
        self._bar.start()

    def begin(self, episode: Episode, captions: tuple[str, ...]) -> None:
        self._bar.update(self._task, description=f"{episode.task} · seed {episode.seed}")

    def event(self, number: int, caption: str) -> None:
        pass

    def progress(self, number: int, progress: EventProgress) -> None:
        pass

    def event_done(self, number: int, result: EventResult) -> None:
        pass

    def end(self, result: EpisodeResult) -> None:
        self._results.append(result)
        done = sum(r.success for r in self._results)
        words = f"{done} succeeded · {100 * done / len(self._results):.0f} %"
        self._bar.update(self._task, completed=len(self._results), rate=words)
        if not result.success:
            self._bar.console.print(
                f"  [red]✗[/] {result.task} seed {result.seed} · {escape(result.outcome)}"
            )
        elif not self._console.is_terminal and len(self._results) % 10 == 0:
            # A log file sees no live line; a sign of life now and then serves it as well.
            self._console.print(f"  {len(self._results)} episodes · {words}")

    def close(self) -> None:
        """Stop drawing; also after an interruption."""
        self._bar.stop()


def event_table(episode: EpisodeResult, heading: str) -> Table:
    """Every event of one episode."""
    table = Table(title=heading, title_justify="left", title_style="bold")
    table.add_column("event", style="cyan")
    table.add_column("caption")
    table.add_column("steps", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("outcome")
    for event in episode.events:
        mark = "[green]✓[/]" if event.success else "[red]✗[/]"
        steps = f"{event.steps}" if event.completed else f"{event.steps} of {event.planned}"
        words = f"{mark} {escape(event.outcome)}"
        table.add_row(event.name, escape(event.caption), steps, f"{event.seconds:.1f}", words)
    return table


def length_table(episodes: Sequence[EpisodeResult]) -> Table:
    """Success and length of every event type over all episodes."""
    table = Table(title="events", title_justify="left", title_style="bold")
    table.add_column("event", style="cyan")
    for name in ("n", "success", "rate", "steps min", "median", "max"):
        table.add_column(name, justify="right")
    for name, row in results.by_event(episodes).items():
        share = f"{100 * row['success'] / row['n']:.0f} %"
        steps = [f"{row[key]:g}" for key in ("steps_min", "steps_median", "steps_max")]
        table.add_row(name, str(row["n"]), str(row["success"]), share, *steps)
    return table


def verdict(episodes: Sequence[EpisodeResult]) -> list[str]:
    """One line per task: `pick_place: 97 of 100 episodes succeeded (97.0 %, 95 % interval 91.5-99.0 %)`."""
    lines = []
    for task in dict.fromkeys(episode.task for episode in episodes):
        group = [episode for episode in episodes if episode.task == task]
        done = sum(episode.success for episode in group)
        low, high = wilson(done, len(group))
        noun = "episode" if len(group) == 1 else "episodes"
        line = f"{task}: {done} of {len(group)} {noun} succeeded"
        if len(group) > 1:
            rate = done / len(group)
            line += f" ({100 * rate:.1f} %, 95 % interval {100 * low:.1f}-{100 * high:.1f} %)"
        lines.append(line)
    return lines
