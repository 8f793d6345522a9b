"""The peers' own Python environment, made when it is first needed, and what could not be had of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from wallwm_model.errors import WallWMError
from wallwm_ros.setup.errors import SetupError
from wallwm_ros.setup.steps import base_python, only_one, run_logged

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
REQUIREMENTS = ROOT / "requirements" / "peers.txt"
LOG = ROOT / ".wallwm-peers.log"
# What openpi-client needs; everything else is LeRobot's. If one cannot be installed, the other still can.
OF_OPENPI = ("openpi-client", "dm-tree", "msgpack", "numpy", "pillow", "typing_extensions", "websockets")
# Any torch 2.13.0 has the functions; only a CPU build is taken, so that no CUDA library comes along.
CPU_BUILD = "torch==2.13.0+cpu"
MODULES = {"openpi": "benchmarks.peers.openpi_loop", "lerobot": "benchmarks.peers.lerobot_loop"}


class Peers:
    """Which peers there are, and their Python.

    Attributes:
        python: the interpreter.
        missing: peer -> in one sentence, why it is not there.
    """

    def __init__(self, python: Path, missing: dict[str, str]) -> None:
        self.python, self.missing = python, missing

    def has(self, name: str) -> bool:
        """Its packages are installed and can be imported."""
        return name not in self.missing

    def environ(self) -> dict[str, str]:
        """Variables for its processes: nothing of this project's environment but the checkout, one thread."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HF_HUB_OFFLINE")}
        return env | one | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def prepare(
    say: Callable[[str], None], *, install: bool = True, folder: Path = FOLDER, log: Path = LOG
) -> Peers:
    """Make or complete the environment; a peer that cannot be had is named with the reason.

    Args:
        install: else only what is there already is used.
    """
    peers = Peers(folder / "bin" / "python", {})
    try:
        with only_one(folder.with_name(f"{folder.name}.lock")):
            if install:
                _make(folder, peers.python, log, say)
            for name, lines in parts(REQUIREMENTS.read_text(encoding="utf-8")).items():
                try:
                    if not _installed(peers, name, lines):
                        if not install:
                            raise SetupError("a quick run installs nothing; a full run does")
                        _install(peers, name, lines, log, say)
                except SetupError as error:
                    peers.missing[name] = f"{name} is missing: {error}"
    except (OSError, SetupError) as error:
        peers.missing.update({name: f"{name} is missing: {error}" for name in MODULES})
    return peers


def parts(text: str) -> dict[str, list[str]]:
    """The lines of the requirements, peer by peer; what both need comes with the first."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    openpi = [line for line in lines if line.partition("==")[0] in OF_OPENPI]
    return {"openpi": openpi, "lerobot": [line for line in lines if line not in openpi]}


def _make(folder: Path, python: Path, log: Path, say: Callable[[str], None]) -> None:
    """An empty environment of this Python, unless there is one."""
    stamp, wanted = folder / "wallwm-python", sys.version
    if python.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say("making the peers' environment")
    log.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run([base_python(), "-I", "-m", "venv", folder], log, "making the peers' environment")
    stamp.write_text(wanted, encoding="utf-8")


def _install(peers: Peers, name: str, lines: list[str], log: Path, say: Callable[[str], None]) -> None:
    """The packages of one peer.

    Raises:
        SetupError: they cannot be installed, or not be imported.
    """
    folder = peers.python.parents[1]
    say(f"installing {name} and what it needs ({len(lines)} packages)")
    listed, builds = folder / f"{name}.txt", folder / "builds.txt"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    builds.write_text(CPU_BUILD + "\n", encoding="utf-8")
    command = [peers.python, "-I", "-m", "pip", "install", "--no-input", "--progress-bar=off", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "-c", builds, "-r", listed]
    _run(command, log, f"installing {name}")
    if trouble := _import(peers, MODULES[name]):
        raise SetupError(f"it is installed, but cannot be imported: {trouble}")
    _stamp(peers, name).write_text(_digest(lines), encoding="utf-8")


def _installed(peers: Peers, name: str, lines: list[str]) -> bool:
    stamp = _stamp(peers, name)
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest(lines)


def _stamp(peers: Peers, name: str) -> Path:
    return peers.python.parents[1] / f"wallwm-{name}"


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _run(command: list[str | Path], log: Path, what: str) -> None:
    outside = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in outside}
    run_logged(command, log=log, env=env, cwd=ROOT, what=what)


def _import(peers: Peers, module: str) -> str:
    """Why a module cannot be imported; empty if it can."""
    command = [peers.python, "-c", f"import {module}"]
    here = peers.python.parents[1]  # LeRobot leaves a folder of logs where it is imported
    done = subprocess.run(command, env=peers.environ(), cwd=here, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


class PeerError(WallWMError):
    """A peer's process has failed."""
