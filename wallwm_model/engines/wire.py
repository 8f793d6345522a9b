"""Messages as bytes: msgpack with numpy arrays, as openpi-client's `msgpack_numpy` has it.

Both give the same bytes for the same object. Nothing that is read runs code: there is no pickle, and arrays
of objects or of records are refused, as are sizes that the message itself does not bear out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from wallwm_model.errors import WireError

LARGEST = 64 << 20  # bytes of a message that nobody has set another limit for
MOST_ITEMS = 4096  # entries of one list or map: whatever is long travels as an array
LONGEST_TEXT = 65_536  # bytes
MOST_AXES = 8
KINDS = "biufSUMm"  # kinds of values: openpi-client's, which has no objects, records or complex numbers


def pack(message: Any) -> bytes:
    """A message as bytes.

    Raises:
        WireError: it holds something that has no place in a message.
    """
    try:
        return msgpack.packb(message, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(
            f"a message must hold numbers, text, bytes, lists, maps and arrays; found {error}"
        ) from error


def unpack(data: bytes, largest: int = LARGEST) -> Any:
    """A message from bytes; its arrays are read-only views into them.

    Args:
        largest: size limit [bytes].

    Raises:
        WireError: larger, not one whole message of msgpack, or an array that is not what it says.
    """
    if not isinstance(data, bytes):
        raise WireError(f"a message must be a binary frame; found {type(data).__name__}")
    if len(data) > largest:
        raise WireError(f"a message may have {largest} bytes; found {len(data)}")
    try:
        # msgpack makes room for as many entries as a list says it has, so that has to be bounded too.
        return msgpack.unpackb(
            data,
            object_hook=_array,
            max_str_len=LONGEST_TEXT,
            max_array_len=MOST_ITEMS,
            max_map_len=MOST_ITEMS,
            max_ext_len=0,
        )
    except WireError:
        raise
    except Exception as error:  # several unrelated classes, ValueError and UnicodeDecodeError among them
        what = str(error) or type(error).__name__
        raise WireError(f"a message must be whole and of msgpack; found {len(data)} bytes: {what}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in KINDS:
            raise TypeError(f"values of dtype {value.dtype}")
        facts = {b"dtype": value.dtype.str}
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), **facts, b"shape": value.shape}
        return {b"__npgeneric__": True, b"data": value.item(), **facts}
    raise TypeError(f"a {type(value).__name__}")


def _array(body: Mapping[Any, Any]) -> Any:
    """The array or number that a map stands for, else the map."""
    if b"__ndarray__" in body:
        dtype, data = _dtype(body), body.get(b"data")
        shape = _shape(body.get(b"shape"))
        count = 1
        for size in shape:
            count *= size  # of Python's own whole numbers, which do not wrap around
        if not isinstance(data, bytes) or count * dtype.itemsize != len(data):
            found = len(data) if isinstance(data, bytes) else type(data).__name__
            raise WireError(
                f"an array {shape} of {dtype} must have {count * dtype.itemsize} bytes; found {found}"
            )
        return np.ndarray(shape, dtype, data)
    if b"__npgeneric__" in body:
        dtype, value = _dtype(body), body.get(b"data")
        if not isinstance(value, (bool, int, float, str, bytes)):
            raise WireError(f"a number of {dtype} must be one value; found {type(value).__name__}")
        try:
            return dtype.type(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise WireError(f"a number must be of its dtype {dtype}; found {value!r:.40}") from error
    return body


def _dtype(body: Mapping[Any, Any]) -> np.dtype:
    name = body.get(b"dtype")
    try:
        # Anything but short text could describe records, which numpy would go on to build.
        dtype = np.dtype(name) if isinstance(name, str) and len(name) <= 16 else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in KINDS or dtype.hasobject or dtype.itemsize == 0:
        raise WireError(
            f"an array's dtype must be of whole or real numbers, bool, text or time; found {name!r:.40}"
        )
    return dtype


def _shape(shape: Any) -> tuple[int, ...]:
    whole = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    if not whole or len(shape) > MOST_AXES:
        raise WireError(f"an array's shape must be at most {MOST_AXES} whole numbers; found {shape!r:.60}")
    return tuple(shape)
