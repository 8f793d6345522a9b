"""Every command in README and docs is run, made small: what a reader types works."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training commands need the training environment")
pytest.importorskip("wallwm_msgs.msg._action_chunk", reason="the demo needs the built messages")

pytestmark = [pytest.mark.slow, pytest.mark.ros, pytest.mark.train]

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")))

# What makes a command small. The words that are added come last and win; the first key that fits counts.
# Two whole episodes are enough, one of each task: further demonstrations carry out one event.
DEMO = "--lockstep --no-video --episodes 1 --out {out}/demo"
ONE_EVENT = f'--events "retract the left arm" {DEMO}'
SMALL = {
    "demo --events": "--lockstep --no-video --out {out}/demo",
    "demo --model": ONE_EVENT,
    "demo --mode": DEMO,
    "demo --episodes": ONE_EVENT,
    "demo --task handover --episodes": ONE_EVENT,
    "demo": DEMO,
    "data sim": "--episodes 3 --workers 1",
    "train nano": "--steps 2 --processes 1",
    "distill nano": "--updates 1 --processes 1 --teacher {out}/runs/train-nano --data {out}/data/sim --out {out}/student",
    "calibrate board": "",
    "calibrate practice": "--views 14 --poses 12",
    "calibrate intrinsics": "--out {out}/report",
    "calibrate handeye": "--out {out}/report",
    "calibrate export": "",
    "calibrate check": "",
    "export --bundle": "--observations 2 --error 1",
    "export": "",
    "engine list": "",
    "engine check": "",
    "eval modes": "--episodes 1",
    "up": "",
    "serve": "--port 0 --threads 1",
    "bench calibration": "--quick",
    "bench model": "--quick",
    "bench engine": "--quick --episodes 1",
    "bench lengths": "--quick",
    "bench runtime": "--quick",
    "bench faults": "--only NaN --runs 1",
    "bench soak": "--minutes 0.1",
    "bench": "--seconds 1",
}
# What a command promises to leave in its `--json` file.
FIGURES = {
    "bench calibration": {
        "intrinsics_error_pct_max", "reprojection_px_max", "handeye_mm_max", "handeye_deg_max", "mask_recall",
        "mask_precision", "bump_detected", "false_alarms", "mask_ms",
    },
    "bench model": {"wan_bit_equal", "mask_agreement", "mask_ms", "staircase_speedup", "cot_token_accuracy"},
    "bench runtime": {"overhead_ms_p99", "seam", "jitter_ms_p99", "reaction_ms"},
    "bench faults": {"cases", "violations", "lost_results", "hold_ms_max"},
    "bench engine": {"latency_ms_p50", "speedup_vs_teacher", "action_error_mm", "success", "size_ratio"},
}  # fmt: skip
STOPPED = {"up": "active", "serve": "serving"}  # runs until Ctrl-C, and says this when it is ready
# Chunks of a task come when the machine has time for them, so one may end with a motion that was not carried out.
CODES = {"up": (0, 130), "serve": (0, 130), "demo --mode": (0, 1)}
SELF = {"test"}  # the run that this test is part of
PATIENCE_S = 1200  # a hang ends the test; nothing is judged by how long it took


def commands() -> list[str]:
    """The `./wallwm` lines of all `sh` blocks, in reading order, each once."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
            found += [line for line in block.splitlines() if line.strip()]
    return list(dict.fromkeys(found))


def test_there_are_commands_and_all_are_known():
    assert commands()[:2] == ["./wallwm demo", "./wallwm test"]
    for line in commands():
        name = line.removeprefix("./wallwm ")
        assert line.startswith("./wallwm "), line
        assert name in SELF or any(name.startswith(known) for known in SMALL), line


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "runs").mkdir()
    return folder


def in_order() -> list[str]:
    """What is run: as a reader does, but the stages on request last, so that the export has less to trace.

    That a language side goes into a bundle with everything else is shown by the tests of the export.
    """
    lines = [line for line in commands() if line.removeprefix("./wallwm ") not in SELF]
    return sorted(lines, key=lambda line: "--stages" in line)


@pytest.mark.parametrize("line", in_order())
def test_command_of_the_documentation(line, out):
    name = line.removeprefix("./wallwm ")
    key = next(known for known in SMALL if name.startswith(known))
    words = shlex.split(re.sub(r"\b(runs|data)/", f"{out}/\\1/", line) + " " + SMALL[key].format(out=out))
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        if key in STOPPED:
            _wait_for(process, STOPPED[key])
            process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        process.kill()
    assert process.returncode in CODES.get(key, (0,)), output
    assert process.returncode in (0, 130) or "of 1 episode succeeded" in output, output  # it came to a verdict
    assert "Traceback" not in output
    if "--json" in words:
        figures = json.loads(Path(words[words.index("--json") + 1]).read_text())
        assert figures and FIGURES.get(key, set()) <= set(figures)


def _wait_for(process: subprocess.Popen, word: str) -> None:
    """Read the output until a line has `word`."""
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"ended without {word!r}; load average {os.getloadavg()}")
