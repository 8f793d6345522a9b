"""Camera pictures: Image and CompressedImage messages -> RGB arrays, and back, without cv_bridge.

`check` is cheap and runs as a picture arrives; `decode` runs off the executor's thread, and only for the
pictures that an observation really uses.
"""

from __future__ import annotations

import array
import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from wallwm_model.errors import ObservationError
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.robot import Camera

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}
# name -> how such data begins, and what a whole picture ends with (decoders paint over what is missing)
FORMATS = {"jpeg": (b"\xff\xd8\xff", b"\xff\xd9"), "png": (b"\x89PNG", b"IEND")}
SAMPLE = 4096  # bytes that are compared first
_TAIL = 64  # bytes in which the end is looked for; some encoders pad
_HEAD = 65536  # bytes in which a JPEG tells its size; the thumbnail of a still camera may come first
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG segments that begin with the size
_TO_RGB = {"bgr8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB}

Picture = Image | CompressedImage


def message_type(camera: Camera) -> type:
    """The message class of a camera's topic."""
    return CompressedImage if camera.transport == "compressed" else Image


def check(message: Picture, size: tuple[int, int] | None) -> None:
    """Refuse a picture that `decode` could not use; `size` = (height, width) [px] if it is known.

    Of a compressed picture only the first and last bytes are read.

    Raises:
        ObservationError: encoding, size or amount of data; says what was expected and found.
    """
    if isinstance(message, CompressedImage):
        kind = _whole(message)
        found = packed_size(bytes(message.data[:_HEAD]), kind) if size is not None else None
        if found is not None:
            _check_size(found, size)
        return
    if message.encoding not in CHANNELS:
        raise ObservationError(f"encoding must be one of {', '.join(CHANNELS)}; found {message.encoding!r}")
    _check_size((message.height, message.width), size)
    row = message.width * CHANNELS[message.encoding]
    if message.step < row or len(message.data) < message.step * message.height:
        raise ObservationError(
            f"a {message.width}x{message.height} {message.encoding} picture needs rows of at least {row} "
            f"bytes and {message.step * message.height} bytes in all; found rows of {message.step} and "
            f"{len(message.data)} bytes"
        )


def decode(message: Picture, size: tuple[int, int] | None = None) -> np.ndarray:
    """Message -> (H, W, 3) uint8 RGB; an rgb8 picture is a view of the message's own bytes.

    Raises:
        ObservationError: see `check`; and for compressed data that cannot be decoded or has another size.
    """
    check(message, size)
    if isinstance(message, CompressedImage):
        return _decompress(message, size)
    channels = CHANNELS[message.encoding]
    picture = np.ndarray(
        (message.height, message.width, channels),
        np.uint8,
        buffer=message.data,
        strides=(message.step, channels, 1),
    )
    return picture if message.encoding == "rgb8" else cv2.cvtColor(picture, _TO_RGB[message.encoding])


def image_message(picture: np.ndarray, frame: str, stamp_ns: int) -> Image:
    """(H, W, 3) uint8 RGB -> sensor_msgs/Image, `rgb8`."""
    height, width, _ = picture.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id, message.header.stamp = frame, to_stamp(stamp_ns)
    # An array.array goes into the message as it is; any other sequence is checked byte by byte.
    message.data = array.array("B", picture.tobytes())
    return message


def same(one: Picture, other: Picture) -> bool:
    """Whether two pictures have the same data.

    The noise of a live camera shows in a sample spread over the picture; only where that is the same are all
    bytes compared.
    """
    first, second = np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8)
    if first.size != second.size:
        return False
    step = max(1, first.size // SAMPLE)
    return np.array_equal(first[::step], second[::step]) and np.array_equal(first, second)


def _decompress(message: CompressedImage, size: tuple[int, int] | None) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise _broken(_format(message), len(data))
    _check_size(picture.shape[:2], size)
    return picture


def packed_size(start: bytes, kind: str) -> tuple[int, int] | None:
    """(height, width) [px] that the first bytes of a compressed picture tell; None where they do not."""
    if kind == "png":
        told = start[12:16] == b"IHDR" and len(start) >= 24
        return struct.unpack(">II", start[16:24])[::-1] if told else None
    at = 2
    while at + 9 <= len(start) and start[at] == 0xFF:
        if start[at + 1] in _FRAMES:
            return struct.unpack(">HH", start[at + 5 : at + 9])
        at += 2 + int.from_bytes(start[at + 2 : at + 4], "big")
    return None


def _whole(message: CompressedImage) -> str:
    """The compression of a picture that has an end: decoders paint over what is missing."""
    kind = _format(message)
    if FORMATS[kind][1] not in bytes(message.data[-_TAIL:]):
        raise _broken(kind, len(message.data))
    return kind


def _broken(kind: str, length: int) -> ObservationError:
    return ObservationError(f"{kind} data must be whole; found {length} bytes that do not make a picture")


def _format(message: CompressedImage) -> str:
    """The compression of a picture, from its first bytes; the `format` text differs between publishers."""
    start = bytes(message.data[:8])
    for name, (magic, _) in FORMATS.items():
        if start.startswith(magic):
            return name
    valid = ", ".join(FORMATS)
    raise ObservationError(f"compressed data must be one of {valid}; found format {message.format!r}")


def _check_size(found: tuple[int, int], size: tuple[int, int] | None) -> None:
    if size is not None and tuple(found) != tuple(size):
        raise ObservationError(f"size must be {size[1]}x{size[0]} as calibrated; found {found[1]}x{found[0]}")
