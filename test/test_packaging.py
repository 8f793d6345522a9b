"""What is shipped fits together: requirement files, package descriptions, installed data, licences."""

from __future__ import annotations

import ast
import fcntl
import re
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from wallwm_ros import shared_memory

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(
    r'^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[\w.]+)(?P<marker>; python_version (<|>=) "3\.11")?$'
)


def pins(path: Path) -> list[re.Match[str]]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    matches = {line: PIN.match(line) for line in lines if line and not line.startswith("#")}
    assert all(matches.values()), [line for line, match in matches.items() if not match]
    return list(matches.values())


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_requirement_is_pinned_once_per_python(path: Path) -> None:
    seen: dict[str, list[str]] = {}
    for pin in pins(path):
        seen.setdefault(normal(pin["name"]), []).append(pin["marker"] or "")
    doubled = {
        name: found
        for name, found in seen.items()
        if len(found) > 1 and ("" in found or len(set(found)) < len(found))
    }
    assert not doubled


def test_files_agree_on_versions() -> None:
    versions: dict[tuple[str, str], set[str]] = {}
    for path in FILES:
        if path.name == "peers.txt":
            continue  # an environment of its own
        for pin in pins(path):
            for python in ("3.10", "3.11"):
                marker = pin["marker"] or ""
                if not marker or ("<" in marker) == (python == "3.10"):
                    versions.setdefault((normal(pin["name"]), python), set()).add(pin["version"])
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_the_runtime_has_no_torch_and_no_cuda() -> None:
    names = {
        normal(pin["name"])
        for name in ("ros", "build", "runtime")
        for pin in pins(ROOT / f"requirements/{name}.txt")
    }
    assert not {
        name for name in names if name in ("torch", "diffusers") or name.startswith(("nvidia", "triton"))
    }


def test_what_is_installed_is_consistent() -> None:
    """The files of the runtime name every package, since pip resolves nothing when installing them."""
    from importlib import metadata

    installed = {normal(d.metadata["Name"]) for d in metadata.distributions() if d.metadata["Name"]}
    listed = {
        normal(pin["name"]) for name in ("ros", "runtime") for pin in pins(ROOT / f"requirements/{name}.txt")
    }
    if not {"mujoco", "rclpy"} <= installed | {"rclpy"} or "ros-rclpy" not in installed:
        pytest.skip("this is not the environment that set-up makes from wheels")
    done = subprocess.run([sys.executable, "-I", "-m", "pip", "check"], capture_output=True, text=True)
    complaints = [line for line in done.stdout.splitlines() if "which is not installed" in line]
    # colcon asks for test tools that it only needs to run other packages' tests.
    assert not [line for line in complaints if normal(line.split()[0]) in listed], complaints


def test_every_interface_is_generated() -> None:
    cmake = (ROOT / "wallwm_msgs" / "CMakeLists.txt").read_text()
    folder = ROOT / "wallwm_msgs"
    interfaces = {
        str(path.relative_to(folder))
        for kind in ("msg", "action", "srv")
        for path in (folder / kind).iterdir()
    }
    assert interfaces == set(re.findall(r'"((?:msg|action|srv)/\w+\.\w+)"', cmake))


@pytest.mark.parametrize("folder", [".", "wallwm_msgs"])
def test_package_description(folder: str) -> None:
    package = ET.parse(ROOT / folder / "package.xml").getroot()
    assert package.attrib["format"] == "3" and package.findtext("license") == "Apache-2.0"
    kind = package.findtext("export/build_type")
    assert (package.findtext("name"), kind) in (
        ("wallwm_ros", "ament_python"),
        ("wallwm_msgs", "ament_cmake"),
    )


def test_ros_packages_used_are_declared() -> None:
    package = ET.parse(ROOT / "package.xml").getroot()
    declared = {element.text for tag in ("depend", "exec_depend") for element in package.findall(tag)}
    used = set()
    for path in [*(ROOT / "wallwm_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            used |= {name.split(".")[0] for name in names}
    ros = {
        name
        for name in used
        if name.endswith(("_msgs", "_interfaces")) or name in ("rclpy", "launch", "launch_ros")
    }
    assert ros <= declared, sorted(ros - declared)


def test_data_files_are_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--name", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split()[-2:] == ["wallwm_ros", "0.1.0"], done.stderr
    tree = ast.parse((ROOT / "setup.py").read_text())
    (shared,) = [ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "SHARED"]  # fmt: skip
    for place in (
        "launch/bringup.launch.py",
        "config/runtime.yaml",
        "config/fastdds.xml",
        "config/robots/sim.yaml",
    ):
        assert place.startswith(shared) and (ROOT / place).exists()


@pytest.mark.parametrize("name", shared_memory.PROFILES)
def test_fast_dds_segments_are_as_large_as_their_choice_assumes(name: str) -> None:
    root = ET.parse(ROOT / "config" / name).getroot()
    namespace = {"d": "http://www.eprosima.com"}
    (size,) = [int(element.text) for element in root.iterfind(".//d:segment_size", namespace)]
    assert size == shared_memory.PROFILES[name]


def test_the_profile_fits_the_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for mib, expected in ((24_000, "fastdds.xml"), (64, "fastdds_small.xml"), (1, "fastdds_small.xml")):
        free = types.SimpleNamespace(f_bavail=mib * 256, f_frsize=4096)
        monkeypatch.setattr(shared_memory.os, "statvfs", lambda _, free=free: free)
        assert shared_memory.profile_file(tmp_path) == tmp_path / expected


def test_only_segments_without_an_owner_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("0123456789abcdef", "fedcba9876543210"):
        (tmp_path / f"fastdds_{name}").touch()
        (tmp_path / f"fastdds_{name}_el").touch()
    (tmp_path / "fastdds_port7411").touch()
    assert shared_memory.remove_stale_segments(tmp_path) == 0  # too new to tell
    monkeypatch.setattr(shared_memory, "_SETTLED_S", -1.0)
    with (tmp_path / "fastdds_0123456789abcdef_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert shared_memory.remove_stale_segments(tmp_path) == 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["fastdds_0123456789abcdef", "fastdds_0123456789abcdef_el", "fastdds_port7411"]


def test_ci_runs_what_the_readme_says() -> None:
    assert "./wallwm test" in (ROOT / ".ci" / "run").read_text()
    assert "./wallwm test" in (ROOT / "README.md").read_text()


def test_licences() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    named = normal((ROOT / "NOTICE").read_text())
    for path in FILES:
        for line in path.read_text().partition("# what those need")[0].splitlines():
            if pin := PIN.match(line):
                name = re.sub(r"^(ros-kilted|colcon)-.*", r"\1-", normal(pin["name"]))
                assert name in named, f"NOTICE does not name {pin['name']}"
