"""The engine bundle: one folder with the specification, the graphs, their weights and a hash of every file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wallwm_model.errors import BundleError
from wallwm_model.spec import ModelSpec

MANIFEST = "bundle.json"
CARD = "README.md"  # the model card: for people, may be edited, is not hashed
WEIGHTS = "model.safetensors"  # shared by all graphs
REQUIRED = ("spec.json", WEIGHTS, "text.onnx", "observe.onnx", "act.onnx")
BUNDLE_VERSION = 2


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(folder: Path, **facts) -> None:
    """Hash every file of a bundle into its manifest; `facts` (training time, seeds, results) go along."""
    hashed = (p for p in sorted(folder.iterdir()) if p.is_file() and p.name not in (MANIFEST, CARD))
    files = {p.name: sha256(p) for p in hashed}
    body = {"version": BUNDLE_VERSION, "licence": "Apache-2.0", "files": files} | facts
    (folder / MANIFEST).write_text(json.dumps(body, indent=2) + "\n")


def graphs_in(folder: Path) -> dict[str, Path]:
    """Name -> file of every graph that a verified bundle lists."""
    listed = json.loads((folder / MANIFEST).read_text())["files"]
    return {Path(name).stem: folder / name for name in listed if name.endswith(".onnx")}


def verify(folder: Path) -> ModelSpec:
    """Check a bundle's files against its manifest before anything is parsed.

    Raises:
        BundleError: no such folder, a missing file, another version, or a file that was altered.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleError(f"expected an engine bundle with {MANIFEST} at {folder}; found none")
    try:
        body = json.loads(manifest.read_text())
        version, files = body["version"], dict(body["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{manifest} must be a bundle manifest in JSON; found {error!r}") from error
    if version != BUNDLE_VERSION:
        raise BundleError(f"bundle version must be {BUNDLE_VERSION}; found {version} in {manifest}")
    for name in REQUIRED:
        if name not in files:
            raise BundleError(f"a bundle must list {', '.join(REQUIRED)}; {name} is missing from {manifest}")
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"bundle file {name} is listed in {manifest} but not there")
        found = sha256(path)
        if found != expected:
            raise BundleError(
                f"bundle file {path} must have SHA-256 {expected[:12]}…; found {found[:12]}…: it is corrupt or altered"
            )
    return ModelSpec.load(folder / "spec.json")
