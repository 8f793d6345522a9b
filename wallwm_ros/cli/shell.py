"""`./wallwm shell`: a shell in which ROS 2, the messages and this checkout can be imported."""

from __future__ import annotations

import os
import shutil

import typer

from wallwm_model.errors import WallWMError

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def command(context: typer.Context) -> None:
    """Open a shell with this project's environment, or run one line in it: ./wallwm shell -c "..."."""
    wanted = os.environ.get("SHELL", "bash") if not context.args else "bash"
    shell = shutil.which(wanted) or shutil.which("bash") or shutil.which("sh")
    if shell is None:
        raise WallWMError(f"expected a shell on PATH; found neither {wanted}, bash nor sh")
    os.execv(shell, [shell, *context.args])
