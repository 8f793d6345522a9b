"""A caption taken apart: which event, which arm, which cube, which pad."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS, TEMPLATES, event_of
from wallwm_model.errors import CaptionError

_CHOICES = {"cube": CUBE_COLOURS, "pad": PAD_COLOURS, "arm": ARMS, "other": ARMS}


@dataclass(frozen=True)
class Event:
    """One event. `cube` and `pad` are empty where the caption names none."""

    name: str
    arm: str
    cube: str = ""
    pad: str = ""

    @property
    def other(self) -> str:
        """The arm that is not `arm`."""
        return "right" if self.arm == "left" else "left"


def parse(text: str) -> Event:
    """Caption -> Event.

    Raises:
        CaptionError: not a sentence of the grammar.
    """
    name = event_of(text)
    pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{'|'.join(_CHOICES[m[1]])})", TEMPLATES[name])
    match = re.fullmatch(pattern, " ".join(text.split()))
    if not match or match.groupdict().get("other") == match["arm"]:
        raise CaptionError(f"a {name} caption must read {TEMPLATES[name]!r}; found {text!r}")
    groups = match.groupdict()
    return Event(name, groups["arm"], groups.get("cube", ""), groups.get("pad", ""))
