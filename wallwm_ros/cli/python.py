"""`./wallwm python`: this project's Python in its environment."""

from __future__ import annotations

import os
import sys

import typer

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def command(context: typer.Context) -> None:
    """Run this project's Python, e.g. ./wallwm python -m wallwm_ros.nodes.policy_node."""
    os.execv(sys.executable, [sys.executable, *context.args])
