"""Does this model belong on this robot? Every difference is refused before anything moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import ConfigError, SpecError
from wallwm_model.spec import ModelSpec
from wallwm_ros.core.camera_contract import CameraInfo, check_camera, check_camera_info
from wallwm_ros.core.robot import RobotProfile

RATES_HZ = (1.0, 200.0)  # action steps per second that the control process can interpolate

__all__ = [
    "CameraInfo",
    "check_camera",
    "check_camera_info",
    "check_compatible",
    "check_mode",
    "check_unified",
    "uncalibrated",
]


def check_compatible(
    spec: ModelSpec,
    profile: RobotProfile,
    calibrations: Mapping[str, CameraCalibration],
    mode: str,
    allow_uncalibrated: bool = False,
) -> None:
    """Refuse a model that was not made for this robot.

    Args:
        allow_uncalibrated: take a camera without calibration as it is, wherever it looks.

    Raises:
        SpecError: robot, joints, cameras, action space, rate or normalisation differ; says how. Or a camera
            has no calibration, so that nobody knows.
        ConfigError: the model does not have `mode`.
    """
    if spec.robot != profile.name:
        trained = f"model {spec.name} was trained for robot {spec.robot!r}"
        raise SpecError(f"{trained}; found robot {profile.name!r}")
    check_mode(spec, mode)
    if spec.action_space != profile.action_space:
        raise SpecError(
            f"robot {profile.name} takes actions as {profile.action_space}; "
            f"model {spec.name} gives {spec.action_space}"
        )
    _check_joints(spec, profile)
    if not RATES_HZ[0] <= spec.rate_hz <= RATES_HZ[1]:
        raise SpecError(
            f"a model's rate must be {RATES_HZ[0]:g} to {RATES_HZ[1]:g} Hz; "
            f"found {spec.rate_hz:g} Hz in {spec.name}"
        )
    _check_normalisation(spec, profile)
    cameras = [camera.name for camera in spec.cameras]
    _same_names("cameras", cameras, profile.camera_names, spec.name, profile.name)
    for view, (wanted, found) in enumerate(zip(cameras, profile.camera_names, strict=True)):
        if wanted != found:
            raise SpecError(
                f"cameras must be in the model's order; view {view} is {wanted} in model {spec.name} "
                f"and {found} in robot {profile.name}"
            )
    unknown = uncalibrated(spec, calibrations)
    if unknown and not allow_uncalibrated:
        raise SpecError(
            f"every camera of robot {profile.name} must have a calibration file in its profile, or nobody "
            f"knows whether model {spec.name} sees what it was trained on; "
            f"found none for {', '.join(unknown)} "
            "(allow_uncalibrated takes them as they are)"
        )
    for camera in spec.cameras:
        if camera.name in calibrations:
            check_camera(camera, calibrations[camera.name])


def uncalibrated(spec: ModelSpec, calibrations: Mapping[str, CameraCalibration]) -> list[str]:
    """Names of the model's cameras that have no calibration."""
    return [camera.name for camera in spec.cameras if camera.name not in calibrations]


def check_mode(spec: ModelSpec, mode: str) -> None:
    """Refuse a mode that the model was not trained for.

    Raises:
        ConfigError: names the modes that the model has.
    """
    if mode not in spec.modes:
        has = ", ".join(spec.modes)
        raise ConfigError(f"mode {mode!r} needs a bundle with {mode} mode; this one has: {has}")


def check_unified(spec: ModelSpec, source: str, replan_steps: int) -> None:
    """Refuse parameters of unified mode that the model cannot follow.

    Raises:
        ConfigError: a text source that it was not trained for, or a step beyond its chunks.
    """
    if source not in spec.sources:
        has = ", ".join(spec.sources) or "none, it lacks unified mode"
        needed = f"text_source {source!r} needs a bundle that was trained for it"
        raise ConfigError(f"{needed}; this one has: {has}")
    if replan_steps > spec.chunk_steps:
        most = f"at most {spec.chunk_steps}, the length of a chunk"
        raise ConfigError(f"replan_steps must be {most}; found {replan_steps}")


def _check_joints(spec: ModelSpec, profile: RobotProfile) -> None:
    _same_names("joints", spec.joints, profile.joint_names, spec.name, profile.name)
    for column, (wanted, found) in enumerate(zip(spec.joints, profile.joint_names, strict=True)):
        if wanted != found:
            raise SpecError(
                f"joints must be in the model's order; column {column} is {wanted} in model {spec.name} "
                f"and {found} in robot {profile.name}"
            )


def _same_names(what: str, wanted: Sequence[str], found: Sequence[str], model: str, robot: str) -> None:
    lacking = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if lacking or extra or len(wanted) != len(found):
        parts = [f"robot {robot} lacks {', '.join(lacking)}"] if lacking else []
        parts += [f"the model does not know {', '.join(extra)}"] if extra else []
        expected = f"{what} must be the {len(wanted)} of model {model}"
        raise SpecError(f"{expected}; found {len(found)}: {'; '.join(parts)}")


def _check_normalisation(spec: ModelSpec, profile: RobotProfile) -> None:
    """Statistics in other units (degrees, millimetres) put a joint's mean outside what it can reach."""
    for joint, mean in zip(profile.joints, spec.normalisation.mean, strict=True):
        slack = 0.1 * (joint.high - joint.low)
        if not joint.low - slack <= mean <= joint.high + slack:
            raise SpecError(
                f"the mean of {joint.name} in model {spec.name} must lie within the joint's limits "
                f"{joint.low:g} to {joint.high:g} {joint.unit}; found {mean:g}: other units or another robot"
            )
