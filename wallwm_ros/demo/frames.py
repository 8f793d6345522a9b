"""One frame of the demonstration's film: the cameras, the caption, how far it is."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

VIEW, HEAD, WRIST, GAP, MARGIN, TOP, BOTTOM = 576, 380, 186, 8, 12, 52, 92
WIDTH = MARGIN + VIEW + GAP + HEAD + MARGIN
HEIGHT = TOP + VIEW + BOTTOM
THOUGHT = 120  # letters in a line of reasoning
BACKGROUND = (16, 18, 22)
TEXT, FAINT, ACCENT = (236, 238, 242), (140, 146, 156), (86, 156, 255)
COLOURS = {"success": (96, 205, 120), "failure": (245, 110, 95), "": FAINT}
_RIGHT, _LOW = MARGIN + VIEW + GAP, TOP + VIEW - WRIST
# Left edge, upper edge, side length [px] and label of each camera's picture.
PLACES = {
    "overview": (MARGIN, TOP, VIEW, "spectator, unseen by the model"),
    "head_cam": (_RIGHT, TOP, HEAD, "head"),
    "wrist_cam_left": (_RIGHT, _LOW, WRIST, "left wrist"),
    "wrist_cam_right": (_RIGHT + HEAD - WRIST, _LOW, WRIST, "right wrist"),
}


@dataclass(frozen=True)
class Subtitle:
    """What is written around the pictures.

    Attributes:
        title: upper left, e.g. `episode 1 of 2 · pick_place · seed 7`.
        verdict: upper right, e.g. `success`.
        kind: `success`, `failure` or empty: the verdict's colour.
        caption: the event being carried out.
        detail: lower right, e.g. `step 12 of 31`.
        progress: 0 to 1; None: there is no bar.
        thought: the model's reasoning, below the caption.
    """

    title: str = ""
    verdict: str = ""
    kind: str = ""
    caption: str = ""
    detail: str = ""
    progress: float | None = 0.0
    thought: str = ""


@lru_cache(maxsize=8)
def _font(size: int, bold: bool = False):
    # matplotlib ships DejaVu, so that the film looks the same on machines without any system font.
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


@lru_cache(maxsize=256)
def _words(text: str, size: int, colour: tuple[int, int, int], bold: bool) -> np.ndarray:
    """Text on the background as (h, w, 3) uint8; most texts stay for many frames, hence the cache."""
    from PIL import Image, ImageDraw

    font = _font(size, bold)
    left, _, right, _ = font.getbbox(text)
    picture = Image.new("RGB", (max(1, right - left + 2), int(size * 1.4)), BACKGROUND)
    ImageDraw.Draw(picture).text((1 - left, 0), text, font=font, fill=colour)
    return np.asarray(picture)


def _write(
    frame: np.ndarray,
    text: str,
    x: int,
    y: int,
    size: int,
    colour: tuple[int, int, int] = TEXT,
    bold: bool = False,
    align: str = "left",
) -> None:
    """Put text with its upper edge at y; `align` says which of its edges is at x. Too long: cut."""
    if not text:
        return
    words = _words(text, size, colour, bold)
    if align == "right":
        x = max(0, x - words.shape[1])
    height, width = min(words.shape[0], HEIGHT - y), min(words.shape[1], WIDTH - x)
    frame[y : y + height, x : x + width] = words[:height, :width]


@lru_cache(maxsize=1)
def _empty() -> np.ndarray:
    """A frame whose cameras have not delivered yet."""
    frame = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    frame[:] = BACKGROUND
    for x, y, side, _ in PLACES.values():
        frame[y : y + side, x : x + side] = (34, 37, 43)
    return frame


def compose(images: dict[str, np.ndarray], subtitle: Subtitle) -> np.ndarray:
    """Camera name -> (H, W, 3) uint8 RGB, and the words around it -> (HEIGHT, WIDTH, 3) uint8 RGB.

    A camera that has not delivered yet stays dark.
    """
    frame = _empty().copy()
    for name, (x, y, side, label) in PLACES.items():
        if name in images:
            picture = cv2.resize(images[name], (side, side), interpolation=cv2.INTER_CUBIC)
            frame[y : y + side, x : x + side] = picture
        _write(frame, f" {label} ", x, y + side - 20, 13, FAINT)
    _write(frame, subtitle.title, MARGIN, 15, 17, FAINT)
    _write(frame, subtitle.verdict, WIDTH - MARGIN, 15, 17, COLOURS[subtitle.kind], True, "right")
    base = TOP + VIEW
    _write(frame, subtitle.caption, MARGIN, base + 18, 21, TEXT, True)
    _write(frame, subtitle.detail, WIDTH - MARGIN, base + 22, 15, FAINT, False, "right")
    if subtitle.progress is not None:
        _bar(frame, MARGIN, base + 60, WIDTH - 2 * MARGIN, 8, subtitle.progress)
    for line, words in enumerate(textwrap.wrap(subtitle.thought, THOUGHT)[:2]):
        _write(frame, words, MARGIN, base + 49 + 19 * line, 14, FAINT)
    return frame


def _bar(frame: np.ndarray, x: int, y: int, width: int, height: int, progress: float) -> None:
    """A progress bar; `progress` 0 to 1."""
    full = int(round(width * min(1.0, max(0.0, progress))))
    frame[y : y + height, x : x + width] = (44, 48, 56)
    frame[y : y + height, x : x + full] = ACCENT
