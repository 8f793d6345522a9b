"""Public tokenizers, and captions as ids of one, for models whose text encoder is UMT5. No torch.

A file is the `tokenizer.json` of a public checkpoint; it lies beside the model's `spec.json`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.errors import CaptionError, SpecError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE, LANGUAGE_FILE = "tokenizer.json", "tokenizer-language.json"
PADDING = 0
UMT5_IDS = 256_384  # rows of UMT5's table of embeddings
UMT5_LENGTH = 512  # tokens of a prompt in Wan


def tokenise(text: str, file: Path | None, length: int) -> np.ndarray:
    """Caption -> token ids (length,) int64, its end mark included, padded with 0.

    Raises:
        CaptionError: an empty caption, one that is too long, or one with a mark of the tokenizer's own; nothing is
            cut off silently.
        SpecError: no usable tokenizer there, or one whose padding id is not 0.
    """
    words, tokenizer = " ".join(text.split()), read_tokenizer(file)
    if tokenizer.token_to_id("<pad>") != PADDING:
        found = tokenizer.token_to_id("<pad>")
        raise SpecError(f"the tokenizer's padding <pad> must have id {PADDING}; found {found} in {file}")
    end = tokenizer.token_to_id("</s>")
    ids = plain_ids(words, file, UMT5_IDS, length - 1)
    out = np.full(length, PADDING, dtype=np.int64)
    out[: len(ids) + 1] = [*ids, end]
    return out


def plain_ids(text: str, file: Path | None, size: int, most: int) -> list[int]:
    """Ids of a text's own tokens.

    Args:
        size: how many ids the model has.
        most: tokens that there may be.

    Raises:
        CaptionError: none, too many, or marks that mean something else to the model, such as padding.
        SpecError: see `read_tokenizer`; or a tokenizer of more ids.
    """
    tokenizer = read_tokenizer(file)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if not 0 < len(ids) <= most:
        raise CaptionError(f"a text must have 1 to {most} tokens; found {len(ids)} in {text[:40]!r}")
    marks = {PADDING} | {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    if found := sorted(marks.intersection(ids)):
        raise CaptionError(f"a text may not have the mark {tokenizer.id_to_token(found[0])!r}; found it in {text[:40]!r}")
    if max(ids) >= size:
        raise SpecError(f"ids of {file} must be below {size}; found {max(ids)}")
    return ids


def read_tokenizer(file: Path | None) -> Tokenizer:
    """The tokenizer in a file of Hugging Face's `tokenizers`.

    Raises:
        SpecError: no such file, or none of a tokenizer.
    """
    if file is None or not file.is_file():
        raise SpecError(f"texts of this model need a tokenizer beside its spec.json; found {file or 'no folder'}")
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(file: Path, changed: int) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise SpecError("texts of this model need the package tokenizers (requirements/train.txt); found none") from None
    try:
        made = Tokenizer.from_file(str(file))
    except Exception as error:  # what the library raises has no type of its own
        raise SpecError(f"{file} must be a file of the package tokenizers; found: {str(error)[:120]}") from None
    made.no_padding()
    made.no_truncation()
    return made
