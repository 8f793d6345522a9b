"""`./wallwm setup`: handled before this program starts; listed here for `--help`."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    layers: Annotated[list[str] | None, typer.Argument(help="On top of the runtime: test, train.")] = None,
) -> None:
    """Set the project up without running anything; every command does so on its first use."""
    from wallwm_ros.setup.start import main

    raise typer.Exit(main(["setup", *(layers or [])]))
