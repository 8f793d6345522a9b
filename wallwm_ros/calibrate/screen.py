"""Guidance in the terminal while views are being collected."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wallwm_model.calibration_tools.coverage import Coverage, Need
from wallwm_model.calibration_tools.detect import REASONS

_BAR = 12
_SHADES = ((1, "grey23"), (4, "dark_orange"), (12, "yellow3"), (10**9, "green4"))  # corners below -> colour


def show(needs: list[Need], coverage: Coverage, word: str, live: bool) -> RenderableType:
    """What is covered, which regions of the picture were seen, and what to do next."""
    table = Table.grid(padding=(0, 2))
    for need in needs:
        filled = round(_BAR * need.share)
        colour = "green" if need.met else "yellow"
        bar = Text("━" * filled, style=colour) + Text("━" * (_BAR - filled), style="grey23")
        table.add_row(need.what, bar, f"{need.found:g} / {need.wanted:g}")
    # The first need is the mere number of views: what they must show is worth more as advice.
    hint = next((need.hint for need in (*needs[1:], needs[0]) if not need.met and need.hint), "")
    if all(need.met for need in needs):
        advice = Text("enough", style="bold green")
    else:
        advice = Text(f"next: {hint}" if live else f"lacking: {hint}", style="bold")
    last = Text(f"last picture: {REASONS.get(word, word)}", style="dim")
    return Group(Columns([table, _regions(coverage)], padding=(0, 4)), advice, last)


def _regions(coverage: Coverage) -> RenderableType:
    """The picture's regions; brighter where more corners were seen."""
    lines = []
    for row in coverage.grid():
        line = Text()
        for count in row:
            colour = next(shade for limit, shade in _SHADES if count < limit)
            line.append("     ", style=f"on {colour}")
            line.append(" ")
        lines += [line, Text("")]
    return Group(Text("the camera's picture", style="dim"), *lines)
