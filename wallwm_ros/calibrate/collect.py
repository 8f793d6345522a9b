"""Views of the board out of a stream of pictures: keeps what is new, counts the rest, shows what lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from rich.console import Console
from rich.live import Live

from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.coverage import Coverage, Need
from wallwm_model.calibration_tools.detect import Detector, Miss, View
from wallwm_model.calibration_tools.diagnose import diagnose
from wallwm_model.calibration_tools.frames import Frame
from wallwm_model.calibration_tools.intrinsics import marker_ratio
from wallwm_model.errors import CalibrationError
from wallwm_ros.calibrate.screen import show

APART_NS = 150_000_000  # pictures of a stream nearer than this show the same
KEPT_PICTURES = 6  # of those that could not be used, to find out why
MARKER_TOLERANCE = 0.12


@dataclass
class Collected:
    """What came of a stream.

    Attributes:
        board: what was looked for.
        frames: those used, with their views.
        misses: pictures in which the board was not found.
        skipped: why other pictures were not used -> how many.
        unused: a few pictures of the misses, grey.
    """

    board: Board
    frames: list[tuple[Frame, View]] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unused: list[np.ndarray] = field(default_factory=list)

    @property
    def views(self) -> list[View]:
        """Those kept."""
        return [view for _, view in self.frames]

    @property
    def count(self) -> int:
        """Pictures looked at."""
        return len(self.frames) + len(self.misses) + sum(self.skipped.values())

    def require(self, least: int) -> None:
        """Refuse a collection that is too small, with the reason.

        Raises:
            CalibrationError: fewer views than `least`.
        """
        if len(self.frames) >= least:
            return
        text = f"too few views: at least {least} must show the board ({self.board}); found {len(self.frames)}"
        text += f" in {self.count} pictures"
        if self.misses:
            text += f"; not used: {diagnose(self.board, self.misses, self.unused)}"
        if self.skipped:
            text += "; passed over: " + ", ".join(f"{n} {why}" for why, n in self.skipped.most_common())
        raise CalibrationError(text)

    def check_markers(self) -> None:
        """Refuse a board whose markers have another size than told: then the squares may be wrong, too.

        Raises:
            CalibrationError: names both sizes.
        """
        detector = Detector(self.board)
        middle = sorted(self.frames, key=lambda pair: -len(pair[1].ids))[:5]
        ratios = [marker_ratio(self.board, grey(frame.picture), view, detector) for frame, view in middle]
        known = [ratio for ratio in ratios if ratio is not None]
        if known and abs(float(np.median(known)) - 1) > MARKER_TOLERANCE:
            found = float(np.median(known)) * self.board.marker_m / self.board.square_m
            raise CalibrationError(
                f"markers must be {self.board.marker_m / self.board.square_m:.2f} of a square as told by "
                f"--square and --marker; found {found:.2f}: measure both on the print"
            )


def gather(
    frames: Iterable[Frame],
    board: Board,
    coverage_of: Callable[[tuple[int, int]], Coverage],
    needs_of: Callable[[Coverage, Collected], list[Need]],
    console: Console,
    live: bool,
    selective: bool,
    usable: Callable[[Frame], str] = lambda frame: "",
) -> Collected:
    """Look for the board in all pictures, or in live ones until nothing lacks or Ctrl-C.

    Args:
        frames: pictures.
        board: what to look for.
        coverage_of: picture size (width, height) -> an empty coverage.
        needs_of: what lacks.
        console: where guidance is shown.
        live: stop when nothing lacks.
        selective: keep only views that differ from those kept.
        usable: why a frame is not used although it shows the board; empty: it is.
    """
    collected, detector, coverage = Collected(board), Detector(board), None
    with Live(console=console, auto_refresh=False, transient=not live) as screen:
        try:
            for frame in _apart(frames) if selective else frames:
                height, width = frame.picture.shape[:2]
                coverage = coverage or coverage_of((width, height))
                word = _take(frame, detector, coverage, collected, selective, usable)
                needs = needs_of(coverage, collected)
                screen.update(show(needs, coverage, word, live), refresh=True)
                if live and all(need.met for need in needs):
                    break
        except KeyboardInterrupt:
            if not live or not collected.frames:
                raise
            console.print("stopped; calibrating with what there is")
    return collected


def grey(picture: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB -> (H, W)."""
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _take(
    frame: Frame, detector: Detector, coverage: Coverage, collected: Collected, selective: bool, usable
) -> str:
    """Use one picture or count why not; -> a word about it."""
    if (frame.picture.shape[1], frame.picture.shape[0]) != coverage.size:
        raise CalibrationError(
            f"all pictures must have the same size; found {coverage.size[0]}x{coverage.size[1]} and, at "
            f"{frame.source}, {frame.picture.shape[1]}x{frame.picture.shape[0]}"
        )
    found = detector.find(frame.picture, frame.source, frame.stamp_ns)
    if isinstance(found, Miss):
        collected.misses.append(found)
        if len(collected.unused) < KEPT_PICTURES:
            collected.unused.append(grey(frame.picture))
        return found.reason
    why = usable(frame)
    if not why and selective and not coverage.is_new(found):
        why = "like one that is kept"
    if why:
        collected.skipped[why] += 1
        return why
    coverage.add(found)
    collected.frames.append((frame, found))
    return "kept"


def _apart(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Drop pictures of a stream that follow too closely."""
    last = None
    for frame in frames:
        if last is None or not 0 <= frame.stamp_ns - last < APART_NS:
            last = frame.stamp_ns
            yield frame
