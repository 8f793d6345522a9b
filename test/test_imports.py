"""Imports go down the stairs only: nodes -> bridge -> core -> model library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROS = (
    "rclpy",
    "wallwm_msgs",
    "rcl_interfaces",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "geometry_msgs",
    "trajectory_msgs",
    "lifecycle_msgs",
    "rosgraph_msgs",
    "builtin_interfaces",
    "diagnostic_msgs",
    "action_msgs",
)
TORCH = ("torch", "diffusers", "einops")

# Room: (where its files are, packages that it does without).
ROOMS = {
    "spec": (["wallwm_model/spec.py"], (*ROS, *TORCH, "wallwm_ros")),
    "calibration": (
        ["wallwm_model/calibration", "wallwm_model/camera_spec.py", "wallwm_model/forward_kinematics.py"],
        (*ROS, *TORCH, "wallwm_ros", "pinocchio", "mujoco"),
    ),
    "calibration tools": (["wallwm_model/calibration_tools"], (*ROS, *TORCH, "wallwm_ros", "matplotlib", "mujoco")),
    "geometry": (["wallwm_model/geometry"], (*ROS, *TORCH, "wallwm_ros", "matplotlib", "mujoco")),
    "preprocess": (["wallwm_model/preprocess.py"], (*ROS, *TORCH, "wallwm_ros")),
    "captions": (["wallwm_model/captions.py"], (*ROS, *TORCH, "wallwm_ros")),
    "errors": (["wallwm_model/errors.py"], (*ROS, *TORCH, "wallwm_ros", "numpy")),
    "policy": (["wallwm_model/policy.py"], (*ROS, *TORCH, "wallwm_ros")),
    "engines": (["wallwm_model/engines"], (*ROS, *TORCH, "wallwm_ros")),
    "sim": (["wallwm_model/sim"], (*ROS, *TORCH, "wallwm_ros")),
    "core": (["wallwm_ros/core"], (*ROS, *TORCH)),
    "bringup": (["wallwm_ros/bringup.py"], (*ROS, *TORCH, "numpy", "yaml")),
    "setup": (["wallwm_ros/setup"], (*ROS, *TORCH, "numpy", "yaml", "typer", "rich")),
    "bridge": (["wallwm_ros/bridge"], TORCH),
    "nodes": (["wallwm_ros/nodes"], TORCH),
    "commands": (["wallwm_ros/cli", "wallwm_ros/demo"], TORCH),
}
# Scripts that run before anything is installed act on being imported; engines of torch and of a GPU import theirs.
ALONE = (
    ".setup.guard", ".die_with_parent", ".torch_engine", ".torch_fp8", ".engines.tensorrt", ".cuda_graph",
)  # fmt: skip
NEEDS = {"bridge": "rclpy", "nodes": "rclpy", "commands": "typer", "sim": "mujoco"}

# Folder: folders that its files may not import from, at the top or inside functions.
STAIRS = {
    "wallwm_model": ("wallwm_ros", *ROS),
    "wallwm_ros/core": (
        "wallwm_ros.bridge",
        "wallwm_ros.nodes",
        "wallwm_ros.cli",
        "wallwm_ros.demo",
        *ROS,
        *TORCH,
        "wallwm_model.network",
        "wallwm_model.train",
        "wallwm_model.data",
        "wallwm_model.deploy",
        "wallwm_model.eval",
    ),
    "wallwm_ros/bridge": ("wallwm_ros.nodes", "wallwm_ros.cli", "wallwm_ros.demo", *TORCH),
    "wallwm_ros/nodes": ("wallwm_ros.cli", "wallwm_ros.demo", *TORCH),
    "wallwm_ros/setup": (
        "wallwm_ros.core",
        "wallwm_ros.bridge",
        "wallwm_ros.nodes",
        "wallwm_ros.cli",
        *ROS,
        *TORCH,
    ),
    "wallwm_model/network": (
        "wallwm_model.train",
        "wallwm_model.deploy",
        "wallwm_model.data",
        "wallwm_model.eval",
        "wallwm_model.sim",
        "wallwm_model.engines",
    ),
    "wallwm_model/engines": (
        "wallwm_model.network",
        "wallwm_model.train",
        "wallwm_model.deploy",
        "wallwm_model.data",
        "wallwm_model.eval",
        "wallwm_model.sim",
    ),
    "wallwm_model/geometry": (
        "wallwm_model.network",
        "wallwm_model.train",
        "wallwm_model.deploy",
        "wallwm_model.data",
        "wallwm_model.eval",
        "wallwm_model.engines",
        "wallwm_model.sim",
    ),
    "wallwm_model/sim": (
        "wallwm_model.network",
        "wallwm_model.train",
        "wallwm_model.deploy",
        "wallwm_model.data",
        "wallwm_model.eval",
        "wallwm_model.engines",
    ),
}

IMPORT = """
import importlib, sys
blocked, modules = sys.argv[1].split(","), sys.argv[2].split(",")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
for module in modules:
    importlib.import_module(module)
"""


def files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix else sorted(p for p in path.rglob("*.py") if "__pycache__" not in p.parts)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_without_what_it_must_not_know(room: str) -> None:
    if room in NEEDS:
        pytest.importorskip(NEEDS[room])
    places, blocked = ROOMS[room]
    names = [module_name(path) for place in places for path in files(place)]
    names = [name for name in names if not name.endswith(ALONE)]
    command = [sys.executable, "-c", IMPORT, ",".join(blocked), ",".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("folder", STAIRS)
def test_nothing_imports_upward(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files(folder)
        for line, name in imported(path)
        if any(name == banned or name.startswith(f"{banned}.") for banned in STAIRS[folder])
        and path.name != "torch_engine.py"  # the network itself as an engine, for development
    ]
    assert not wrong, "; ".join(wrong)


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and full name of everything that a file imports, at any depth."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [(node.lineno, node.module)]
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_no_relative_imports() -> None:
    for folder in ("wallwm_model", "wallwm_ros"):
        for path in files(folder):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level], path
