"""The steps themselves: environment, packages, messages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wallwm_ros.setup import system
from wallwm_ros.setup.environment import PACKAGES, build_environment
from wallwm_ros.setup.errors import SetupError
from wallwm_ros.setup.exports import repair_exports
from wallwm_ros.setup.layers import STEP_NAMES, Plan, make_plan, write_stamp
from wallwm_ros.setup.paths import Paths
from wallwm_ros.setup.steps import Progress, base_python, only_one, run_logged
from wallwm_ros.setup.underlay import Underlay

# Packages that the sourced ROS 2 brings itself; its message modules are compiled against its own numpy.
OF_THE_UNDERLAY = ("numpy==",)
# The other files name every package they need, so pip has nothing to resolve.
RESOLVED = ("train.txt",)


def ensure(paths: Paths, layers: Sequence[str], underlay: Underlay | None) -> int:
    """Do whatever is missing for these layers; returns the number of steps done.

    Raises SetupError with one sentence; a second call goes on where the first one was cut off.
    """
    if not make_plan(paths, layers, underlay).steps:
        return 0
    with only_one(paths.lock):
        plan = make_plan(paths, layers, underlay)  # another process may have done it while this one waited
        if plan.steps:
            Installer(paths, underlay).carry_out(plan)
        return len(plan.steps)


class Installer:
    """Carries out a plan; every step can be done again from any state that an interruption leaves."""

    def __init__(self, paths: Paths, underlay: Underlay | None) -> None:
        self._paths = paths
        self._underlay = underlay
        self._env = build_environment(paths, underlay, os.environ)

    def carry_out(self, plan: Plan) -> None:
        self._paths.log.unlink(missing_ok=True)
        if "messages" in dict(plan.steps):
            system.need_compiler(self._apt)
            system.want_gl(self._apt)
        progress = Progress(len(plan.steps))
        for name, digest in plan.steps:
            with progress.step(STEP_NAMES[name]):
                self._action(name)()
            write_stamp(self._paths.stamp, name, digest)

    def _action(self, name: str) -> Callable[[], None]:
        if name == "environment":
            return self._make_environment
        if name == "messages":
            return self._build_messages
        if name == "package":
            return self._build_package
        return lambda: self._install(name)

    def _make_environment(self) -> None:
        built = [base / name for base in (self._paths.build, self._paths.install) for name in PACKAGES]
        for stale in (self._paths.venv, *built):  # what was built names the interpreter of its day
            shutil.rmtree(stale, ignore_errors=True)
        command = [base_python(), "-I", "-m", "venv", self._paths.venv]
        if self._underlay is not None:
            command.insert(4, "--system-site-packages")
        try:
            self._run(command, "Making the Python environment")
        except SetupError as error:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            remedy = f"sudo apt-get install -y python{version}-venv"
            raise SetupError(f"{error}; if the module is missing, install it with: {remedy}") from None

    def _install(self, name: str) -> None:
        self._paths.unfinished.touch()
        command = [self._paths.python, "-I", "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        command += ["--no-compile", "--disable-pip-version-check", "--only-binary=:all:"]
        command += ["--no-binary=empy"]  # it has no wheel
        if name in RESOLVED:
            command += ["-c", self._requirements("runtime.txt")]
        else:
            command += ["--no-deps"]
        self._run([*command, "-r", self._requirements(name)], f"Installing {STEP_NAMES[name]}")
        self._paths.unfinished.unlink()

    def _requirements(self, name: str) -> Path:
        """The file, less what the sourced ROS 2 brings."""
        source = self._paths.requirements / name
        if self._underlay is None:
            return source
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
        target = self._paths.venv / f"requirements-{name}"
        kept = [line for line in lines if not line.startswith(OF_THE_UNDERLAY)]
        target.write_text("".join(kept), encoding="utf-8")
        return target

    def _build_messages(self) -> None:
        if self._underlay is None:
            repair_exports(self._paths.venv, self._paths.python)
        cmake = ["--cmake-args", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", "--no-warn-unused-cli"]
        self._colcon("wallwm_msgs", [*cmake, f"-DPython3_EXECUTABLE={self._paths.python}"])

    def _build_package(self) -> None:
        # Links instead of copies: an edit in the checkout takes effect in the installed package.
        self._colcon("wallwm_ros", ["--symlink-install"])

    def _colcon(self, package: str, options: Sequence[str]) -> None:
        # What is installed stays until it is replaced, for the sake of nodes that are running meanwhile.
        shutil.rmtree(self._paths.build / package, ignore_errors=True)
        command = [self._paths.python, "-m", "colcon", "--log-base", self._paths.build / "log", "build"]
        command += ["--base-paths", ".", "wallwm_msgs", "--packages-select", package, *options]
        self._run([*command, "--event-handlers", "console_direct+"], f"Building {package}")

    def _apt(self, packages: Sequence[str]) -> None:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        log, root = self._paths.log, self._paths.root
        what = f"Installing {' '.join(packages)}"
        update = ["apt-get", "update", "-q"]
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        print(f"{what} with apt-get ...", file=sys.stderr, flush=True)
        try:
            run_logged(install, log=log, env=env, cwd=root, what=what)
        except SetupError:  # the package lists may be old or absent
            run_logged(update, log=log, env=env, cwd=root, what="Refreshing apt's package lists")
            run_logged(install, log=log, env=env, cwd=root, what=what)

    def _run(self, command: Sequence[str | Path], what: str) -> None:
        run_logged(command, log=self._paths.log, env=self._env, cwd=self._paths.root, what=what)
