"""`calibrate import` and `calibrate export`: other tools' files into a robot's calibration, and out of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model.calibration import (
    Calibration,
    CameraCalibration,
    Provenance,
    load_calibration,
    save_calibration,
)
from wallwm_model.calibration.camera_info_yaml import (
    Intrinsics,
    format_camera_info_yaml,
    read_camera_info_yaml,
)
from wallwm_model.calibration.easy_handeye import Mount, read_easy_handeye
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import angle_between
from wallwm_ros.core.calibration import calibration_path
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.options import unknown
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot import RobotProfile

Say = Callable[[str], None]


@dataclass(frozen=True)
class Import:
    """What is to be imported for one camera.

    Attributes:
        robot, camera: names, as in the robot profile.
        intrinsics: file of camera_calibration or camera_info_manager.
        handeye: file of easy_handeye or easy_handeye2.
        link: the profile's name for the link that the hand-eye file calls otherwise; empty: the same name.
        frame: frame_id of the camera's pictures; empty: as the files say.
        depth_band_m: near and far [m]; needed for a new camera.
        rectified: whether the published pictures are rectified; None: as before, false for a new camera.
        file: calibration file; None: the one that the profile names, else calibration/<robot>.yaml.
        date: YYYY-MM-DD of the calibration; empty: when the newest of the files was written.
    """

    robot: str
    camera: str
    intrinsics: Path | None = None
    handeye: Path | None = None
    link: str = ""
    frame: str = ""
    depth_band_m: tuple[float, float] | None = None
    rectified: bool | None = None
    file: Path | None = None
    date: str = ""


def import_camera(order: Import, say: Say) -> None:
    """Read the files, check them against each other and against what is there, and write the calibration.

    Raises:
        ConfigError: nothing to import, a file that is wrong, partial or contradictory, or a new camera of
            which something is missing; nothing is written then.
    """
    profile = load_robot(order.robot)
    if order.camera not in profile.camera_names:
        raise ConfigError(f"robot {profile.name}: {unknown('camera', order.camera, profile.camera_names)}")
    if order.intrinsics is None and order.handeye is None:
        raise ConfigError("import needs --intrinsics FILE or --handeye FILE; found neither")
    path = calibration_file(profile, order.camera, order.file)
    calibration = load_calibration(path) if path.is_file() else Calibration(profile.name, {})
    if calibration.robot != profile.name:
        raise ConfigError(f"{path}: robot must be {profile.name!r}; found {calibration.robot!r}")
    old = calibration.cameras.get(order.camera)
    new = _merged(order, old, _intrinsics(order), _mount(order, old))
    save_calibration(path, calibration.replaced(new))
    for line in describe(new, old):
        say(line)
    say(f"written to {path}")
    if not next(c.calibration for c in profile.cameras if c.name == order.camera):
        say(
            f"robot {profile.name} does not use it yet: give camera {order.camera} of its profile the key "
            f"calibration: {path.name}"
        )


def export_camera(robot: str, camera: str, out: Path, file: Path | None, say: Say) -> None:
    """Write a camera's intrinsics as camera_info_manager reads them.

    Raises:
        ConfigError: no calibration, no such camera, or the file cannot be written.
    """
    path = calibration_file(load_robot(robot), camera, file)
    calibration = load_calibration(path)
    if camera not in calibration.cameras:
        raise ConfigError(f"{path}: {unknown('camera', camera, calibration.cameras)}")
    try:
        out.write_text(format_camera_info_yaml(calibration.cameras[camera]), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    say(f"intrinsics of {camera} written to {out}; its mount stays in {path}")


def calibration_file(profile: RobotProfile, camera: str, file: Path | None) -> Path:
    """A given calibration file, else the one that the profile names, else calibration/<robot>.yaml."""
    if file is not None:
        return file
    named = next((c for c in profile.cameras if c.name == camera and c.calibration), None)
    return calibration_path(named) if named else data_path("calibration") / f"{profile.name}.yaml"


def describe(new: CameraCalibration, old: CameraCalibration | None) -> list[str]:
    """What a camera's calibration says, and how far it is from the one before, for people."""
    fx, fy, cx, cy = new.K[0, 0], new.K[1, 1], new.K[0, 2], new.K[1, 2]
    lines = [
        f"{new.name}: {new.width}x{new.height}, {new.distortion_model}, fx {fx:.2f}, fy {fy:.2f}, "
        f"cx {cx:.2f}, cy {cy:.2f} px, on {new.link}"
    ]
    if old is not None and old.link == new.link:
        was, now = old.T_link_camera_optical, new.T_link_camera_optical
        moved_mm = 1e3 * np.linalg.norm(now[:3, 3] - was[:3, 3])
        turned_deg = np.degrees(angle_between(was[:3, :3], now[:3, :3]))
        change = 100 * (new.K[0, 0] / new.width) / (old.K[0, 0] / old.width) - 100
        lines.append(
            f"against the calibration of {old.provenance.date}: mount {moved_mm:.1f} mm and {turned_deg:.2f} "
            f"degrees away, focal length {change:+.2f} %"
        )
    return lines


def _intrinsics(order: Import) -> Intrinsics | None:
    if order.intrinsics is None:
        return None
    return read_camera_info_yaml(_read(order.intrinsics), str(order.intrinsics))


def _mount(order: Import, old: CameraCalibration | None) -> Mount | None:
    """The mount in the hand-eye file, in the names of the profile."""
    if order.handeye is None:
        return None
    where = order.handeye
    mount = read_easy_handeye(_read(where), str(where))
    link = order.link or mount.link
    if old is not None and link != old.link:
        raise ConfigError(
            f"camera {order.camera}: link must be {old.link}, as in the calibration file; found {link} in "
            f"{where} (--link {old.link} if both are the same link)"
        )
    frame = order.frame or (old.frame if old else "")
    if frame and frame != mount.frame:
        raise ConfigError(
            f"camera {order.camera}: frame must be {frame}; found {mount.frame} in {where}: the pose of "
            "another frame of the camera is another pose"
        )
    if not frame and "optical" not in mount.frame:
        raise ConfigError(
            f"camera {order.camera}: tracking_base_frame must be the camera's optical frame; found "
            f"{mount.frame} in {where} (--frame {mount.frame} if it is the optical frame)"
        )
    return dataclasses.replace(mount, link=link)


def _merged(
    order: Import, old: CameraCalibration | None, intrinsics: Intrinsics | None, mount: Mount | None
) -> CameraCalibration:
    if old is None:
        needed = {"--intrinsics": intrinsics, "--handeye": mount, "--depth-band": order.depth_band_m}
        missing = [name for name, value in needed.items() if value is None]
        if missing:
            raise ConfigError(
                f"camera {order.camera} is new and needs {', '.join(needed)}; missing {', '.join(missing)}"
            )
    values = (
        {f.name: getattr(old, f.name) for f in dataclasses.fields(old)} if old else {"name": order.camera}
    )
    if intrinsics is not None:
        values |= {f.name: getattr(intrinsics, f.name) for f in dataclasses.fields(intrinsics)}
        del values["camera_name"]
    if mount is not None:
        values |= {"link": mount.link, "T_link_camera_optical": mount.T_link_camera, "frame": mount.frame}
    if order.depth_band_m is not None:
        values["depth_band_m"] = order.depth_band_m
    if order.rectified is not None:
        values["rectified"] = order.rectified
    if order.frame:
        values["frame"] = order.frame
    values["provenance"] = _provenance(order, old)
    return CameraCalibration(**values)


def _provenance(order: Import, old: CameraCalibration | None) -> Provenance:
    """Says which part came from which file; residuals stay with the part that stays."""
    files = [file for file in (order.intrinsics, order.handeye) if file is not None]
    date = order.date or max(datetime.date.fromtimestamp(f.stat().st_mtime) for f in files).isoformat()
    parts = [f"intrinsics imported from {order.intrinsics.name}"] if order.intrinsics else []
    parts += [f"mount imported from {order.handeye.name}"] if order.handeye else []
    residuals = {}
    if old is not None and len(files) == 1:
        kept = "mount" if order.intrinsics else "intrinsics"
        origin = old.provenance
        # An import over an import would otherwise drag along what it has replaced.
        method = next((p for p in origin.method.split("; ") if p.startswith(kept)), f"{kept} {origin.method}")
        parts.append(method if method.endswith(")") else f"{method} ({origin.date})")
        hand = {
            name: value for name, value in origin.residuals.items() if name.startswith(("handeye", "mount"))
        }
        rest = {name: value for name, value in origin.residuals.items() if name not in hand}
        residuals = hand if order.intrinsics else rest
    return Provenance(date, "; ".join(parts), residuals)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be text in UTF-8; {error}") from None
