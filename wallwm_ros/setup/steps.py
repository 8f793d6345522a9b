"""Running the steps of a set-up: one at a time, with progress on the screen and the details in a log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wallwm_ros.setup.errors import SetupError

GUARD = Path(__file__).with_name("guard.py")


class Progress:
    """Prints each step with its elapsed seconds; on a terminal the line counts while the step runs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._number += 1
        label = f"[{self._number}/{self._total}] {name}"
        start = time.monotonic()
        stop = threading.Event()
        if sys.stderr.isatty():
            ticker = threading.Thread(target=self._count, args=(label, start, stop), daemon=True)
            ticker.start()
        else:
            ticker = None
            print(f"{label} ...", file=sys.stderr, flush=True)
        try:
            yield
        except BaseException:
            self._finish(ticker, stop, f"{label}: stopped after {time.monotonic() - start:.0f} s")
            raise
        self._finish(ticker, stop, f"{label}: {time.monotonic() - start:.1f} s")

    @staticmethod
    def _count(label: str, start: float, stop: threading.Event) -> None:
        while not stop.wait(0.2):
            print(f"\r{label} ... {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)

    @staticmethod
    def _finish(ticker: threading.Thread | None, stop: threading.Event, line: str) -> None:
        stop.set()
        if ticker is not None:
            ticker.join()
            print("\r\x1b[K", end="", file=sys.stderr)
        print(line, file=sys.stderr, flush=True)


def run_logged(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str], cwd: Path, what: str
) -> None:
    """Run a command with its output in the log.

    Raises SetupError with the output's last line and the log's place if the command fails.
    """
    words = [str(word) for word in command]
    with log.open("ab") as out:
        out.write(("\n$ " + " ".join(words) + "\n").encode())
        out.flush()
        start = out.tell()
        guarded = [base_python(), "-I", "-S", str(GUARD), str(os.getpid()), *words]
        process = subprocess.Popen(guarded, stdout=out, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        raise SetupError(f"{what} failed: {_last_words(log, start)} (the whole output is in {log})")


def base_python() -> str:
    """The interpreter outside any environment: the one running may lie in the one that is made anew."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _last_words(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    marks = ("error", "fatal", "e:", "cmake error")
    errors = [i for i, line in enumerate(lines) if line.lower().startswith(marks)]
    if not errors:
        return (lines or ["no output"])[-1].rstrip(".")
    # CMake says where in one line and what in the next.
    last = errors[-1]
    words = lines[last : last + 2] if lines[last].startswith("CMake") else [lines[last]]
    return " ".join(words).rstrip(".:")


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the checkout's set-up lock; wait, saying so, while another process holds it."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another set-up of this checkout to end ...", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
