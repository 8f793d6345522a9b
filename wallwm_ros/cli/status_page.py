"""The page of `./wallwm status`: a snapshot of the system as tables."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wallwm_ros.core.system import ACTIVE, CONTROL, OBSERVATION, POLICY, RUNNING, Level, Part, Snapshot
from wallwm_ros.core.window import SHARES

COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.ERROR: "red", Level.STALE: "magenta"}
STATES = {"HOLD": "green", "TRACKING": "cyan", "STOPPING": "yellow", "TAKEOVER": "yellow"}  # others: red
BAR = 20  # characters
# What the control process tells of chunks, joins and time, in the order of the page
CONTROL_FIGURES = {
    "rejected": "{} chunks refused",
    "dropped_steps": "{} late steps dropped",
    "seam_velocity": "seam velocity {} of limit",
    "seam_acceleration": "seam acceleration {} of limit",
    "missed_periods": "{} periods missed",
    "off_us_p99": "periods off by {} us p99",
}
LABEL = 8  # characters


def nothing(domain: int) -> str:
    """The sentence for a domain in which nothing runs."""
    return (
        f"nothing of wallwm runs in ROS domain {domain}: ./wallwm up starts it; "
        "./wallwm demo has a domain of its own, which it prints (--domain)"
    )


def page(now: Snapshot) -> RenderableType:
    """Everything that is known, at most 80 columns wide if the terminal is."""
    if not now.running:
        return Text(nothing(now.domain), style="red")
    parts = [_heading(now), _verdict(now), _nodes(now), _control(now), _goal(now)]
    for table in (_streams(now), _latency(now)):
        parts += [Text(), table] if table is not None else []
    return Group(*(part for part in parts if part is not None))


def _heading(now: Snapshot) -> Text:
    words = [f"domain {now.domain}"] + [f"{name} {value}" for name, value in now.settings.items()]
    return Text.from_markup(f"[bold]wallwm status[/] · {escape(' · '.join(words))}")


def _verdict(now: Snapshot) -> Table:
    """One line if all is well, else one per problem."""
    table = Table.grid(padding=(0, 1))
    if not now.problems:
        table.add_row("[green]●[/]", "[green]sound[/]")
    for text in now.problems:
        table.add_row("[red]●[/]", Text(text, style="red"))
    for text in now.warnings:
        table.add_row("[yellow]●[/]", Text(text, style="yellow"))
    return table


def _nodes(now: Snapshot) -> Table:
    words = []
    for name, state in now.nodes.items():
        colour = "green" if state in (ACTIVE, RUNNING) else "red"
        words.append(f"{name} [{colour}]{state}[/]")
    return _labelled("nodes", Text.from_markup(" · ".join(words)))


def _labelled(label: str, *lines: RenderableType) -> Table:
    """Lines behind a label; long ones are folded beside it."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=LABEL, style="bold")
    table.add_column(overflow="fold")
    for i, line in enumerate(lines):
        table.add_row("" if i else label, line)
    return table


def _control(now: Snapshot) -> Table | None:
    control = now.control
    if control is None:
        return None
    state = Text(control.state, style=STATES.get(control.state, "red"))
    lines = [Text.assemble(state, " ", control.reason)]
    figures = _figures(now)
    return _labelled("control", *lines, *([Text(figures, style="dim")] if figures else []))


def _goal(now: Snapshot) -> Table:
    goal = now.goal
    if goal is None:
        return _labelled("goal", "[dim]none[/]")
    more = f" · {goal.open - 1} waiting" if goal.open > 1 else ""
    caption = f"{goal.kind} {goal.caption!r}" if goal.caption else goal.kind
    lines: list[RenderableType] = [Text(f"{caption} · {goal.stage}{more}")]
    if goal.progress is not None:
        bar = Table.grid(padding=(0, 1))
        bar.add_column(width=BAR)
        left = f" · {goal.remaining_s:.1f} s left" if goal.remaining_s else ""
        words = f"{100 * goal.progress:.0f} %{left}"
        bar.add_row(ProgressBar(total=1.0, completed=goal.progress, width=BAR), words)
        lines.append(bar)
    elif goal.remaining_s:
        lines.append(f"{goal.remaining_s:.1f} s left of the present event")
    return _labelled("goal", *lines)


def _streams(now: Snapshot) -> Table | None:
    if not now.streams:
        return None
    table = _table()
    table.add_column("stream", overflow="fold", max_width=24)
    for name in ("age ms", "Hz", "missed", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", ratio=1, overflow="fold")
    for name, part in now.streams.items():
        rate = part.number("rate_hz")
        age = part.number("age_ms")
        counts = (part.values.get("missed", "?"), part.values.get("refused", "?"))
        shown = ("none" if age is None else f"{age:.0f}", "?" if rate is None else f"{rate:.1f}", *counts)
        table.add_row(escape(name), *shown, _judged(part))
    observation = now.parts.get(OBSERVATION)
    if observation is not None:
        table.add_row("together", "", "", "", "", _judged(observation))
    return table


def _judged(part: Part) -> Text:
    verdict = part.values.get("verdict", "sound").replace("_", " ")
    if verdict == "sound":
        verdict = part.text if part.level == Level.OK else "samples are lost"
    return Text(verdict, style=COLOURS[part.level])


def _latency(now: Snapshot) -> Table | None:
    part = now.parts.get(f"{POLICY}: latency")
    stages = [key.removesuffix("_ms_p50") for key in part.values if key.endswith("_ms_p50")] if part else []
    if not stages:
        return None
    table = _table()
    table.add_column("latency ms, last minute", min_width=24)
    for name in (*SHARES, "max"):
        table.add_column(name, justify="right", min_width=7)
    for stage in stages:
        row = (part.number(f"{stage}_ms_{name}") for name in (*SHARES, "max"))
        table.add_row(stage.replace("_", " "), *("?" if value is None else f"{value:.1f}" for value in row))
    return table


def _figures(now: Snapshot) -> str:
    """What is counted and measured in the control process."""
    values: dict[str, float] = dict(now.control.figures) if now.control else {}
    for name, part in now.parts.items():
        if name.startswith(f"{CONTROL}: "):
            values |= {key: part.number(key) for key in part.values if part.number(key) is not None}
    found = [words.format(_short(values[key])) for key, words in CONTROL_FIGURES.items() if key in values]
    return " · ".join(found)


def _short(value: float) -> str:
    return f"{value:.3g}" if value % 1 else f"{value:.0f}"


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
