"""Small bundles in every precision, written once per test run, and copies of them to break."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path

from model_fixtures import small_model, small_spec

from wallwm_model.bundle import MANIFEST, write_manifest

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"
UNIFIED = {
    "modes": ("event", "unified"), "sources": ("instruction", "atomic"), "takes_mask": True, "takes_prefix": True,
}  # fmt: skip


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wallwm-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def model():
    """The untrained model behind all of these bundles."""
    return small_model().requires_grad_(False)


@functools.cache
def _traced() -> dict:
    from wallwm_model.deploy.export import trace_graphs

    return trace_graphs(model(), dataclasses.replace(small_spec(), **UNIFIED))


def graphs() -> dict:
    """Copies of all graphs of `model()` in both modes, which nothing but the modes and the shapes change."""
    return {name: deepcopy(graph) for name, graph in _traced().items()}


def bundle(precision: str = "fp32") -> Path:
    """A bundle of event mode; all others are made from the one of fp32."""
    return _bundle(precision)  # the same one for who names fp32 and who does not


@functools.cache
def _bundle(precision: str) -> Path:
    from wallwm_model.deploy.export import convert
    from wallwm_model.deploy.writing import Options, Source, write

    out = _folder() / precision
    options = Options(precision, observations=3, error=0.05)
    if precision == "fp32":
        of_events = {name: graph for name, graph in graphs().items() if name != "observe_past"}
        write(Source(small_spec(), of_events, model().state_dict()), out, options)
    else:
        convert(bundle(), out, options)
    return out


@functools.cache
def bundle_of_robots() -> Path:
    """The same model with graphs of any number of robots; those that imagine are for one in every bundle."""
    from wallwm_model.deploy.export import from_bundle, trace_acting
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.deploy.writing import Options, write

    out, source = _folder() / "robots", from_bundle(bundle())
    source.graphs |= trace_acting(model(), small_spec(), Shapes(batch=True))
    write(source, out, Options())
    return out


@functools.cache
def bundle_of_lengths(lengths: tuple[int, ...]) -> Path:
    """The same model with one `act` graph per length."""
    from wallwm_model.deploy.export import from_bundle, trace_act
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.deploy.writing import Options, write

    out, source = _folder() / "lengths", from_bundle(bundle())
    del source.graphs["act"]
    source.graphs |= trace_act(model(), small_spec(), Shapes(lengths))
    write(source, out, Options())
    return out


def copy(folder: Path, place: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(folder, place / "broken"))


def sign(folder: Path) -> None:
    """Write the hashes anew, as whoever forges a bundle would; what else the manifest says stays."""
    said = json.loads((folder / MANIFEST).read_text())
    facts = {key: value for key, value in said.items() if key not in ("version", "licence", "files", "bytes")}
    write_manifest(folder, **facts)
