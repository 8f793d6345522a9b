"""`./wallwm COMMAND`: finds the command's file by its name, and turns errors into sentences."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from wallwm_model.errors import WallWMError

FOLDER = Path(__file__).parent
# In the order of `--help`. A name without its file is not offered.
ORDER = (
    "demo",
    "test",
    "up",
    "status",
    "setup",
    "shell",
    "python",
    "calibrate",
    "bench",
    "data",
    "train",
    "distill",
    "export",
    "eval",
    "engine",
    "serve",
)
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 failed, 2 wrong usage, 130 interrupted)."""
    # A shell starts background commands with Ctrl-C ignored; what stops the arms must always be heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = sys.argv[1:] if arguments is None else arguments
    names = [name for name in ORDER if (FOLDER / f"{name}.py").exists()]
    wanted = arguments[0] if arguments else "--help"
    if not wanted.startswith("-") and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        _say(f"unknown command {wanted!r}{hint}; valid: {', '.join(names)}")
        return 2
    try:
        app = _app(names, wanted)
    except ImportError as error:
        _say(_missing(wanted, error))
        return 1
    try:
        app(arguments or ["--help"], prog_name="wallwm")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _app(names: list[str], wanted: str) -> typer.Typer:
    """The application with the wanted command loaded; the others are there for `--help` only."""
    app = typer.Typer(
        help="WALL-WM on ROS 2: an event world-action model drives a robot.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(lambda: None)  # without it, an application of one command would have no subcommands
    for name in names:
        if name == wanted:
            _add(app, name)
        else:
            app.command(name, help=summary(FOLDER / f"{name}.py"))(lambda: None)
    return app


def _add(app: typer.Typer, name: str) -> None:
    """Register a command's file: its function `command`, or its Typer application `app`."""
    module = importlib.import_module(f"wallwm_ros.cli.{name}")
    if hasattr(module, "app"):
        for registered in module.app.registered_commands:
            if registered.callback is not None:
                registered.callback = guarded(registered.callback)
        app.add_typer(module.app, name=name)
        return
    app.command(name, context_settings=getattr(module, "CONTEXT", None))(guarded(module.command))


def guarded(function: Callable[..., object]) -> Callable[..., object]:
    """The command, ending in one sentence where it would end in a traceback (WALLWM_DEBUG=1 shows it)."""

    @functools.wraps(function)
    def run(*args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        except WallWMError as error:
            _say(str(error))
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except ModuleNotFoundError as error:
            _debug()
            _say(_missing(function.__module__.rpartition(".")[2], error))
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if isinstance(error, typer.BadParameter) or type(error).__module__.startswith(("typer", "click")):
                raise
            _debug()
            _say(f"unexpected {type(error).__name__}: {error} (WALLWM_DEBUG=1 shows where)")
        raise typer.Exit(1) from None

    return run


def summary(path: Path) -> str:
    """What a command does, from its file and without importing it: the command's docstring, first line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "command"]
    text = (ast.get_docstring(functions[0]) if functions else None) or ast.get_docstring(tree) or ""
    line = text.splitlines()[0] if text else ""
    return line if functions else line.rpartition(": ")[2]


def _missing(command: str, error: ImportError) -> str:
    what = getattr(error, "name", None) or str(error)
    return f"{command} needs the Python module {what}, which is not installed: run it as ./wallwm {command}"


def _debug() -> None:
    if os.environ.get("WALLWM_DEBUG"):
        raise


def _say(sentence: str) -> None:
    typer.secho(f"wallwm: {sentence}", fg=typer.colors.RED, err=True)


if __name__ == "__main__":
    sys.exit(main())
