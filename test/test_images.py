"""Pictures out of ROS messages."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg")
pytestmark = pytest.mark.ros

from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from wallwm_model.errors import ObservationError  # noqa: E402
from wallwm_ros.bridge import images  # noqa: E402

PICTURE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
SMOOTH = np.stack(np.meshgrid(np.arange(64), np.arange(48)), axis=-1)
SMOOTH = np.concatenate([SMOOTH, 100 + 0 * SMOOTH[..., :1]], axis=-1).astype(np.uint8)


def raw(picture, encoding, padding=0):
    height, width = picture.shape[:2]
    rows = np.pad(picture.reshape(height, -1), ((0, 0), (0, padding)), constant_values=7)
    step = rows.shape[1]
    message = Image(height=height, width=width, encoding=encoding, step=step)
    message.data = array.array("B", rows.tobytes())
    return message


def packed(picture, kind):
    message = CompressedImage(format=kind)
    message.data = array.array("B", cv2.imencode(f".{kind}", picture[..., ::-1])[1].tobytes())
    return message


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_raw_pictures_come_out_as_rgb_with_or_without_padded_rows(encoding, channels, padding):
    found = images.decode(raw(PICTURE[..., channels], encoding, padding), (6, 8))
    assert found.dtype == np.uint8 and np.array_equal(found, PICTURE)


def test_an_rgb_picture_is_not_copied():
    message = raw(PICTURE, "rgb8", padding=2)
    found = images.decode(message)
    message.data[0] = 255 - message.data[0]
    assert found[0, 0, 0] == message.data[0]


@pytest.mark.parametrize(("kind", "tolerance"), [("png", 0), ("jpeg", 6)])
def test_compressed_pictures_come_out_as_rgb(kind, tolerance):
    message = packed(SMOOTH, kind)
    images.check(message, None)
    found = images.decode(message, (48, 64))
    assert np.abs(found.astype(int) - SMOOTH).max() <= tolerance


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (raw(PICTURE[..., 0], "mono8"), "one of rgb8, bgr8, rgba8, bgra8; found 'mono8'"),
        (raw(np.zeros((6, 8, 2), np.uint8), "16UC1"), "found '16UC1'"),
        (raw(PICTURE, "rgba8"), "rows of at least 32 bytes"),
        (raw(np.zeros((4, 8, 3), np.uint8), "rgb8"), "size must be 8x6 as calibrated; found 8x4"),
        (CompressedImage(format="bmp"), "one of jpeg, png; found format 'bmp'"),
    ],
)
def test_a_picture_of_no_use_is_refused_as_it_comes(message, words):
    with pytest.raises(ObservationError) as refused:
        images.check(message, (6, 8))
    assert words in str(refused.value)


def test_too_little_data_is_refused():
    message = raw(PICTURE, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(ObservationError, match="144 bytes in all; found rows of 24 and 143"):
        images.check(message, None)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_a_compressed_picture_that_is_cut_off_is_refused_as_it_comes(kind, keep):
    message = packed(PICTURE.repeat(8, 0).repeat(8, 1), kind)
    message.data = message.data[: int(keep * len(message.data))]
    with pytest.raises(ObservationError, match=f"{kind} data must be whole; found {len(message.data)} bytes"):
        images.check(message, None)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_compressed_data_broken_in_the_middle_is_refused_when_it_is_decoded(kind):
    message = packed(SMOOTH, kind)
    message.data[8:-16] = array.array("B", bytes(len(message.data) - 24))
    images.check(message, None)
    with pytest.raises(ObservationError, match=f"{kind} data must be whole"):
        images.decode(message)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_compressed_picture_of_another_size_is_refused_as_it_comes(kind):
    images.check(packed(SMOOTH, kind), (48, 64))
    with pytest.raises(ObservationError, match="size must be 192x192 as calibrated; found 64x48"):
        images.check(packed(SMOOTH, kind), (192, 192))


def test_a_compressed_picture_that_hides_its_size_is_refused_when_it_is_decoded(monkeypatch):
    monkeypatch.setattr(images, "packed_size", lambda start, kind: None)
    images.check(packed(SMOOTH, "png"), (192, 192))
    with pytest.raises(ObservationError, match="size must be 192x192 as calibrated; found 64x48"):
        images.decode(packed(SMOOTH, "png"), (192, 192))


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_the_size_of_a_jpeg_is_found_in_its_first_bytes(flags):
    data = cv2.imencode(".jpeg", SMOOTH, flags)[1].tobytes()
    assert images.packed_size(data, "jpeg") == (48, 64)
    exif = b"\xff\xe1\x10\x00" + bytes(4094)
    assert images.packed_size(data[:2] + exif + data[2:], "jpeg") == (48, 64)


def test_bytes_at_random_tell_no_size_and_raise_nothing():
    rng = np.random.default_rng(2)
    for kind, (magic, _) in images.FORMATS.items():
        for length in range(0, 200, 3):
            images.packed_size(magic + rng.bytes(length), kind)


def test_live_pictures_differ_and_repeated_ones_are_the_same():
    rng = np.random.default_rng(3)
    scene = rng.integers(20, 230, (48, 64, 3), dtype=np.uint8)
    noisy = (scene + rng.integers(-1, 2, scene.shape)).astype(np.uint8)
    assert images.same(raw(scene, "rgb8"), raw(scene, "rgb8"))
    assert not images.same(raw(scene, "rgb8"), raw(noisy, "rgb8"))
    assert images.same(packed(scene, "png"), packed(scene, "png"))
    assert not images.same(packed(scene, "png"), packed(noisy, "png"))


@pytest.mark.parametrize("place", [0, 1, 5000, -1])
def test_a_single_byte_that_differs_tells_a_live_picture(place):
    still = np.zeros((60, 100, 3), np.uint8)
    other = still.copy()
    other.reshape(-1)[place] = 1
    assert not images.same(raw(still, "rgb8"), raw(other, "rgb8"))


def test_pictures_of_different_size_are_not_the_same():
    assert not images.same(raw(PICTURE, "rgb8"), raw(PICTURE[:3], "rgb8"))


def test_a_picture_survives_the_way_into_a_message():
    message = images.image_message(PICTURE, "a_frame", 2_000_000_003)
    assert np.array_equal(images.decode(message, (6, 8)), PICTURE)
    stamp = message.header.stamp
    assert (message.header.frame_id, stamp.sec, stamp.nanosec) == ("a_frame", 2, 3)
