"""`./wallwm export`: trained weights -> engine bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    trained: Annotated[Path, typer.Option(help="Folder written by `wallwm train`.")] = Path("runs/train-nano"),
    out: Annotated[Path, typer.Option(help="Where the bundle goes.")] = Path("runs/bundle-nano"),
    facts: Annotated[Path | None, typer.Option(help="JSON of further facts for the manifest.")] = None,
) -> None:
    """Export an engine bundle: ONNX graphs, specification, weights, SHA-256 of each."""
    from wallwm_model.deploy.export import export

    export(trained, out, **(json.loads(facts.read_text()) if facts else {}))
    typer.echo(f"bundle written to {out}")
