"""The words of the language side: those of captions and instructions, and those of reasoning texts.

The word list starts with the captions' own words in their own order, so that an encoder trained on captions
can be widened without moving an id.
"""

from __future__ import annotations

from wallwm_model import captions
from wallwm_model.errors import CaptionError

# No word here may be a side unless it means one: mirrored moments swap them.
REASONING = (
    "the {cube} cube is {place} , the {pad} pad is {region} . {last} is done . "
    "next {caption} . {events} , about {seconds} remain ."
)
PLACES = {
    "table": "on the table {region}",
    "pad": "on the {pad} pad",
    "one": "in the {arm} gripper",
    "both": "in both grippers",
}
REGIONS = ("near left", "near right", "far left", "far right")
LARGEST = 16  # number that a reasoning text may hold
PAD, END, THINK, PICTURE, PICTURE_END = "<pad>", "<end>", "<think>", "<picture>", "</picture>"


def vocabulary() -> tuple[str, ...]:
    """Words of captions, instructions and reasoning texts; the first ids are `captions.vocabulary`'s."""
    known = captions.vocabulary()
    templates = (REASONING, *PLACES.values(), *REGIONS)
    new = {w for t in templates for w in t.split() if not w.startswith("{")}
    new |= {
        "nothing",
        "event",
        "events",
        "second",
        "seconds",
        *captions.EVENTS,
        *(str(n) for n in range(1, LARGEST + 1)),
    } - set(known)
    return (*known, *sorted(new - set(known)), END, THINK, PICTURE, PICTURE_END)


def encode(text: str, words: tuple[str, ...], length: int) -> list[int]:
    """A reasoning text -> `length` ids: its words and marks, `END`, padding.

    Raises:
        CaptionError: longer than `length` - 1 words, or a word outside `words`.
    """
    ids = {word: i for i, word in enumerate(words)}
    found = text.split()
    unknown = [word for word in found if word not in ids]
    if unknown or len(found) >= length:
        what = f"the unknown word {unknown[0]!r}" if unknown else f"{len(found)} words"
        raise CaptionError(
            f"a reasoning text must have at most {length - 1} known words; found {what} in {text!r}"
        )
    return [*(ids[word] for word in found), ids[END]] + [0] * (length - 1 - len(found))


def decode(ids, words: tuple[str, ...]) -> str:
    """Ids -> text: up to `END`, without padding."""
    found = [words[int(i)] for i in ids]
    found = found[: found.index(END)] if END in found else found
    return " ".join(word for word in found if word != PAD)


def readable(text: str) -> str:
    """A text of words and marks apart, as people write it."""
    return text.replace(" ,", ",").replace(" .", ".")
