"""Node processes: started, watched and stopped together."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml

from wallwm_model.errors import WallWMError
from wallwm_ros.shared_memory import remove_stale_segments

# From the first signal on; the sum stays under the 3 s that a user waits for Ctrl-C.
GRACE_S = {signal.SIGINT: 2.2, signal.SIGTERM: 0.4, signal.SIGKILL: 0.3}
_WRAPPER = Path(__file__).with_name("die_with_parent.py")
_ROS_PREFIX = re.compile(r"^\[(?:DEBUG|INFO|WARN|ERROR|FATAL)\]\s*\[[\d.]+\]\s*\[[^\]]+\]:\s*")


class NodeError(WallWMError):
    """A node's process could not be started, or has ended by itself."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, so that no node is left behind."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class NodeProcess:
    """One running node."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The last line that the node printed, without ROS's own prefix."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return _ROS_PREFIX.sub("", lines[-1]) if lines else "it printed nothing"


class NodeGroup:
    """Context manager around node processes; leaving it stops them all within 3 s.

    Every node is `python -m wallwm_ros.nodes.<name>` in a session of its own, its output in
    `logs/<name>.log` of the folder and its parameters in `parameters/<name>.yaml`. If this process dies, in
    any way, the kernel tells the nodes to end. Linux ties that to the *thread* that started them: start from one
    that lives as long.

    Args:
        folder: of the run; created if absent.
        env: variables on top of this process's own.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.nodes: list[NodeProcess] = []
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}

    def __enter__(self) -> NodeGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, parameters: Mapping[str, Mapping[str, object]], files: Sequence[Path] = ()) -> None:
        """Start nodes in the order given.

        Args:
            parameters: node name -> its parameters, which win over those in the files.
            files: ROS parameter files that every node reads.

        Raises:
            NodeError: a process could not be started; those already started are stopped.
        """
        try:
            for name, values in parameters.items():
                own = self._write_parameters(name, values)
                self.start_command(name, node_command(name, [*files, own]))
        except BaseException:
            self.stop()
            raise

    def start_command(self, name: str, command: Sequence[str]) -> NodeProcess:
        """Start one process of the group from its full command line."""
        log = self.folder / "logs" / f"{name}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_WRAPPER), str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                )
        except OSError as error:
            raise NodeError(f"{name} could not be started: {error}") from None
        node = NodeProcess(name, process, log)
        self.nodes.append(node)
        return node

    def check(self) -> None:
        """Raises NodeError, with the node's last words, if one has ended."""
        for node in self.nodes:
            code = node.process.poll()
            if code is not None:
                how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                raise NodeError(f"{node.name} {how}: {node.last_words()} (log: {node.log})")

    def stop(self) -> None:
        """Stop every process: asked politely, then firmly, then killed. Safe to call twice, in any state."""
        running = [node for node in self.nodes if node.process.poll() is None]
        with _uninterrupted():
            for number, grace in GRACE_S.items():
                for node in running:
                    _signal_session(node.process, number)
                deadline = time.monotonic() + grace
                running = _still_running(running, deadline)
                if not running:
                    break
        self.nodes.clear()
        remove_stale_segments()

    def _write_parameters(self, name: str, values: Mapping[str, object]) -> Path:
        path = self.folder / "parameters" / f"{name}.yaml"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump({name: {"ros__parameters": dict(values)}}), encoding="utf-8")
        except OSError as error:
            raise NodeError(f"the parameters of {name} could not be written: {error}") from None
        return path


def node_command(name: str, files: Iterable[Path]) -> list[str]:
    """Command line of a node with its parameter files, later ones winning."""
    command = [sys.executable, "-m", f"wallwm_ros.nodes.{name}", "--ros-args", "--disable-external-lib-logs"]
    for file in files:
        command += ["--params-file", str(file)]
    return command


def _still_running(nodes: list[NodeProcess], deadline: float) -> list[NodeProcess]:
    """Those that outlive the deadline [s, steady clock]."""
    while nodes and time.monotonic() < deadline:
        time.sleep(0.02)
        nodes = [node for node in nodes if node.process.poll() is None]
    return nodes


def _signal_session(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process with its descendants; before it has its own session, the process alone."""
    try:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        return


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not leave nodes behind. Signal handlers can be set in the main thread only."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
