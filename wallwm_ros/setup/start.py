"""Called by ./wallwm, with nothing installed: sets up what is missing, then runs the command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wallwm_model.errors import WallWMError  # noqa: E402
from wallwm_ros.setup.environment import runtime_environment  # noqa: E402
from wallwm_ros.setup.installer import ensure  # noqa: E402
from wallwm_ros.setup.layers import LAYERS, layers_of  # noqa: E402
from wallwm_ros.setup.paths import Paths  # noqa: E402
from wallwm_ros.setup.underlay import find_underlay  # noqa: E402
from wallwm_ros.shared_memory import remove_stale_segments  # noqa: E402

USAGE = """\
usage: ./wallwm COMMAND [OPTIONS]      sets itself up on first use (a few minutes)

  demo     a simulated two-arm robot under the nano model, in ROS 2 processes
  test     run the tests
  up       start the nodes and wait
  setup    only set up; "setup train" and "setup test" add those packages
  shell    a shell with the environment of this project
  python   this project's Python
  bench, data, train, export, eval: see ./wallwm COMMAND --help
"""


def main(arguments: list[str]) -> int:
    paths = Paths.of_this_checkout()
    if arguments[:1] in ([], ["--help"], ["-h"]) and not paths.stamp.exists():
        print(USAGE, end="")
        return 0
    try:
        return _run(paths, arguments)
    except WallWMError as error:
        print(f"wallwm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nwallwm: set-up interrupted; the same command goes on with it.", file=sys.stderr)
        return 130


def _run(paths: Paths, arguments: list[str]) -> int:
    underlay = find_underlay(os.environ)
    command = arguments[0] if arguments else None
    if command == "setup":
        return _setup(paths, arguments[1:], underlay)
    ensure(paths, layers_of(*arguments), underlay)
    remove_stale_segments()  # first, since they count against the room for new ones
    env = runtime_environment(paths, underlay, os.environ)
    python = str(paths.python)
    if command == "python":
        os.execve(python, [python, *arguments[1:]], env)
    os.execve(python, [python, "-m", "wallwm_ros.cli.main", *arguments], env)
    return 0


def _setup(paths: Paths, arguments: list[str], underlay: object) -> int:
    extra = [name for name in LAYERS if name != "runtime"]
    unknown = [name for name in arguments if name not in extra]
    if unknown:
        print(f"usage: ./wallwm setup [{'] ['.join(extra)}]", file=sys.stderr)
        return 0 if unknown[0] in ("-h", "--help") else 2
    done = ensure(paths, ("runtime", *arguments), underlay)
    print("Ready." if done else "Ready; nothing was to be done.", "Next: ./wallwm demo")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
