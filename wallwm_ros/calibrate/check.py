"""`calibrate check`: overlays on the robot's pictures, and a verdict on the camera mounts from a board."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.calibration import CameraCalibration, load_calibration
from wallwm_model.calibration_check.consistency import Verdict
from wallwm_model.calibration_check.snapshot import Claims, Snapshot
from wallwm_model.errors import ConfigError, ObservationError
from wallwm_ros.calibrate.check_session import Order, Say, Session
from wallwm_ros.calibrate.stored import stored
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.postures import PostureGate
from wallwm_ros.core.robot import RobotProfile

if TYPE_CHECKING:
    from wallwm_ros.bridge.calibration_check import CheckPort

POLL_S, SHOW_S = 0.05, 0.5
SILENCE_S = 10.0  # a robot that has shown nothing for this long is not there
_HINTS = {
    "moving": "{found} of {wanted} postures; hold still for a picture",
    "known": "{found} of {wanted} postures; let the wrist cameras see the board from another side",
    "new": "{found} of {wanted} postures",
}


def check(order: Order, say: Say, enough: Callable[[], bool] = lambda: False) -> Verdict | None:
    """Check a running robot, a recording, or a folder of pictures; None without a board.

    Args:
        order: what is wanted.
        say: tells the user.
        enough: ends `order.watch`.

    Raises:
        WallWMError: something is missing, cannot be read, or does not arrive.
    """
    profile, calibrations = prepare(order)
    if order.images or order.recording:
        from wallwm_model.forward_kinematics import load_kinematics

        kinematics = load_kinematics(profile)
        session = Session(order, calibrations, kinematics, say)
        for snapshot in stored(order, profile, calibrations, kinematics, say):
            session.add(snapshot)
        return session.finish()
    return _live(order, profile, calibrations, say, enough)


def prepare(order: Order) -> tuple[RobotProfile, dict[str, CameraCalibration]]:
    """The robot and its calibrated cameras, in the profile's order.

    Raises:
        ConfigError: what is wrong with the order.
    """
    if order.postures < 1:
        raise ConfigError(f"--postures must be 1 or more; found {order.postures}")
    if order.joint_deg <= 0:
        raise ConfigError(f"--joint-noise must be more than 0 degrees; found {order.joint_deg:g}")
    if order.images and order.recording:
        raise ConfigError("pictures must come from --images or --recording; found both")
    if order.save and not order.board:
        raise ConfigError("--save keeps what a board says; found --no-board")
    profile = load_robot(order.robot)
    cameras = load_calibration(order.file).cameras if order.file else load_calibrations(profile)
    missing = [name for name in profile.camera_names if name not in cameras]
    if missing:
        names = ", ".join(missing)
        raise ConfigError(f"every camera of {profile.name} must be calibrated; found none for {names}")
    return profile, {name: cameras[name] for name in profile.camera_names}


def parse_patches(text: str) -> tuple[int, int]:
    """`ROWSxCOLUMNS` -> the two numbers.

    Raises:
        ConfigError: not that.
    """
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
    if match is None:
        raise ConfigError(f"--patches must be ROWSxCOLUMNS, up to 99, e.g. 4x4; found {text!r}")
    return int(match[1]), int(match[2])


def draw_figure(order: Order, path: Path, say: Say) -> None:
    """Draw masks that follow the arms of the simulated robot, without ROS.

    Raises:
        ConfigError: another robot, or no such folder.
    """
    from wallwm_model.calibration_check import figure
    from wallwm_model.forward_kinematics import load_kinematics

    profile, calibrations = prepare(order)
    if profile.description != "mujoco":
        raise ConfigError(f"--figure needs the simulated robot, --robot sim; found {order.robot}")
    if not path.parent.is_dir():
        raise ConfigError(f"--figure must name a file in an existing folder; found no folder {path.parent}")
    surface = 0.0 if order.surface_m is None else order.surface_m
    claims = Claims(calibrations, load_kinematics(profile), order.patches, order.method, surface)
    figure.draw(figure.simulate(claims), path)
    say(f"figure: {path}")


def _live(
    order: Order,
    profile: RobotProfile,
    calibrations: dict[str, CameraCalibration],
    say: Say,
    enough: Callable[[], bool],
) -> Verdict | None:
    from rich.console import Console

    from wallwm_ros.bridge.calibration_check import TOPIC, CheckPort

    with CheckPort(profile, calibrations) as port:
        session = Session(order, calibrations, port.kinematics(), say)
        say(f"overlays on {TOPIC}/<camera>")
        with Console(stderr=True).status("listening") as status:
            last = _collect(order, session, port, status.update)
        verdict = session.finish()
        _publish(session, port, last, verdict)
        with contextlib.suppress(KeyboardInterrupt):  # ends watching, not the verdict
            while order.watch and not enough():
                time.sleep(SHOW_S)
                found = port.newest()
                if not isinstance(found, str):
                    _publish(session, port, found, verdict)
        return verdict


def _collect(order: Order, session: Session, port: CheckPort, tell: Say) -> tuple[int, Snapshot]:
    """Look at every new posture until there are enough, or time is up; -> the last stamp [ns] and snapshot.

    Raises:
        ObservationError: nothing arrives.
    """
    gate, begun, shown, last = PostureGate(), time.monotonic(), 0.0, None
    while not session.done and (now := time.monotonic()) < begun + order.timeout_s:
        time.sleep(POLL_S)
        found = port.newest()
        if isinstance(found, str):
            if last is None and now > begun + SILENCE_S:
                break
            tell(found)
            continue
        last = stamp_ns, snapshot = found
        joints = np.array(list(snapshot.joints.values()))
        state = gate.offer(stamp_ns, joints)
        if state == "new" or order.board is None:
            gate.take(joints)
            session.add(snapshot)
        tell(_HINTS[state].format(found=session.postures, wanted=order.postures))
        if now > shown + SHOW_S:
            shown = now
            _publish(session, port, last)
    if last is None:
        raise ObservationError(f"pictures and joints of {order.robot} must arrive; {port.newest()}")
    return last


def _publish(
    session: Session, port: CheckPort, moment: tuple[int, Snapshot], verdict: Verdict | None = None
) -> None:
    if port.watched:
        stamp_ns, snapshot = moment
        port.show(session.overlays(snapshot, verdict), stamp_ns)
