"""Small bundles in every precision, written once per test run, and copies of them to break."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

from model_fixtures import small_model, small_spec

from wallwm_model.bundle import MANIFEST, write_manifest

NANO = Path(__file__).resolve().parents[1] / "models" / "nano"


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wallwm-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def model():
    """The untrained model behind all of these bundles."""
    return small_model().requires_grad_(False)


@functools.cache
def bundle(precision: str = "fp32", error: float = 0.05) -> Path:
    """A bundle of event mode; those of 16 bits are traced, the others made from the one of fp32."""
    from wallwm_model.deploy.export import convert, source_of
    from wallwm_model.deploy.writing import Options, write

    out = _folder() / precision
    options = Options(precision, observations=3, error=error)
    if precision == "fp32":
        write(source_of(model(), small_spec()), out, options)
    else:
        convert(bundle(), out, options)
    return out


@functools.cache
def bundle_of_robots() -> Path:
    """The same model with graphs of any number of robots."""
    from wallwm_model.deploy.export import source_of
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.deploy.writing import Options, write

    out = _folder() / "robots"
    write(source_of(model(), small_spec(), shapes=Shapes(batch=True)), out, Options())
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
