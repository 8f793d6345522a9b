"""The event grammar: which captions the simulated robot's events have, and how they become word ids."""

from __future__ import annotations

import difflib

import numpy as np

from wallwm_model.errors import CaptionError

ARMS = ("left", "right")
CUBE_COLOURS = ("red", "green", "blue", "yellow")
PAD_COLOURS = ("white", "orange", "purple")
UNSEEN_PAIRS = (("green", "orange"), ("yellow", "purple"))  # cube and pad that training never brings together

# One sentence per event type. `other` is the arm that is not `arm`.
TEMPLATES = {
    "reach": "reach the {cube} cube with the {arm} arm",
    "grasp": "grasp the {cube} cube with the {arm} arm",
    "lift": "lift the {cube} cube with the {arm} arm",
    "move": "move the {cube} cube over the {pad} pad with the {arm} arm",
    "place": "place the {cube} cube on the {pad} pad with the {arm} arm",
    "retract": "retract the {arm} arm",
    "offer": "offer the {cube} cube to the {other} arm with the {arm} arm",
    "meet": "meet the {cube} cube in the {other} gripper with the {arm} arm",
    "take": "take the {cube} cube from the {other} gripper with the {arm} arm",
    "release": "release the {cube} cube to the {other} gripper with the {arm} arm",
}
EVENTS = tuple(TEMPLATES)

# One sentence per whole task, as an operator would say it; `arm` is the one that picks.
INSTRUCTIONS = {
    "pick_place": "put the {cube} cube on the {pad} pad with the {arm} arm",
    "handover": "hand the {cube} cube to the {other} arm and put it on the {pad} pad",
}


def caption(event: str, *, arm: str, cube: str = "", pad: str = "") -> str:
    """The sentence of one event, e.g. `caption("reach", arm="left", cube="red")`."""
    if event not in TEMPLATES:
        raise CaptionError(f"event must be one of {', '.join(EVENTS)}; found {event!r}")
    other = "right" if arm == "left" else "left"
    return TEMPLATES[event].format(arm=arm, other=other, cube=cube, pad=pad)


def instruction(task: str, *, arm: str, cube: str, pad: str) -> str:
    """The sentence of a whole task, e.g. `instruction("pick_place", arm="left", cube="red", pad="white")`."""
    if task not in INSTRUCTIONS:
        raise CaptionError(f"task must be one of {', '.join(INSTRUCTIONS)}; found {task!r}")
    other = "right" if arm == "left" else "left"
    return INSTRUCTIONS[task].format(arm=arm, other=other, cube=cube, pad=pad)


def mirror(text: str) -> str:
    """The caption or instruction of the left-right mirrored event or task."""
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in text.split())


def event_of(text: str) -> str:
    """The event type of a caption: its first word."""
    word = text.split()[0] if text.split() else ""
    if word not in TEMPLATES:
        raise CaptionError(f"a caption must start with one of {', '.join(EVENTS)}; found {text!r}")
    return word


def vocabulary() -> tuple[str, ...]:
    """Every word of captions and instructions, in a fixed order; id 0 is padding."""
    words = {w for t in (*TEMPLATES.values(), *INSTRUCTIONS.values()) for w in t.split() if not w.startswith("{")}
    words |= {*ARMS, *CUBE_COLOURS, *PAD_COLOURS}
    return ("<pad>", *sorted(words))


def tokenise(text: str, words: tuple[str, ...], length: int) -> np.ndarray:
    """Caption -> ids (length,) int64, padded with 0.

    Raises:
        CaptionError: empty, longer than `length` words, or with a word outside `words`.
    """
    found = text.lower().replace(",", " ").replace(".", " ").split()
    if not 0 < len(found) <= length:
        raise CaptionError(f"a caption must have 1 to {length} words; found {len(found)} in {text!r}")
    ids = {word: i for i, word in enumerate(words) if i}
    for word in found:
        if word not in ids:
            near = difflib.get_close_matches(word, ids, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise CaptionError(
                f"unknown word {word!r} in {text!r}: {hint}the model knows {', '.join(words[1:])}"
            )
    out = np.zeros(length, dtype=np.int64)
    out[: len(found)] = [ids[word] for word in found]
    return out
