"""A demonstration that cannot work is refused in one sentence, before any process starts."""

from pathlib import Path

import pytest

pytest.importorskip("typer")

from tiny_engine import tiny_spec  # noqa: E402

from wallwm_model.bundle import REQUIRED, write_manifest  # noqa: E402
from wallwm_ros.cli.main import main  # noqa: E402
from wallwm_ros.core.config import ControlConfig, PolicyConfig, SimConfig  # noqa: E402
from wallwm_ros.core.options import build  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402
from wallwm_ros.demo import run  # noqa: E402
from wallwm_ros.demo.prepare import Request, parameters, prepare  # noqa: E402


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that is sound as far as can be told without loading it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "spec.json").write_text(tiny_spec().to_json())
    for name in REQUIRED[1:]:
        (folder / name).write_bytes(name.encode() * 100)
    write_manifest(folder)
    return folder


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    """Nothing may be started in these tests."""

    def start(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(run, "_perform", start)


def robot_file(folder: Path, old: str, new: str) -> str:
    text = data_path("config/robots/sim.yaml").read_text()
    assert old in text
    (folder / "robot.yaml").write_text(text.replace(old, new))
    return str(folder / "robot.yaml")


def refused(capsys, *arguments: str) -> str:
    """What the command says on being refused."""
    assert main(["demo", *arguments]) != 0
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--events", "reach the pink cube with the right arm"], "unknown word 'pink'"),
        (["--events", "reach the red cube"], "a reach caption must read"),
        (["--events", ";"], "--events must hold sentences"),
        (["--task", "pick_and_place"], "--task must be one of pick_place, handover"),
        (["--episodes", "0"], "--episodes must be at least 1"),
        (["--seed", "-1"], "--seed must not be negative"),
        (["--retries", "-1"], "--retries must not be negative"),
        (["--mode", "unity"], "--mode must be one of event, unified; found 'unity'"),
        (["--mode", "unified", "--source", "atomic"], "--source must be one of staircase, instruction"),
        (["--mode", "unified", "--events", "retract the left arm"], "--events must come with --mode event"),
        (["--mode", "unified"], "mode 'unified' needs a bundle with unified mode"),
        (["--robot", "simm"], "unknown robot 'simm' (did you mean sim?)"),
        (["--robot", "none/there.yaml"], "expected a robot profile at none/there.yaml"),
        (["--robot", "quanta_x1"], "the simulator plays left_waist"),
    ],
)
def test_bad_input_is_one_sentence(capsys, bundle, arguments, words):
    assert words in refused(capsys, "--model", str(bundle), *arguments)


def test_an_altered_bundle_is_refused(capsys, bundle):
    graph = bundle / "act.onnx"
    graph.write_bytes(bytes(len(graph.read_bytes())))
    assert "corrupt or altered" in refused(capsys, "--model", str(bundle))
    graph.write_bytes(b"something else")
    assert "cut off or altered" in refused(capsys, "--model", str(bundle))


def test_a_missing_bundle_is_refused(capsys):
    assert "models/nono" in refused(capsys, "--model", "models/nono")


def test_a_missing_camera_is_refused(capsys, bundle, tmp_path):
    text = data_path("config/robots/sim.yaml").read_text()
    start, end = text.index("  - name: wrist_cam_right"), text.index("states:")
    robot = robot_file(tmp_path, text[start:end], "")
    assert "lacks wrist_cam_right" in refused(capsys, "--model", str(bundle), "--robot", robot)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("/joint_states", "/states", "unknown state topic '/states'"),
        ("/forward_position_controller/commands", "/commands", "unknown command topic '/commands'"),
        ("topic: /head_cam/image_raw", "topic: /front/image_raw", "unknown camera topic '/front/image_raw'"),
    ],
)
def test_topics_that_the_simulator_lacks_are_refused(capsys, bundle, tmp_path, old, new, words):
    robot = robot_file(tmp_path, old, new)
    assert words in refused(capsys, "--model", str(bundle), "--robot", robot)


def test_an_unwritable_folder_is_refused(capsys, bundle, tmp_path):
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "run")
    assert "must be writable" in refused(capsys, "--model", str(bundle), "--out", out)


def test_a_sound_request_is_prepared(bundle):
    setting = prepare(Request(model=str(bundle), episodes=5, seed=7))
    assert [episode.seed for episode in setting.episodes] == [7, 8, 9, 10, 11]
    assert setting.spec.name == "tiny"
    assert not setting.live


def test_parameters_of_the_nodes_exist(bundle):
    kinds = {"sim_robot_node": SimConfig, "policy_node": PolicyConfig, "control_node": ControlConfig}
    for lockstep in (True, False):
        nodes = parameters(prepare(Request(model=str(bundle), lockstep=lockstep)))
        assert nodes.keys() == kinds.keys()
        for name, values in nodes.items():
            simulated = values.pop("use_sim_time", None)
            assert simulated == (lockstep if name != "sim_robot_node" else None)
            build(kinds[name], values)


def test_unified_mode_is_told_to_the_policy():
    found = parameters(prepare(Request(mode="unified", source="instruction")))["policy_node"]
    assert (found["mode"], found["text_source"], found["replan_steps"]) == ("unified", "instruction", 24)
    found.pop("use_sim_time")
    build(PolicyConfig, found)
