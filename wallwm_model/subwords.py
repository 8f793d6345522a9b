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
        CaptionError: an empty caption, or one that is too long; nothing is cut off silently.
        SpecError: no usable tokenizer there, or one whose padding id is not 0.
    """
    words = " ".join(text.split())
    if not words:
        raise CaptionError("a caption must have at least 1 word; found none")
    tokenizer = read_tokenizer(file)
    if tokenizer.token_to_id("<pad>") != PADDING:
        found = tokenizer.token_to_id("<pad>")
        raise SpecError(f"the tokenizer's padding <pad> must have id {PADDING}; found {found} in {file}")
    ids = tokenizer.encode(words).ids
    if len(ids) > length:
        raise CaptionError(f"a caption may have {length} tokens; found {len(ids)} in {words[:40]!r}")
    out = np.full(length, PADDING, dtype=np.int64)
    out[: len(ids)] = ids
    return out


@lru_cache(maxsize=4)
def read_tokenizer(file: Path | None) -> Tokenizer:
    """The tokenizer in a file of Hugging Face's `tokenizers`.

    Raises:
        SpecError: no such file, or none of a tokenizer.
    """
    if file is None or not file.is_file():
        raise SpecError(f"texts of this model need a tokenizer beside its spec.json; found {file or 'no folder'}")
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
