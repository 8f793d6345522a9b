"""The terminal front: commands found by their files, errors as sentences, node processes that never stay."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer")

from wallwm_model.errors import ConfigError  # noqa: E402
from wallwm_ros.cli import main as front  # noqa: E402
from wallwm_ros.cli.processes import NodeError, NodeGroup  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SLEEPER = "import signal, time; signal.signal(2, signal.SIG_DFL); print('awake', flush=True); time.sleep(600)"
STUBBORN = SLEEPER.replace("signal.SIG_DFL)", "signal.SIG_IGN); signal.signal(15, signal.SIG_IGN)")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes command files into a folder that takes the place of wallwm_ros/cli."""
    import wallwm_ros.cli as package

    monkeypatch.setattr(front, "FOLDER", tmp_path)
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    for name in front.ORDER:
        monkeypatch.delitem(sys.modules, f"wallwm_ros.cli.{name}", raising=False)

    def write(name: str, body: str) -> None:
        (tmp_path / f"{name}.py").write_text(body)

    yield write
    for name in front.ORDER:  # other tests must not meet these commands
        if sys.modules.pop(f"wallwm_ros.cli.{name}", None) is not None and hasattr(package, name):
            delattr(package, name)


def test_help_lists_the_commands_without_importing_them(commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands("demo", "import nothing_like_this\n\ndef command():\n    '''Show it.'''\n")
    commands("data", "'''`./wallwm data`: makes data.'''\nimport nothing_like_this\n")
    assert front.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Show it." in out and "makes data." in out and "train" not in out


def test_a_file_is_a_command(commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands("demo", "def command(times: int = 1):\n    '''Show it.'''\n    print('shown', times)\n")
    assert front.main(["demo", "--times", "3"]) == 0
    assert capsys.readouterr().out == "shown 3\n"
    assert front.main(["demo", "--times", "often"]) == 2
    assert front.main(["demo", "--wrong"]) == 2


def test_a_file_with_an_application_is_a_group(commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands("data", "import typer\napp = typer.Typer()\n@app.command()\ndef sim():\n    print('made')\n"
                     "@app.command()\ndef other():\n    from wallwm_model.errors import SpecError\n"
                     "    raise SpecError('expected more')\n")  # fmt: skip
    assert front.main(["data", "sim"]) == 0
    assert capsys.readouterr().out == "made\n"
    assert front.main(["data", "other"]) == 1
    assert capsys.readouterr().err == "wallwm: expected more\n"


@pytest.mark.parametrize(
    "body, code, sentence",
    [
        ("from wallwm_model.errors import SpecError\n    raise SpecError('needs A')", 1, "needs A"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("import torch_that_is_missing", 1, "demo needs the Python module torch_that_is_missing"),
        ("raise ZeroDivisionError('by zero')", 1, "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_errors_end_in_one_sentence(
    commands, capsys: pytest.CaptureFixture[str], body: str, code: int, sentence: str
) -> None:
    commands("demo", f"def command():\n    {body}\n")
    assert front.main(["demo"]) == code
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error and error.count("\n") == 1


def test_an_unknown_command_names_the_known_ones(commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands("demo", "def command():\n    pass\n")
    assert front.main(["demp"]) == 2
    assert "demo" in capsys.readouterr().err


def test_a_command_that_cannot_load_is_no_traceback(commands, capsys: pytest.CaptureFixture[str]) -> None:
    commands("train", "import torch_that_is_missing\n\ndef command():\n    pass\n")
    assert front.main(["train"]) == 1
    assert "run it as ./wallwm train" in capsys.readouterr().err


@pytest.mark.parametrize("wrong, sentence", [
    ({"mode": "dream"}, "--mode must be one of event, unified; found 'dream'"),
    ({"robot": "no_such_robot"}, "no_such_robot"),
    ({"params": Path("no_such.yaml")}, "no_such.yaml"),
])  # fmt: skip
def test_up_refuses_bad_input_before_it_starts_anything(wrong: dict, sentence: str) -> None:
    from wallwm_ros.cli import up

    with pytest.raises(ConfigError, match=sentence):
        up._checked(**({"robot": "sim", "mode": "event", "params": None} | wrong))


def test_every_process_stops_even_one_that_will_not(tmp_path: Path) -> None:
    with NodeGroup(tmp_path) as group:
        nodes = [
            group.start_command(f"n{i}", [sys.executable, "-c", code])
            for i, code in enumerate((SLEEPER, STUBBORN))
        ]
        wait(lambda: all("awake" in node.last_words() for node in nodes))
        group.check()
    assert [node.process.returncode for node in nodes] == [-signal.SIGINT, -signal.SIGKILL]


def test_a_node_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    words = "[ERROR] [1795448133.930698267] [control_node]: needs 14 joints"
    with NodeGroup(tmp_path) as group:
        node = group.start_command(
            "control_node", [sys.executable, "-c", f"print({words!r}); raise SystemExit(3)"]
        )
        node.process.wait()
        with pytest.raises(NodeError, match=r"^control_node ended with exit code 3: needs 14 joints \(log"):
            group.check()


def test_a_node_that_cannot_be_started_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "parameters").write_text("in the way")
    group = NodeGroup(tmp_path)
    first = group.start_command("first", [sys.executable, "-c", SLEEPER])
    with pytest.raises(NodeError, match="parameters of second"):
        group.start({"second": {}})
    assert first.process.poll() is not None


def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from wallwm_ros.cli.processes import NodeGroup\n"
        f"node = NodeGroup(Path({str(tmp_path)!r})).start_command('n', [sys.executable, '-c', {SLEEPER!r}])\n"
        "print(node.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    wait(lambda: "awake" in (tmp_path / "logs" / "n.log").read_text())
    parent.kill()
    parent.wait()
    wait(lambda: not running(pid))


@pytest.mark.ros
@pytest.mark.slow
def test_up_brings_the_nodes_up_and_ctrl_c_stops_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wallwm_ros.cli.main", "up", "--out", str(tmp_path)]
    up = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    heard = []
    for line in up.stdout:
        heard.append(line)
        if line.startswith("ready"):
            break
    assert heard and heard[-1].startswith("ready"), heard
    pids = [int(pid) for pid in children(up.pid)]
    assert len(pids) == 3
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=60) == 0
    assert not any(map(running, pids))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_benchmarks_are_found_by_their_files() -> None:
    from wallwm_ros.cli import bench

    assert {"jitter", "latency", "model", "transport"} <= set(bench.names())
    assert "staircase" not in bench.names(), "a part of a benchmark is none"
    with pytest.raises(ConfigError, match="jitter, latency, .*transport; found 'speed'"):
        bench._load("speed")
    assert bench.flat({"a": 1, "b": {"c": 2}}) == [("a", 1), ("b c", 2)]
    module = bench._load("transport")
    assert module.quantile([1.0, 2.0, 3.0], 0.5) == 2.0 and module.quantile([], 0.5) is None
