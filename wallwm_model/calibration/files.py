"""Calibration files: strict reading, and writing that gives the same numbers back to the last bit."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import yaml

from wallwm_model.calibration.camera import Calibration, CameraCalibration
from wallwm_model.calibration.provenance import Provenance
from wallwm_model.calibration.schema import check_schema
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import from_quaternion
from wallwm_model.yaml_files import parse_yaml, read_yaml

HEADER = """\
# Cameras of robot {robot}; docs/calibration.md describes every field.
# Lengths in m; pixels as in ROS and OpenCV: a whole number is the centre of a pixel. Matrices are row by row.
# As in sensor_msgs/CameraInfo, K and D describe the raw picture, R and P the rectified one.
# T_link_camera_optical: pose of the raw optical frame (x right, y down, z forward) in the link.
"""


def load_calibration(path: Path | str) -> Calibration:
    """Read a calibration file.

    Raises:
        ConfigError: no such file, not YAML, against the schema, or values that no camera can have; names
            file, camera, field, what is expected and what was found.
    """
    return _calibration(read_yaml(Path(path)), str(path))


def read_calibration(text: str, where: str) -> Calibration:
    """A calibration file's text -> its content; `where` names it in messages. Raises as loading does."""
    return _calibration(parse_yaml(text, where), where)


def parse_calibration(body: dict[str, Any], where: str) -> dict[str, CameraCalibration]:
    """A calibration file's content -> camera name -> calibration. Raises as `load_calibration`."""
    return _calibration(body, where).cameras


def _calibration(body: Any, where: str) -> Calibration:
    body = _plain_dates(body, where)
    check_schema(body, where)
    try:
        cameras = {name: _camera(name, entry) for name, entry in body["cameras"].items()}
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return Calibration(body["robot"], cameras)


def _plain_dates(value: Any, where: str) -> Any:
    """YAML reads 2026-11-23 as a date, which is text here, and `1:` as a number, which is no name."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: keys must be text; found {key!r}")
        return {key: _plain_dates(entry, where) for key, entry in value.items()}
    return value.isoformat() if isinstance(value, datetime.date) else value


def _camera(name: str, entry: dict[str, Any]) -> CameraCalibration:
    values = {
        key: value for key, value in entry.items() if key not in ("provenance", "T_link_camera_optical")
    }
    pose = entry["T_link_camera_optical"]
    try:
        if isinstance(pose, dict):
            pose = from_quaternion(pose["translation"], pose["quaternion"])
    except ConfigError as error:
        raise ConfigError(f"camera {name}: T_link_camera_optical: {error}") from None
    try:
        provenance = Provenance(**entry["provenance"])
    except ConfigError as error:
        raise ConfigError(f"camera {name}: {error}") from None
    return CameraCalibration(name=name, **values, T_link_camera_optical=pose, provenance=provenance)


def save_calibration(path: Path | str, calibration: Calibration) -> None:
    """Write a calibration file; a comment at the top of the file that it replaces is kept.

    Raises:
        ConfigError: a camera without provenance, no camera at all, or the file cannot be written.
    """
    path = Path(path)
    text = format_calibration(calibration, _header(path))
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)  # whoever reads meanwhile finds the old file or the new one
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def format_calibration(calibration: Calibration, header: str = "") -> str:
    """The file's text: always the same order of fields. Raises as `save_calibration`."""
    lines = [f"robot: {plain_text(calibration.robot)}", "cameras:"]
    for camera in calibration.cameras.values():
        lines += [f"  {camera.name}:", *(f"    {line}" for line in _lines(camera))]
    text = (header or HEADER.format(robot=calibration.robot)) + "\n".join(lines) + "\n"
    if read_calibration(text, "the calibration to save") != calibration:
        raise ConfigError(f"the calibration of robot {calibration.robot} cannot be written without a loss")
    return text


def _lines(camera: CameraCalibration) -> list[str]:
    if camera.provenance is None:
        raise ConfigError(f"camera {camera.name}: provenance must say date and method; found none")
    origin = camera.provenance
    residuals = ", ".join(f"{name}: {number_text(value)}" for name, value in origin.residuals.items())
    frame = [f"frame: {plain_text(camera.frame)}"] if camera.frame else []
    return [
        f"width: {camera.width}",
        f"height: {camera.height}",
        *_matrix("K", camera.K),
        f"distortion_model: {camera.distortion_model}",
        f"D: [{', '.join(map(number_text, camera.D))}]",
        *_matrix("R", camera.R),
        *_matrix("P", camera.P),
        f"rectified: {'true' if camera.rectified else 'false'}",
        *frame,
        f"link: {plain_text(camera.link)}",
        *_matrix("T_link_camera_optical", camera.T_link_camera_optical),
        f"depth_band_m: [{', '.join(map(number_text, camera.depth_band_m))}]",
        "provenance:",
        f'  date: "{origin.date}"',
        f"  method: {plain_text(origin.method)}",
        f"  residuals: {{{residuals}}}",
    ]


def _matrix(name: str, value: Any) -> list[str]:
    """A flat list with one matrix row in each line."""
    rows = [", ".join(map(number_text, row)) for row in value.tolist()]
    return [f"{name}: [", *(f"  {row}," for row in rows), "]"]


def number_text(value: float) -> str:
    """The shortest text that reads back as the same float64; YAML wants a point before an exponent."""
    text = repr(float(value))
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def plain_text(value: str) -> str:
    """A string as YAML, quoted where it must be."""
    dumped = yaml.safe_dump(value, width=float("inf"), allow_unicode=True)
    return dumped.removesuffix("...\n").removesuffix("\n")


def _header(path: Path) -> str:
    """The comment that begins an existing file."""
    if not path.is_file():
        return ""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(f"{line}\n")
    return "".join(lines)
