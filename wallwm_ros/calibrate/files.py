"""`calibrate import` and `calibrate export`: other tools' files into a robot's calibration, and out of it."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path

from wallwm_model.calibration import CameraCalibration, Provenance, load_calibration
from wallwm_model.calibration.camera_info_yaml import (
    Intrinsics,
    format_camera_info_yaml,
    read_camera_info_yaml,
)
from wallwm_model.calibration.easy_handeye import Mount, read_easy_handeye
from wallwm_model.calibration.provenance import renewed
from wallwm_model.errors import ConfigError
from wallwm_ros.calibrate.results import Place, Say, calibration_file
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.options import unknown


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
        write: change the file itself, not the draft beside it.
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
    write: bool = False


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
    place = Place.of(profile, order.camera, order.file, order.write)
    known = place.read(profile.name)
    old = known.cameras.get(order.camera)
    new = _merged(order, old, _intrinsics(order), _mount(order, old))
    place.save(known, new, old, say)
    if not next(c.calibration for c in profile.cameras if c.name == order.camera):
        say(
            f"robot {profile.name} does not use it yet: give camera {order.camera} of its profile the key "
            f"calibration: {place.file.name}"
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
    new = CameraCalibration(**values)
    if mount is None or not new.rectified:
        return new
    # The board was found in rectified pictures, whose optical frame is turned; the file keeps the raw one.
    return dataclasses.replace(new, T_link_camera_optical=new.mounted(mount.T_link_camera))


def _provenance(order: Import, old: CameraCalibration | None) -> Provenance:
    """Says which part came from which file; what is said of the other part stays."""
    files = {"intrinsics": order.intrinsics, "mount": order.handeye}
    new = {part: f"imported from {file.name}" for part, file in files.items() if file is not None}
    given = [file for file in files.values() if file is not None]
    date = order.date or max(datetime.date.fromtimestamp(f.stat().st_mtime) for f in given).isoformat()
    return renewed(old.provenance if old else None, new, date)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be text in UTF-8; {error}") from None
