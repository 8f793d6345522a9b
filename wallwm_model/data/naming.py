"""Which things a caption or an instruction names, as rows of `ground_xyz`: cubes, then pads, then grippers."""

from __future__ import annotations

import re

import numpy as np

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS

THINGS = (*CUBE_COLOURS, *PAD_COLOURS, *ARMS)
# A hand-over's instruction says which arm takes the cube; which one acts first is left to the eye.
_NAMED = (r"(\w+) cube", r"(\w+) pad", r"(?:with|retract) the (\w+) arm")


def named_things(text: str) -> np.ndarray:
    """(3,) int64: the cube, the pad and the acting gripper that are named; `len(THINGS)` for none."""
    found = (re.search(pattern, text) for pattern in _NAMED)
    return np.array([THINGS.index(match[1]) if match else len(THINGS) for match in found])
