"""The launch file and `./wallwm up` start the same nodes with the same parameters."""

from __future__ import annotations

import os
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from wallwm_ros import bringup
from wallwm_ros.shared_memory import profile_file

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILE = ROOT / "launch" / "bringup.launch.py"


class Made:
    """Stands for anything of `launch`: remembers how it was made."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs


class Group(Made):
    """A launch description: keeps what it holds."""

    @property
    def entities(self) -> list:
        return self.args[0]


USED = {
    "launch": ("LaunchDescription", "LaunchDescriptionEntity"),
    "launch.actions": (
        "DeclareLaunchArgument",
        "EmitEvent",
        "RegisterEventHandler",
        "SetEnvironmentVariable",
        "Shutdown",
    ),
    "launch.conditions": ("IfCondition",),
    "launch.events": ("matches_action",),
    "launch.substitutions": ("EnvironmentVariable", "LaunchConfiguration"),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.event_handlers": ("OnStateTransition",),
    "launch_ros.events.lifecycle": ("ChangeState",),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "lifecycle_msgs.msg": ("Transition",),
}


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Made]]:
    """What the launch file describes, read without `launch`."""
    for module, members in USED.items():
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if end < len(parts) and name in USED:
                continue
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        for member in members:
            kind = type(member, (Group if member == "LaunchDescription" else Made,), {})
            setattr(sys.modules[module], member, kind)
    transition = sys.modules["lifecycle_msgs.msg"].Transition
    transition.TRANSITION_CONFIGURE, transition.TRANSITION_ACTIVATE = 1, 3
    yield runpy.run_path(str(LAUNCH_FILE))["generate_launch_description"]().entities


def kinds(entities: list[Made], name: str) -> list[Made]:
    return [entity for entity in entities if type(entity).__name__ == name]


def plain(value: object) -> object:
    """A parameter's value; an argument of the launch file as `$name`."""
    if type(value).__name__ == "ParameterValue":
        return plain(value.args[0])
    return f"${value.args[0]}" if isinstance(value, Made) else value


def test_both_fronts_start_the_same_nodes(
    described: list[Made], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched = {}
    for node in kinds(described, "Node") + kinds(described, "LifecycleNode"):
        file, parameters = node.kwargs["parameters"]
        assert node.kwargs["package"] == "wallwm_ros" and node.kwargs["executable"] == node.kwargs["name"]
        assert Path(file).samefile(ROOT / "config" / "runtime.yaml")
        launched[node.kwargs["name"]] = {key: plain(value) for key, value in parameters.items()}
    assert launched == started_by_up(monkeypatch, tmp_path)


def started_by_up(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, dict]:
    """Node -> parameters as `./wallwm up` starts them, with the arguments called like the launch file's."""
    up = pytest.importorskip("wallwm_ros.cli.up", reason="needs typer")
    started: dict[str, dict] = {}

    def start(self: object, parameters: dict, files: list[Path]) -> None:
        started.update(parameters)
        assert [file.resolve() for file in files] == [ROOT / "config" / "runtime.yaml"]
        raise KeyboardInterrupt

    monkeypatch.setattr(up.NodeGroup, "start", start)
    monkeypatch.setattr(up, "_checked", lambda *_: ROOT / "config" / "runtime.yaml")
    up.command(robot="$robot", model="$model", mode="$mode", out=folder)
    return started


def test_both_fronts_take_the_same_arguments(described: list[Made]) -> None:
    up = pytest.importorskip("wallwm_ros.cli.up", reason="needs typer")
    declared = {
        made.args[0]: made.kwargs["default_value"] for made in kinds(described, "DeclareLaunchArgument")
    }
    assert declared == {argument.name: argument.default for argument in bringup.ARGUMENTS}
    assert set(declared) <= set(up.command.__annotations__)


def test_defaults_are_those_of_the_nodes() -> None:
    from wallwm_ros.core.config import PolicyConfig

    defaults = {argument.name: argument.default for argument in bringup.ARGUMENTS}
    config = PolicyConfig()
    assert (config.robot, config.model, config.mode) == (
        defaults["robot"],
        defaults["model"],
        defaults["mode"],
    )
    assert bringup.MODES == next(
        f.metadata["choices"] for f in PolicyConfig.__dataclass_fields__.values() if f.name == "mode"
    )


def test_only_a_node_that_has_just_been_configured_is_activated(described: list[Made]) -> None:
    lifecycle = {spec.name for spec in bringup.nodes("", "", "") if spec.lifecycle}
    configure = kinds(described, "EmitEvent")
    assert [event.kwargs["event"].kwargs["transition_id"] for event in configure] == [1] * len(lifecycle)
    handlers = [made.args[0] for made in kinds(described, "RegisterEventHandler")]
    assert {handler.kwargs["target_lifecycle_node"].kwargs["name"] for handler in handlers} == lifecycle
    for handler in handlers:
        assert (handler.kwargs["start_state"], handler.kwargs["goal_state"]) == ("configuring", "inactive")
        activate = handler.kwargs["entities"][0].kwargs
        assert (
            activate["event"].kwargs["transition_id"] == 3
            and plain(activate["condition"].args[0]) == "$autostart"
        )


def test_the_fast_dds_profile_is_set_unless_the_user_did(described: list[Made]) -> None:
    (variable,) = kinds(described, "SetEnvironmentVariable")
    name, value = variable.args
    assert name.endswith("_DEFAULT_PROFILES_FILE") and value.args[0] == name
    assert Path(value.kwargs["default_value"]).samefile(profile_file(ROOT / "config"))


def test_every_executable_is_installed() -> None:
    setup = (ROOT / "setup.py").read_text()
    for spec in bringup.nodes("", "", ""):
        assert f'"{spec.name} = wallwm_ros.nodes.{spec.name}:main"' in setup
        assert (ROOT / "wallwm_ros" / "nodes" / f"{spec.name}.py").exists()


@pytest.mark.ros
def test_launch_accepts_the_file() -> None:
    launch = pytest.importorskip("launch", reason="launch is not among the ROS wheels")
    pytest.importorskip("launch_ros")
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    description = source.get_launch_description(launch.LaunchContext())
    assert {argument.name for argument in description.get_launch_arguments()} == {
        a.name for a in bringup.ARGUMENTS
    }
    assert os.path.samefile(source.location, LAUNCH_FILE)
