"""`./wallwm test`: the tests, with every package they need."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
ROOT = Path(__file__).resolve().parents[2]
# Live tests and the documentation's commands take as long as all others, which fit beside: many of them wait.
LIVE, OTHERS = "ros", "not ros"


def command(context: typer.Context) -> None:
    """Run the tests, in two processes; arguments go to a single pytest, e.g. -k timeline -x."""
    env = {**os.environ}
    # Idle OpenMP threads would spin on cores that a live test needs.
    env.setdefault("OMP_NUM_THREADS", "1")
    raise typer.Exit(_start(context.args, env).wait() if context.args else _side_by_side(env))


def _start(arguments: Sequence[str], env: Mapping[str, str], output: int | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)


def _side_by_side(env: Mapping[str, str]) -> int:
    """All tests in two processes, each in a ROS domain of its own -> exit code."""
    domains = [str(number) for number in random.SystemRandom().sample(range(1, 102), 2)]
    with tempfile.TemporaryFile() as kept:
        others = _start(["-m", OTHERS, "--durations=15"], {**env, "ROS_DOMAIN_ID": domains[0]}, kept.fileno())
        try:
            live = _start(["-m", LIVE, "--durations=5"], {**env, "ROS_DOMAIN_ID": domains[1]}).wait()
            print("The other tests, which ran beside these:", flush=True)
        finally:  # after Ctrl-C too, which they have heard as well
            code = others.wait()
            kept.seek(0)
            sys.stdout.buffer.write(kept.read())
            sys.stdout.flush()
    return live or code
