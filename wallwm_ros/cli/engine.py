"""`./wallwm engine`: check a bundle, and see which engine would run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check bundles and engines.", no_args_is_help=True)
COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow"}
BUNDLE = typer.Argument(help="Bundle folder.")


@app.callback()
def _group() -> None:
    """Check bundles and engines."""


@app.command("check")
def check(
    bundle: Annotated[str, BUNDLE] = "models/nano",
    tensorrt: Annotated[bool, typer.Option(help="Build with tensorrt-rtx, where it is installed.")] = True,
) -> None:
    """Hashes, standard graphs, golden inputs on every engine, TensorRT builds; exit code 1 if one fails."""
    from rich.console import Console
    from rich.table import Table

    from wallwm_model.deploy import check as checks
    from wallwm_ros.core.paths import data_path

    folder = Path(bundle) if Path(bundle).is_dir() else data_path(bundle)
    table = Table(title=f"bundle {folder}")
    for column in ("check", "verdict", "what was found"):
        table.add_column(column)
    rows = []
    with Console(stderr=True).status("checking") as status:
        for row in checks.check(folder, tensorrt):
            status.update(f"{row.what}: {row.verdict}")
            rows.append(row)
            table.add_row(row.what, f"[{COLOURS[row.verdict]}]{row.verdict}[/]", row.text)
    Console().print(table)
    if any(row.verdict == "failed" for row in rows):
        raise typer.Exit(1)


@app.command("list")
def show(bundle: Annotated[str, BUNDLE] = "models/nano") -> None:
    """Every engine, what keeps it from running here, and which one `auto` takes for a bundle."""
    from rich.console import Console
    from rich.table import Table

    from wallwm_model.bundle import read_manifest, verify
    from wallwm_model.engines.choice import ENGINES, choose, obstacle
    from wallwm_ros.core.paths import data_path

    folder = Path(bundle) if Path(bundle).is_dir() else data_path(bundle)
    name = verify(folder).name
    precision = read_manifest(folder).get("precision", {}).get("name", "fp32")
    table = Table(title=f"engines for {name} ({precision}) on this machine")
    table.add_column("engine")
    table.add_column("can run")
    for engine, kind in ENGINES.items():
        problem = obstacle(engine)
        note = "yes" if kind.automatic else "yes, for development; auto does not take it"
        table.add_row(engine, problem or note)
    Console().print(table)
    typer.echo(f"auto: {choose()[1]}")
