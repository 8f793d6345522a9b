"""Texts of the language side as ids and back: by a closed list of words, or by the tokenizer of Qwen. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from wallwm_model import captions, wording
from wallwm_model.subwords import PADDING, plain_ids, read_tokenizer

QWEN_IDS = 151_936  # rows of the table of embeddings of Qwen2.5-VL-3B and of Qwen2.5-0.5B
QWEN_END, QWEN_THINK = 151_645, 151_644  # <|im_end|>, <|im_start|>
QWEN_PICTURE, QWEN_PICTURE_END, QWEN_PICTURE_TOKEN = 151_652, 151_653, 151_655


class Lexicon(Protocol):
    """What texts are made of; id 0 is padding.

    Attributes:
        size: how many ids there are.
        end: the id that ends a reasoning text; -1: none does.
    """

    size: int
    end: int

    def caption(self, text: str, length: int) -> np.ndarray:
        """Caption or instruction -> ids (length,) int64, padded.

        Raises:
            CaptionError: empty, too long, or with a word or mark that has no id.
        """

    def reason(self, text: str, length: int) -> list[int]:
        """A reasoning text -> `length` ids: its own, `end`, padding.

        Raises:
            CaptionError: too long, or with a word that has no id.
        """

    def text(self, ids: Iterable[int]) -> str:
        """The way back: up to `end`, without padding."""


@dataclass(frozen=True)
class WordList:
    """A closed list of words, in id order (`wording.vocabulary`)."""

    words: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.words)

    @property
    def end(self) -> int:
        return self.words.index(wording.END) if wording.END in self.words else -1

    def caption(self, text: str, length: int) -> np.ndarray:
        """See `Lexicon`."""
        return captions.tokenise(text, self.words, length)

    def reason(self, text: str, length: int) -> list[int]:
        """See `Lexicon`."""
        return wording.encode(text, self.words, length)

    def text(self, ids: Iterable[int]) -> str:
        """See `Lexicon`."""
        return wording.decode(ids, self.words)


@dataclass(frozen=True)
class Qwen:
    """Any text, by the `tokenizer.json` of a public Qwen2.5 checkpoint.

    Qwen's id 0 is an exclamation mark with no space before it. Here it is padding, so texts may not have one.
    """

    file: Path | None
    size: int = QWEN_IDS
    end: int = QWEN_END

    def caption(self, text: str, length: int) -> np.ndarray:
        """See `Lexicon`."""
        return np.array(self._padded(self._ids(text, length), length), np.int64)

    def reason(self, text: str, length: int) -> list[int]:
        """See `Lexicon`."""
        return self._padded([*self._ids(text, length - 1), self.end], length)

    def text(self, ids: Iterable[int]) -> str:
        """See `Lexicon`."""
        found = [int(i) for i in ids]
        found = found[: found.index(self.end)] if self.end in found else found
        return read_tokenizer(self.file).decode([i for i in found if i != PADDING]).strip()

    def _ids(self, text: str, most: int) -> list[int]:
        return plain_ids(" ".join(text.split()), self.file, self.size, most)

    @staticmethod
    def _padded(ids: list[int], length: int) -> list[int]:
        return ids + [PADDING] * (length - len(ids))
