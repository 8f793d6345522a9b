"""First-use set-up: what it finds missing, what it repairs, how it survives being cut off."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wallwm_ros.setup import layers, steps, system
from wallwm_ros.setup.environment import build_environment, profile_variable, runtime_environment
from wallwm_ros.setup.errors import SetupError
from wallwm_ros.setup.exports import repaired
from wallwm_ros.setup.installer import Installer
from wallwm_ros.setup.paths import Paths
from wallwm_ros.setup.underlay import Underlay, find_underlay

ROOT = Path(__file__).resolve().parents[1]
# For a script in a process of its own, which gets the checkout as its first argument.
PRELUDE = (
    "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
    "from wallwm_ros.setup import steps; "
)
THIS = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path: Path) -> Paths:
    """The files that set-up reads, in a folder of their own."""
    for name in ("requirements", "wallwm_msgs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in layers.PACKAGE_FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return Paths(tmp_path)


def finish(paths: Paths, names: tuple[str, ...], underlay: Underlay | None = None) -> None:
    """Pretend that these layers have been set up."""
    paths.python.parent.mkdir(parents=True, exist_ok=True)
    paths.python.touch()
    (paths.install / "wallwm_msgs" / "lib").mkdir(parents=True, exist_ok=True)
    (paths.install / "wallwm_msgs" / "lib" / "libwallwm_msgs__rosidl_generator_py.so").touch()
    (paths.install / "wallwm_ros" / "share" / "wallwm_ros").mkdir(parents=True, exist_ok=True)
    (paths.install / "wallwm_ros" / "share" / "wallwm_ros" / "package.xml").touch()
    for name, digest in layers.make_plan(paths, names, underlay).steps:
        layers.write_stamp(paths.stamp, name, digest)


def names(paths: Paths, *wanted: str, underlay: Underlay | None = None) -> list[str]:
    return [name for name, _ in layers.make_plan(paths, wanted, underlay).steps]


def test_a_fresh_checkout_gets_everything_the_demo_needs_and_no_torch(checkout: Paths) -> None:
    assert names(checkout, *layers.layers_of("demo")) == [
        "environment", "ros.txt", "build.txt", "runtime.txt", "messages", "package",
    ]  # fmt: skip


def test_nothing_is_done_twice(checkout: Paths) -> None:
    finish(checkout, ("runtime",))
    assert names(checkout, "runtime") == []
    assert names(checkout, *layers.layers_of("test")) == ["test.txt", "train.txt"]


def test_only_what_changed_is_done_again(checkout: Paths) -> None:
    finish(checkout, ("runtime",))
    action = checkout.messages / "action" / "ExecuteEvent.action"
    action.write_text(action.read_text() + "# changed\n")
    assert names(checkout, "runtime") == ["messages"]
    (checkout.requirements / "runtime.txt").write_text("numpy==2.4.6\n")
    assert names(checkout, "runtime") == ["runtime.txt", "messages"]


def test_lost_build_products_are_built_again(checkout: Paths) -> None:
    finish(checkout, ("runtime",))
    shutil.rmtree(checkout.install)
    assert names(checkout, "runtime") == ["messages", "package"]


@pytest.mark.parametrize("damage", ["cut off", "moved", "stamp unreadable"])
def test_a_doubtful_environment_is_made_anew(checkout: Paths, damage: str, tmp_path: Path) -> None:
    finish(checkout, ("runtime", "train"))
    if damage == "cut off":
        checkout.unfinished.touch()
    elif damage == "stamp unreadable":
        checkout.stamp.write_text("{half")
    else:
        checkout.root.rename(tmp_path.with_name("elsewhere"))
        checkout = Paths(tmp_path.with_name("elsewhere"))
    assert layers.make_plan(checkout, ("runtime",), None).clear
    assert names(checkout, "runtime")[0] == "environment"


def test_a_step_that_fails_is_not_noted_and_says_why(
    checkout: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(checkout, ("runtime",))
    monkeypatch.setattr(
        Installer, "_install", lambda self, name: (_ for _ in ()).throw(SetupError("no network"))
    )
    plan = layers.make_plan(checkout, ("runtime", "test"), None)
    with pytest.raises(SetupError, match="no network"):
        Installer(checkout, None).carry_out(plan)
    assert names(checkout, "runtime", "test") == ["test.txt"]


def test_cmake_exports_point_to_this_environment() -> None:
    text = (
        'set_target_properties(x PROPERTIES "/opt/python/cp311-cp311/include/python3.11;'
        '${_IMPORT_PREFIX}/include/x;/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")'
    )
    new = repaired(text, "/home/me/include/python3.12", "/venv/numpy/_core/include")
    assert new == (
        'set_target_properties(x PROPERTIES "/home/me/include/python3.12;'
        '${_IMPORT_PREFIX}/include/x;/venv/numpy/_core/include")'
    )
    assert repaired(new, "/home/me/include/python3.12", "/venv/numpy/_core/include") == new


def make_ros(prefix: Path, python: str = THIS) -> Path:
    (prefix / "share" / "rclpy").mkdir(parents=True)
    (prefix / "share" / "rclpy" / "package.xml").touch()
    (prefix / "lib" / python / "site-packages" / "rclpy").mkdir(parents=True)
    return prefix


def test_a_sourced_ros_is_used_and_nothing_of_ros_installed(checkout: Paths, tmp_path: Path) -> None:
    ros = make_ros(tmp_path / "ros")
    underlay = find_underlay({"AMENT_PREFIX_PATH": str(ros), "ROS_DISTRO": "jazzy"})
    assert underlay == Underlay("jazzy", (ros,))
    assert "ros.txt" not in names(checkout, "runtime", underlay=underlay)
    environ = {"AMENT_PREFIX_PATH": str(ros), "PYTHONPATH": "/ros/python", "ROS_DISTRO": "jazzy"}
    assert build_environment(checkout, underlay, environ)["AMENT_PREFIX_PATH"] == str(ros)
    env = runtime_environment(checkout, underlay, environ)
    assert env["AMENT_PREFIX_PATH"].split(os.pathsep)[-1] == str(ros)
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(checkout.root)
    assert env["PYTHONPATH"].split(os.pathsep)[-1] == "/ros/python"


def test_a_ros_for_another_python_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ros = make_ros(tmp_path / "ros", "python3.7")
    with pytest.raises(SetupError, match="python3.7.*WALLWM_PYTHON"):
        find_underlay({"AMENT_PREFIX_PATH": str(ros)})


def test_the_wheels_of_another_checkout_are_no_underlay(tmp_path: Path) -> None:
    venv = make_ros(tmp_path / "venv")
    (venv / "pyvenv.cfg").touch()
    assert find_underlay({"AMENT_PREFIX_PATH": str(venv)}) is None
    assert find_underlay({}) is None


def test_the_environment_names_the_profile_unless_the_user_did(checkout: Paths) -> None:
    env = runtime_environment(checkout, None, {"PATH": "/bin"})
    assert Path(env["FASTDDS_DEFAULT_PROFILES_FILE"]).parent == checkout.root / "config"
    assert env["PATH"] == f"{checkout.venv}/bin:/bin"
    env = runtime_environment(checkout, None, {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"})
    assert env["FASTDDS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
    assert profile_variable("jazzy") == "FASTRTPS_DEFAULT_PROFILES_FILE"


def test_a_missing_compiler_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "missing_tools", lambda: ["g++"])
    monkeypatch.setattr(system, "can_install", lambda: False)
    with pytest.raises(SetupError, match=r"sudo apt-get install -y g\+\+") as error:
        system.need_compiler(lambda packages: None)
    assert "\n" not in str(error.value)


def test_a_failing_command_is_one_sentence_with_its_last_words(tmp_path: Path) -> None:
    code = "print('fine'); print('ERROR: no such package'); print('bye'); raise SystemExit(3)"
    with pytest.raises(SetupError, match="Installing failed: ERROR: no such package") as error:
        steps.run_logged(
            [sys.executable, "-c", code],
            log=tmp_path / "log",
            env=os.environ,
            cwd=tmp_path,
            what="Installing",
        )
    assert str(tmp_path / "log") in str(error.value)


def test_a_killed_setup_leaves_no_process_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    note = f"open({str(pids)!r}, 'w').write(str(os.getpid()))"
    child = f"import os, subprocess; {note}; subprocess.call(['sleep', '60'])"
    command = f"[sys.executable, '-c', {child!r}]"
    log = f"Path({str(tmp_path / 'log')!r})"
    parent = f"{PRELUDE}steps.run_logged({command}, log={log}, env=os.environ, cwd='.', what='x')"
    running = subprocess.Popen([sys.executable, "-c", parent, str(ROOT)])
    wait(lambda: pids.exists() and pids.read_text())
    pid = int(pids.read_text())
    group = os.getpgid(pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait(lambda: not alive(group))


def test_two_setups_at_once_wait_for_each_other(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = f"{PRELUDE}\nwith steps.only_one(Path(sys.argv[2])): print('in')"
    with steps.only_one(lock):
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(ROOT), str(lock)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "Waiting" in other.stderr.readline()
        assert other.poll() is None
    assert other.communicate(timeout=30)[0] == "in\n"


def test_help_before_setup_installs_nothing(checkout: Paths) -> None:
    for name in ("wallwm", "wallwm_model/errors.py", "wallwm_model/__init__.py", "wallwm_ros/__init__.py"):
        (checkout.root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout.root / name)
    shutil.copytree(ROOT / "wallwm_ros" / "setup", checkout.root / "wallwm_ros" / "setup")
    shutil.copy(ROOT / "wallwm_ros" / "shared_memory.py", checkout.root / "wallwm_ros")
    done = subprocess.run([checkout.root / "wallwm", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "usage: ./wallwm COMMAND" in done.stdout, done.stderr
    assert not checkout.venv.exists()


def alive(group: int) -> bool:
    """Some process of the group still runs (a zombie whose parent has gone does not count)."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True).stdout
    return any(
        line.split()[0] == str(group) and not line.split()[1].startswith("Z") for line in listed.splitlines()
    )


def wait(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_machine_without_a_fitting_python_gets_one_sentence(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "readlink", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").write_text(
        "#!/bin/sh\nexit 1\n"
    )  # as python 3.9 answers the question for its version
    (tools / "python3").chmod(0o755)
    shutil.copy(ROOT / "wallwm", tmp_path / "wallwm")
    done = subprocess.run(
        [tmp_path / "wallwm", "demo"], env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "3.10, 3.11, 3.12 or 3.13" in done.stderr


def test_an_environment_can_be_made_anew_by_its_own_python(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([steps.base_python(), "-m", "venv", "--without-pip", venv], check=True)
    code = f"{PRELUDE}import shutil\nshutil.rmtree(sys.argv[2])\n" + (
        "steps.run_logged(['true'], log=Path(sys.argv[3]), env=os.environ, cwd=Path('/'), what='x')"
    )
    arguments = [venv / "bin" / "python", "-I", "-S", "-c", code, ROOT, venv, tmp_path / "log"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
