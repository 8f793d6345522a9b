"""The fields of a protobuf message, without its library: enough to look into a file that is not trusted."""

from __future__ import annotations

from collections.abc import Iterator

from wallwm_model.errors import BundleError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | memoryview


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field of a message, in order; nested messages come as bytes.

    Raises:
        BundleError: a length that points beyond the data, or no protobuf at all.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind not in (FIXED64, BYTES, FIXED32) or number == 0:
            raise BundleError(f"a graph must be protobuf; found a field of kind {kind} at byte {at}")
        size, at = _varint(data, at) if kind == BYTES else (8 if kind == FIXED64 else 4, at)
        if size > len(data) - at:
            raise BundleError(f"a graph must be complete; a field of {size} bytes at byte {at} is cut off")
        yield number, data[at : at + size]
        at += size


def numbers(value: Value) -> list[int]:
    """The integers of a repeated field, packed or single."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(signed(number))
    return found


def signed(value: int) -> int:
    """A varint as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def text(value: Value) -> str:
    """The string of a field.

    Raises:
        BundleError: not a string.
    """
    try:
        return bytes(value).decode() if isinstance(value, memoryview) else _no_text(value)
    except UnicodeDecodeError as error:
        raise BundleError(f"a graph's names must be UTF-8; found {error}") from None


def message(value: Value) -> memoryview:
    """The bytes of a nested message.

    Raises:
        BundleError: a number where a message must be.
    """
    return value if isinstance(value, memoryview) else _no_text(value)


def _no_text(value: object) -> memoryview:
    raise BundleError(f"a graph must have bytes where its format says so; found the number {value}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise BundleError(f"a graph must be protobuf; found a broken number at byte {at}")
