"""`./wallwm test`: the tests, with every package they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
ROOT = Path(__file__).resolve().parents[2]


def command(context: typer.Context) -> None:
    """Run the tests; arguments go to pytest, e.g. ./wallwm test -k timeline -x."""
    env = {**os.environ}
    # Idle OpenMP threads would spin on cores that a live test needs.
    env.setdefault("OMP_NUM_THREADS", "1")
    done = subprocess.run([sys.executable, "-m", "pytest", *context.args], cwd=ROOT, env=env)
    raise typer.Exit(done.returncode)
