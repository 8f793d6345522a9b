"""What makes a hand-eye calibration trustworthy, and the refusal of what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wallwm_model.calibration_tools.coverage import rotation_spread
from wallwm_model.errors import CalibrationError

if TYPE_CHECKING:
    from wallwm_model.calibration_tools.handeye import HandEye

MIN_POSES = 8
MIN_TURN_RAD = np.radians(12.0)  # about the main axis, root mean square over pairs of poses
MIN_SECOND_TURN_RAD = np.radians(5.0)  # about another axis
MAX_DISAGREEMENT = (0.015, np.radians(1.5))  # between methods [m, rad]
MAX_RMS_PX = 6.0
MAX_DEVIATION = (0.003, np.radians(0.3))  # standard deviation of the result [m, rad]
MAX_SCALE_ERROR = 0.03  # of the board's squares against the robot's lengths


def check_motion(M: np.ndarray, B: np.ndarray, after: str = "") -> None:
    """Refuse motions that leave the mount undetermined.

    Args:
        M, B: (V, 4, 4) T_cameralink_boardlink by the robot, T_optical_board by the pictures.
        after: what has happened to the views, for the sentence.

    Raises:
        CalibrationError: too few poses, no turns, or turns about one axis only.
    """
    count = len(M)
    if count < MIN_POSES:
        raise CalibrationError(
            f"too few poses: at least {MIN_POSES} with the board in sight are needed; found {count}{after}"
        )
    robot, seen = rotation_spread(M[:, :3, :3]), rotation_spread(B[:, :3, :3])
    if robot[0] < np.radians(1.0) and seen[0] > MIN_TURN_RAD:
        raise CalibrationError(
            f"the pictures show the board turning by {np.degrees(seen[0]):.0f} degrees while the robot "
            "reports none: check the links and the joint states"
        )
    if robot[0] < MIN_TURN_RAD:
        raise CalibrationError(
            "degenerate motion, pure translation: poses must differ by turns of "
            f"{np.degrees(MIN_TURN_RAD):.0f} degrees or more; found {np.degrees(robot[0]):.1f} "
            f"degrees{after}: turn the wrist between views"
        )
    if robot[1] < MIN_SECOND_TURN_RAD:
        raise CalibrationError(
            "degenerate motion, parallel rotation axes: poses must also turn about a second axis, by "
            f"{np.degrees(MIN_SECOND_TURN_RAD):.0f} degrees or more; found {np.degrees(robot[1]):.1f} "
            f"degrees{after}: tilt the wrist as well as rolling it"
        )


def check_result(result: HandEye) -> None:
    """Refuse a mount that the data contradicts or does not determine.

    Raises:
        CalibrationError: says what was found and what is needed.
    """
    if result.rms_px > MAX_RMS_PX:
        raise CalibrationError(
            f"robot and pictures contradict each other: corners must lie within {MAX_RMS_PX:g} px RMS of "
            f"where the robot puts them; found {result.rms_px:.1f} px (did the board slip, are links, joints "
            "and stamps right?)"
        )
    off = abs(result.scale - 1)
    if off > max(MAX_SCALE_ERROR, 4 * result.scale_deviation):
        raise CalibrationError(
            "the board's squares must have the told size; measured by the robot's motion they are "
            f"{result.scale:.3f} +- {result.scale_deviation:.3f} of it: measure the print"
        )
    worst = max(
        result.agreement,
        key=lambda a: max(a.distance_m / MAX_DISAGREEMENT[0], a.angle_rad / MAX_DISAGREEMENT[1]),
    )
    if worst.distance_m > MAX_DISAGREEMENT[0] or worst.angle_rad > MAX_DISAGREEMENT[1]:
        raise CalibrationError(
            f"methods must agree within {MAX_DISAGREEMENT[0] * 1e3:.0f} mm and "
            f"{np.degrees(MAX_DISAGREEMENT[1]):.1f} degrees; {worst.method} is off by "
            f"{worst.distance_m * 1e3:.1f} mm "
            f"and {np.degrees(worst.angle_rad):.2f} degrees: add poses with larger turns"
        )
    if result.deviation_m > MAX_DEVIATION[0] or result.deviation_rad > MAX_DEVIATION[1]:
        raise CalibrationError(
            f"the poses do not determine the mount: it must be certain to {MAX_DEVIATION[0] * 1e3:g} mm and "
            f"{np.degrees(MAX_DEVIATION[1]):.1f} degrees; found {result.deviation_m * 1e3:.1f} mm and "
            f"{np.degrees(result.deviation_rad):.2f} degrees: add poses with larger turns"
        )
