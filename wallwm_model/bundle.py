"""The engine bundle: one folder with the specification, the graphs, their weights and a hash of every file."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from wallwm_model.errors import BundleError, SpecError
from wallwm_model.onnx_file import GraphFile, read
from wallwm_model.spec import ModelSpec
from wallwm_model.subwords import FILE, LANGUAGE_FILE

MANIFEST = "bundle.json"
CARD = "README.md"  # the model card: for people, may be edited, is not hashed
WEIGHTS = "model.safetensors"  # shared by all graphs
GOLDEN = "golden.npz"  # inputs and the answers to them, for `wallwm engine check`
ACT = "act"  # one graph for every length of a chunk, or `act_16`, `act_32` ... for fixed ones
REQUIRED = ("spec.json", WEIGHTS, "text.onnx", "observe.onnx", f"{ACT}.onnx")
BUNDLE_VERSION = 2
# A bundle from elsewhere must not fill the memory before its hashes are known.
MOST_FILES = 64
LARGEST = {
    FILE: 1 << 26, LANGUAGE_FILE: 1 << 26, ".json": 1 << 22, ".npz": 1 << 26, ".png": 1 << 26,
    ".onnx": 1 << 31,  # protobuf ends at 2 GiB
}  # fmt: skip
BLOCK = 1 << 20  # read at once [bytes]


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, **facts) -> None:
    """Hash every file of a bundle into its manifest; `facts` (training time, seeds, results) go along."""
    hashed = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name not in (MANIFEST, CARD)]
    body = {
        "version": BUNDLE_VERSION,
        "licence": "Apache-2.0",
        "files": {p.name: sha256(p) for p in hashed},
        "bytes": {p.name: p.stat().st_size for p in hashed},
    }
    (folder / MANIFEST).write_text(json.dumps(body | facts, indent=2) + "\n")


def read_manifest(folder: Path) -> dict:
    """The manifest, of the right version and with its lists; nothing else is opened.

    Raises:
        BundleError: no such folder, no manifest, a damaged one, or one of another version.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleError(f"expected an engine bundle with {MANIFEST} at {folder}; found none")
    _check_place(manifest)
    try:
        body = json.loads(manifest.read_text())
        version, files, sizes = body["version"], body["files"], body.get("bytes", {})
        sound = all(isinstance(value, str) for value in files.values()) and isinstance(files, dict)
        sound &= all(isinstance(value, int) for value in sizes.values())
        hash(version)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{manifest} must be a bundle manifest in JSON; found {error!r}") from None
    if version != BUNDLE_VERSION:
        raise BundleError(f"bundle version must be {BUNDLE_VERSION}; found {version} in {manifest}")
    if not sound or len(files) > MOST_FILES:
        raise BundleError(f"{manifest} must list at most {MOST_FILES} files with their hashes; found {len(files)}")
    return body


def precision_of(folder: Path) -> str:
    """What `wallwm export --precision` made a verified bundle of; bundles from before there was a choice: `fp32`."""
    return read_manifest(folder).get("precision", {}).get("name", "fp32")


def batches(folder: Path) -> bool:
    """Whether a verified bundle's graphs take several robots at once; most take one."""
    return read_manifest(folder).get("batch") == "dynamic"


def graphs_in(folder: Path) -> dict[str, Path]:
    """Name -> file of every graph that a verified bundle lists."""
    listed = read_manifest(folder)["files"]
    return {Path(name).stem: folder / name for name in listed if name.endswith(".onnx")}


def verify(folder: Path) -> ModelSpec:
    """Check a bundle's files against its manifest before anything is parsed.

    Raises:
        BundleError: no such folder, a missing file, another version, a file that was altered or that is no plain
            file of an allowed size, or a specification that cannot be read.
    """
    body = read_manifest(folder)
    files, sizes = body["files"], body.get("bytes", {})
    lengths = any(name.startswith(f"{ACT}_") for name in files)
    for name in REQUIRED:
        if name not in files and not (lengths and name == f"{ACT}.onnx"):
            listed = folder / MANIFEST
            raise BundleError(f"a bundle must list {', '.join(REQUIRED)}; {name} is missing from {listed}")
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or "\0" in name or not path.is_file():
            raise BundleError(f"bundle file {name!r} is listed in {folder / MANIFEST} but not there")
        _check_place(path)
        size = path.stat().st_size
        if size != sizes.get(name, size):
            raise BundleError(f"bundle file {path} must have {sizes[name]} bytes; found {size}: it is cut off or altered")
        found = sha256(path)
        if found != expected:
            raise BundleError(
                f"bundle file {path} must have SHA-256 {expected[:12]}…; found {found[:12]}…: it is corrupt or altered"
            )
    try:
        spec = ModelSpec.load(folder / "spec.json")
        if missing := [name for name in spec.tokenizers if name not in files]:
            raise SpecError(f"{folder / MANIFEST} must list {missing[0]}, which its specification needs; found none")
        return spec
    except SpecError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BundleError(f"{folder / 'spec.json'} must be a model specification; found {error!r}") from None


def verify_graphs(folder: Path) -> dict[str, GraphFile]:
    """Look into every graph of a verified bundle, before a runtime does: name -> what is in it.

    Raises:
        BundleError: a graph is none, names files outside the bundle, or shapes without data.
    """
    files = read_manifest(folder)["files"]
    sizes = {name: (folder / name).stat().st_size for name in files}
    return {name: read(path, sizes) for name, path in graphs_in(folder).items()}


def _check_place(path: Path) -> None:
    """Raises BundleError for a link, or a file larger than its kind can be."""
    if path.is_symlink():
        raise BundleError(f"bundle file {path} must be a file of its own; found a link")
    size, most = path.stat().st_size, LARGEST.get(path.name, LARGEST.get(path.suffix, math.inf))
    if size > most:
        raise BundleError(f"bundle file {path} must have at most {most} bytes; found {size}")
