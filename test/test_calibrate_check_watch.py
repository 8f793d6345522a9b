"""`calibrate check --watch` ends with its verdict; a stub plays the robot."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytest.importorskip("typer")
pytestmark = pytest.mark.ros

from types import SimpleNamespace  # noqa: E402

from wallwm_ros.calibrate import check as module  # noqa: E402
from wallwm_ros.cli.main import main  # noqa: E402


class Port:
    """Nothing arrives any more; the user presses Ctrl-C."""

    def __init__(self, profile, calibrations) -> None:
        self.asked = 0

    def __enter__(self) -> Port:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def kinematics(self) -> None:
        return None

    def newest(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("sound", "bumped", "code"), [(True, (), 0), (False, ("head_cam",), 3), (False, (), 4)]
)
def test_ctrl_c_ends_watching_with_the_exit_code_of_the_verdict(monkeypatch, sound, bumped, code):
    verdict = SimpleNamespace(sound=sound, bumped=frozenset(bumped))
    session = SimpleNamespace(finish=lambda: verdict)
    monkeypatch.setattr("wallwm_ros.bridge.calibration_check.CheckPort", Port)
    monkeypatch.setattr(module, "Session", lambda *_: session)
    monkeypatch.setattr(module, "_collect", lambda *_: (0, None))
    monkeypatch.setattr(module, "_publish", lambda *_: None)
    assert main(["calibrate", "check", "--watch"]) == code
