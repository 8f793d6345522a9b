"""Whatever is wrong with a bundle's files, loading it ends in one sentence before anything of it is run."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from bundle_fixtures import NANO, copy, sign

from wallwm_model import bundle, onnx_file
from wallwm_model.bundle import MANIFEST, WEIGHTS, verify, verify_graphs
from wallwm_model.engines import load_engine
from wallwm_model.errors import BundleError, WallWMError
from wallwm_model.protobuf import fields


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped bundle that may be broken."""
    return copy(NANO, tmp_path)


def refused(folder, words):
    with pytest.raises(BundleError, match=words) as told:
        load_engine(folder, "onnx", threads=1)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


@pytest.mark.parametrize("name", ["spec.json", "act.onnx", WEIGHTS])
def test_a_file_that_is_cut_off(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    refused(folder, f"{name} must have .* altered")
    sign(folder)
    if name != "spec.json":
        path.write_bytes(path.read_bytes()[:-7])
        refused(folder, "bytes; found .* cut off or altered")


@pytest.mark.parametrize("name", ["act.onnx", WEIGHTS])
def test_a_flipped_bit(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    refused(folder, f"{name} must have SHA-256 .* corrupt or altered")


def test_two_files_that_changed_places(folder):
    (folder / "act.onnx").rename(folder / "kept")
    (folder / "text.onnx").rename(folder / "act.onnx")
    (folder / "kept").rename(folder / "text.onnx")
    refused(folder, "must have .* altered")


def test_signed_graphs_that_changed_places_are_no_engine(folder):
    """Hashes cannot know what a forger signed; then the graph does not have what is asked for."""
    (folder / "act.onnx").write_bytes((folder / "text.onnx").read_bytes())
    sign(folder)
    engine = load_engine(folder, "onnx", threads=1)
    with pytest.raises(Exception, match="(?i)input|output|noisy"):
        engine._run("act", {"noisy": np.zeros((1, 4, 14), np.float32)})


def test_links_are_refused(folder, tmp_path):
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / WEIGHTS)
    refused(folder, f"{WEIGHTS} must be a file of its own; found a link")
    (folder / WEIGHTS).unlink()
    os.link(tmp_path / "elsewhere", folder / WEIGHTS)
    verify(folder)
    (folder / MANIFEST).rename(tmp_path / MANIFEST)
    os.symlink(tmp_path / MANIFEST, folder / MANIFEST)
    refused(folder, "must be a file of its own; found a link")


@pytest.mark.parametrize("name", [MANIFEST, "spec.json"])
def test_a_file_larger_than_its_kind_can_be(folder, name):
    with (folder / name).open("r+b") as file:
        file.truncate(1 << 40)  # a hole: no disk is used
    refused(folder, f"{name} must have at most")


@pytest.mark.parametrize(
    "text, words",
    [
        ("[" * 100_000, "manifest in JSON"),
        ('{"version": [2], "files": {}}', "manifest in JSON"),
        ('{"version": 2, "files": []}', "manifest in JSON"),
        ('{"version": 2, "files": {"spec.json": 5}}', "with their hashes"),
        ('{"version": 2, "files": {"spec.json": "00"}, "bytes": {"spec.json": "many"}}', "with their hashes"),
        ('{"version": 1' + "0" * 5000 + ', "files": {}}', "manifest in JSON"),
        (json.dumps({"version": 2, "files": {f"{n}": "00" for n in range(65)}}), "at most 64 files"),
        ("\udcff", "manifest in JSON"),
    ],
)
def test_an_absurd_manifest(folder, text, words):
    (folder / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    refused(folder, words)


@pytest.mark.parametrize(
    "name", ["../spec.json", "/etc/passwd", "a/../spec.json", "spec.json\0", "", ".", ".."]
)
def test_a_manifest_that_points_elsewhere(folder, name):
    said = json.loads((folder / MANIFEST).read_text())
    said["files"][name] = "00"
    (folder / MANIFEST).write_text(json.dumps(said))
    refused(folder, "listed in .* but not there")


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"version": 1, "cameras": 5}', "[" * 100_000])
def test_an_absurd_specification(folder, text):
    (folder / "spec.json").write_text(text)
    sign(folder)
    with pytest.raises(WallWMError):
        load_engine(folder, "onnx", threads=1)


# What follows forges graphs: a bundle that is signed as its forger pleases.


def replaced(folder, old: bytes, new: bytes) -> None:
    """Put other bytes of the same length into the act graph, and sign."""
    path = folder / "act.onnx"
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    sign(folder)


@pytest.mark.parametrize("place", ["../../../../../pw", "/etc/passwd......", "other.safetensors"])
def test_a_graph_that_reads_files_outside(folder, place):
    replaced(folder, b"model.safetensors", place.encode())
    refused(folder, "a file that the bundle lists; found the path")


def test_a_graph_that_reads_beyond_its_file(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100_000])
    sign(folder)
    refused(folder, f"must lie inside {WEIGHTS}")


@pytest.mark.parametrize(
    "content", [b"", b"graph", b"\x3a\xff\xff\xff\xff\x7f", bytes(100), b"\x08\xff" * 50]
)
def test_what_is_no_graph(folder, content):
    (folder / "act.onnx").write_bytes(content)
    sign(folder)
    refused(folder, "must be (a sound|an) ONNX graph")


def test_any_cut_of_a_graph_is_refused_or_harmless(tmp_path):
    """The look into a graph ends in one error for every prefix, and for bytes that were turned."""
    content = (NANO / "text.onnx").read_bytes()
    sizes = {WEIGHTS: (NANO / WEIGHTS).stat().st_size}
    path, rng = tmp_path / "text.onnx", np.random.default_rng(0)
    for turn in range(150):
        broken = bytearray(content)
        if turn % 2:
            broken = broken[: int(rng.integers(len(content)))]
        else:
            for at in rng.integers(len(content), size=4):
                broken[at] = int(rng.integers(256))
        path.write_bytes(broken)
        try:
            onnx_file.read(path, sizes)
        except BundleError:
            continue


def message(number: int, content: bytes) -> bytes:
    """A nested field of a protobuf message."""
    size, head = len(content), bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content


def graph(*tensors: bytes, nodes: bytes = b"") -> bytes:
    """A model of opset 20 with these initializers."""
    return message(8, b"\x10\x14") + message(7, nodes + b"".join(message(5, tensor) for tensor in tensors))


HUGE = b"\x08\xff\xff\xff\xff\xff\xff\xff\x3f"  # a dimension of 2**59


@pytest.mark.parametrize(
    "content, words",
    [
        (graph(HUGE + b"\x10\x01"), "must have its data; found too little"),
        (graph(HUGE + b"\x10\x01" + message(9, b"1234")), "bytes; found 4"),
        (graph(HUGE + b"\x10\x01" + message(4, b"1234")), "must have its data"),
        (graph(b"\x08\x04\x10\x63"), "known type and size; found type 99"),
        (graph(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01"), r"shape \[-1\]"),
        (graph(b"\x08\x01\x10\x01\x70\x01"), "found the path ''"),
        (graph(b"\x08\x01\x10\x08" + message(6, b"text")), "tensors of strings"),
        (graph() + b"\xca\x01\x00", "functions and training graphs"),
        (message(7, b""), "with opsets; found none"),
    ],
)
def test_shapes_without_data_and_parts_that_nobody_needs(folder, content, words):
    (folder / "act.onnx").write_bytes(content)
    sign(folder)
    refused(folder, words)


def test_graphs_nested_without_end(folder):
    inner = b""
    for _ in range(40):
        inner = message(1, message(5, message(6, inner)))
    (folder / "act.onnx").write_bytes(graph(nodes=inner))
    sign(folder)
    refused(folder, "nested 8 deep")


def test_numbers_of_any_length_end(tmp_path):
    with pytest.raises(BundleError, match="broken number"):
        list(fields(memoryview(b"\xff" * 1000)))


def test_the_shipped_bundle_is_sound():
    assert verify(NANO).name == "nano"
    assert {file for graph in verify_graphs(NANO).values() for file in graph.files} == {WEIGHTS}
    assert not (NANO / bundle.GOLDEN).exists() or bundle.GOLDEN in bundle.read_manifest(NANO)["files"]
