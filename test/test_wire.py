"""Messages of the remote engine: the same bytes as openpi-client's, and nothing that hurts their reader."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wallwm_model.engines import wire
from wallwm_model.errors import EngineError, WallWMError, WireError

PEERS = Path(__file__).resolve().parents[1] / ".venv-peers/lib"
DTYPES = (
    "?",
    "i1",
    "u1",
    "<i2",
    "<u4",
    "<i8",
    ">i4",
    "<f2",
    "<f4",
    "<f8",
    ">f8",
    "<U3",
    "S5",
    "<M8[ns]",
    "<m8[s]",
)
MESSAGES = (
    {
        "images": {"head_cam": np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)},
        "state": np.zeros(14),
        "prompt": "go",
    },
    {"actions": np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2), "server_timing": {"infer_ms": 1.5}},
    {
        "scalars": [
            np.float32(0.1),
            np.int64(-3),
            np.bool_(True),
            np.uint8(200),
            np.float64(2.5),
            np.str_("a"),
        ]
    },
    {"empty": np.zeros((0, 7), np.float32), "point": np.array(1.0), "turned": np.arange(6.0).reshape(2, 3).T},
    [None, True, -1, 2**40, 1.25, "ü", b"\x00\x01", [], {}, {b"b": 2}],
    "text",
)


def array(dtype="<f4", data=b"\0" * 8, shape=(2,), **more):
    """An array as it travels, perhaps a wrong one."""
    body = {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape, **more}
    return msgpack.packb({"a": body})


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module")
def theirs():
    """openpi-client's own module, which needs nothing but msgpack and numpy."""
    found = sorted(PEERS.glob("python3*/site-packages/openpi_client/msgpack_numpy.py"))
    if not found:
        pytest.skip("openpi-client is not there: ./wallwm bench runtime brings it")
    spec = importlib.util.spec_from_file_location("openpi_msgpack_numpy", found[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_bytes_are_openpis(theirs, message):
    data = wire.pack(message)
    assert data == theirs.packb(message) == theirs.Packer().pack(message)
    assert same(wire.unpack(data), theirs.unpackb(data))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_value_comes_back_and_is_openpis(theirs, dtype):
    value = np.arange(6).astype("<i8" if dtype[1:2] in "Mm" else dtype).astype(dtype).reshape(2, 3)
    data = wire.pack({"v": value})
    assert data == theirs.packb({"v": value})
    back = wire.unpack(data)["v"]
    assert back.dtype == value.dtype and np.array_equal(back, value) and not back.flags.writeable


def test_bytes_are_those_that_were_published():
    data = wire.pack({"a": np.array([1, 2], np.uint8)})
    assert data.hex(" ") == (
        "81 a1 61 84 c4 0b 5f 5f 6e 64 61 72 72 61 79 5f 5f c3 c4 04 64 61 74 61 c4 02 01 02 "
        "c4 05 64 74 79 70 65 a3 7c 75 31 c4 05 73 68 61 70 65 91 02"
    )


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([{}], object),
        np.zeros(2, "i4,f4"),
        np.zeros(2, "V8"),
        np.zeros(2, complex),
        np.complex64(1),
        object(),
        {1, 2},
        2**70,
    ],
)
def test_what_has_no_place_is_not_packed(value):
    with pytest.raises(WireError, match="a message must hold"):
        wire.pack({"v": value})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (array("O"), "dtype must be"),
        (array("|O"), "dtype must be"),
        (array("V8", shape=(1,)), "dtype must be"),
        (array("i4,f4", shape=(1,)), "dtype must be"),
        (array("c8", shape=(1,)), "dtype must be"),
        (array([["a", "<i4"]]), "dtype must be"),
        (array({"names": ["a"], "formats": ["O"]}), "dtype must be"),
        (array("no such"), "dtype must be"),
        (array("U99999999999"), "dtype must be"),
        (array("S0", b"", (10**9,)), "dtype must be"),
        (array(None), "dtype must be"),
        (array(shape=(3,)), "must have 12 bytes; found 8"),
        (array(shape=(2**31 - 1,) * 3), "bytes; found 8"),
        (array(shape=(2**31 - 1, 2**31 - 1, 4, 0, 1)), "must have 0 bytes; found 8"),
        (array(shape=(-2,)), "shape must be"),
        (array(shape=(2.0,)), "shape must be"),
        (array(shape=(True, 2)), "shape must be"),
        (array(shape=(1,) * 9), "shape must be"),
        (array(shape=2), "shape must be"),
        (array(data="\0" * 8), "must have 8 bytes; found str"),
        (array(data=[0] * 8), "must have 8 bytes; found list"),
        (msgpack.packb({b"__ndarray__": True}), "dtype must be"),
        (
            msgpack.packb({b"__npgeneric__": True, b"data": [1.0], b"dtype": "<f8"}),
            "must be one value; found list",
        ),
        (msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f8"}), "must be of its dtype"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}), "must be of its dtype"),
        (msgpack.packb(msgpack.ExtType(5, b"x")), "whole and of msgpack"),
        (msgpack.packb({}) + b"\0", "whole and of msgpack"),
        (b"", "whole and of msgpack"),
        (b"\xc1", "whole and of msgpack"),
        (b"\xa2\xff\xff", "whole and of msgpack"),
        (b"\xdd\xff\xff\xff\xff" * 1000, "whole and of msgpack"),
        (b"\x91" * 100_000, "whole and of msgpack"),
        (pickle.dumps({"a": 1}), "whole and of msgpack"),
        ("text", "binary frame; found str"),
    ],
    ids=range(34),
)
def test_what_is_wrong_is_refused_in_one_sentence(data, words):
    with pytest.raises(WireError, match=words) as caught:
        wire.unpack(data)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
    assert isinstance(caught.value, EngineError) and isinstance(caught.value, WallWMError)


def test_sizes_have_limits():
    data = wire.pack({"a": np.zeros(100, np.uint8)})
    assert wire.unpack(data, largest=len(data))
    with pytest.raises(WireError, match=f"may have {len(data) - 1} bytes; found {len(data)}"):
        wire.unpack(data, largest=len(data) - 1)
    with pytest.raises(WireError, match="whole and of msgpack"):
        wire.unpack(msgpack.packb([0] * (wire.MOST_ITEMS + 1)))
    with pytest.raises(WireError, match="whole and of msgpack"):
        wire.unpack(msgpack.packb("x" * (wire.LONGEST_TEXT + 1)))


def test_every_truncated_or_flipped_message_is_refused_or_read():
    data = wire.pack(MESSAGES[0])
    for end in range(len(data)):
        with pytest.raises(WireError):
            wire.unpack(data[:end])
    for place in range(min(len(data), 120)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            try:
                wire.unpack(bytes(damaged))
            except WireError:
                pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_never_gives_another_error(data):
    try:
        wire.unpack(data)
    except WireError:
        pass
