"""One calibrated camera and a robot's set of them. The package says which pixel convention holds."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from wallwm_model.calibration.provenance import Provenance
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import inverse, is_transform, rotation_fault

DISTORTION = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}  # model -> coefficients
ALIASES = {"fisheye": "equidistant"}  # OpenCV's name -> sensor_msgs/CameraInfo's
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_FRAME = re.compile(r"\S+\Z")
DEPTH_BAND_M = (0.05, 1.5)  # where nothing else is known


def corner_from_pixel(pixels: Any) -> np.ndarray:
    """Pixel coordinates (whole number = pixel centre) -> distances from the top left corner [px]."""
    return np.asarray(pixels, dtype=np.float64) + 0.5


def pixel_from_corner(distances: Any) -> np.ndarray:
    """Distances from the top left corner [px] -> pixel coordinates (whole number = pixel centre)."""
    return np.asarray(distances, dtype=np.float64) - 0.5


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """One camera.

    Attributes:
        name: camera name, e.g. `head_cam`.
        width, height: size of the calibrated picture [px].
        K: (3, 3) intrinsics of the raw picture [px].
        distortion_model: one of `DISTORTION`, as in sensor_msgs/CameraInfo.
        D: distortion coefficients of the raw picture.
        link: link that carries the camera; `world` for a fixed one.
        T_link_camera_optical: (4, 4) pose of the raw optical frame (x right, y down, z forward) in `link`
            [m].
        R: (3, 3) rotation from the raw to the rectified optical frame; default: none.
        P: (3, 4) projection of the rectified picture [px]; default: [K | 0].
        depth_band_m: (near, far) z-depth in the optical frame between which scenes lie [m].
        provenance: where it comes from; None where it was made up in code.
        rectified: whether the pictures that the robot publishes have been rectified with R and P.
        frame: frame_id of its pictures; empty: not known, not checked.

    Raises:
        ConfigError: a value that no camera can have; the sentence names camera and field.
    """

    name: str
    width: int
    height: int
    K: np.ndarray
    distortion_model: str
    D: tuple[float, ...]
    link: str
    T_link_camera_optical: np.ndarray
    R: np.ndarray | None = None
    P: np.ndarray | None = None
    depth_band_m: tuple[float, float] = DEPTH_BAND_M
    provenance: Provenance | None = None
    rectified: bool = False
    frame: str = ""

    def __post_init__(self) -> None:
        K = self._array("K", self.K, (3, 3))
        self._array("R", np.eye(3) if self.R is None else self.R, (3, 3))
        self._array("P", np.hstack([K, np.zeros((3, 1))]) if self.P is None else self.P, (3, 4))
        self._array("T_link_camera_optical", self.T_link_camera_optical, (4, 4))
        object.__setattr__(self, "D", tuple(float(d) for d in self.D))
        object.__setattr__(self, "depth_band_m", tuple(float(d) for d in self.depth_band_m))
        model = ALIASES.get(self.distortion_model, self.distortion_model)
        object.__setattr__(self, "distortion_model", model)
        self._check()

    def _array(self, field_name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Store a read-only float64 array of this shape under the field's name."""
        try:
            array = np.array(value, dtype=np.float64).reshape(shape)
        except (TypeError, ValueError, OverflowError):
            raise self._fault(field_name, f"{math.prod(shape)} finite numbers", value) from None
        if not np.isfinite(array).all():
            raise self._fault(field_name, f"{math.prod(shape)} finite numbers", array.ravel().tolist())
        array.flags.writeable = False
        object.__setattr__(self, field_name, array)
        return array

    def _fault(self, field_name: str, expected: str, found: Any) -> ConfigError:
        return ConfigError(f"camera {self.name}: {field_name} must be {expected}; found {found!r}")

    def _check(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(f"a camera's name must be letters, digits and _; found {self.name!r}")
        for key in ("width", "height"):
            if type(getattr(self, key)) is not int or getattr(self, key) <= 0:
                raise self._fault(key, "a positive whole number [px]", getattr(self, key))
        if not isinstance(self.link, str) or not _FRAME.match(self.link):
            raise self._fault("link", "the name of a link, or world", self.link)
        if not isinstance(self.frame, str) or (self.frame and not _FRAME.match(self.frame)):
            raise self._fault("frame", "the frame_id of the camera's pictures", self.frame)
        self._check_matrices()
        if self.distortion_model not in DISTORTION:
            raise self._fault("distortion_model", f"one of {', '.join(DISTORTION)}", self.distortion_model)
        count = DISTORTION[self.distortion_model]
        if len(self.D) != count or not all(math.isfinite(d) for d in self.D):
            raise self._fault("D", f"{count} finite numbers for {self.distortion_model}", list(self.D))
        band = self.depth_band_m
        if len(band) != 2 or not 0 < band[0] < band[1] < math.inf:
            raise self._fault("depth_band_m", "[near, far] with 0 < near < far [m]", list(band))

    def _check_matrices(self) -> None:
        K, P, T = self.K, self.P, self.T_link_camera_optical
        if not _is_pinhole(K):
            raise self._fault("K", "[fx, 0, cx, 0, fy, cy, 0, 0, 1] with fx, fy > 0", K.ravel().tolist())
        if not _is_pinhole(P[:, :3]) or P[2, 3] != 0:
            wanted = "[fx', 0, cx', Tx, 0, fy', cy', Ty, 0, 0, 1, 0] with fx', fy' > 0"
            raise self._fault("P", wanted, P.ravel().tolist())
        if fault := rotation_fault(self.R):
            raise self._fault("R", f"a rotation matrix ({fault})", self.R.ravel().tolist())
        if not is_transform(T):
            fault = rotation_fault(T[:3, :3]) or "last row 0, 0, 0, 1"
            raise self._fault("T_link_camera_optical", f"a rigid transform ({fault})", T.ravel().tolist())

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) [px]."""
        return self.height, self.width

    @property
    def fovy(self) -> float:
        """Vertical field of view without distortion [rad]."""
        return 2 * math.atan(self.height / (2 * self.K[1, 1]))

    @property
    def fractions(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of the published pictures: fractions of width, height; from the top left corner."""
        K, size = self.as_published().K, (self.width, self.height)
        fx, fy = K[[0, 1], [0, 1]] / size
        cx, cy = corner_from_pixel(K[:2, 2]) / size
        return float(fx), float(fy), float(cx), float(cy)

    @property
    def T_published_raw(self) -> np.ndarray:
        """(4, 4) pose of the raw optical frame in that of the published pictures: R if they are rectified."""
        T = np.eye(4)
        if self.rectified:
            T[:3, :3] = self.R
        return T

    def mounted(self, T_link_published: np.ndarray) -> np.ndarray:
        """(4, 4) T_link_camera_optical (the raw frame's) from a pose found in the published pictures [m]."""
        T = T_link_published @ self.T_published_raw
        # Products of rotations leave rounding errors that the file's check would see.
        U, _, Vt = np.linalg.svd(T[:3, :3])
        T[:3, :3] = U @ Vt
        return T

    def as_published(self) -> CameraCalibration:
        """What describes the published pictures directly: `self`, or for rectified ones a pinhole.

        A rectified picture has intrinsics P, no distortion, and the rectified optical frame, which is turned
        by R about the raw one's origin. The last column of P is not used: it takes points of the first camera
        of a stereo pair to the picture of the second, which here has a pose of its own.
        """
        if not self.rectified:
            return self
        return dataclasses.replace(
            self,
            K=self.P[:, :3],
            distortion_model="plumb_bob",
            D=(0.0,) * DISTORTION["plumb_bob"],
            T_link_camera_optical=self.T_link_camera_optical @ inverse(self.T_published_raw),
            R=None,
            P=None,
            rectified=False,
        )

    def resized(self, width: int, height: int) -> CameraCalibration:
        """The same camera with its picture resized (area average, no crop) to `width` x `height` [px]."""
        sx, sy = width / self.width, height / self.height
        # Corners stay corners: x' + 0.5 = s (x + 0.5).
        scale = np.array([(sx, 0.0, (sx - 1) / 2), (0.0, sy, (sy - 1) / 2), (0.0, 0.0, 1.0)])
        return dataclasses.replace(self, width=width, height=height, K=scale @ self.K, P=scale @ self.P)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CameraCalibration):
            return NotImplemented
        names = [f.name for f in dataclasses.fields(self)]
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)


def _is_pinhole(K: np.ndarray) -> bool:
    return K[0, 0] > 0 and K[1, 1] > 0 and K[0, 1] == K[1, 0] == 0 and np.array_equal(K[2], (0, 0, 1))


@dataclass(frozen=True)
class Calibration:
    """The cameras of one robot.

    Attributes:
        robot: name of its profile.
        cameras: camera name -> calibration, in the file's order.
    """

    robot: str
    cameras: dict[str, CameraCalibration]

    def replaced(self, camera: CameraCalibration) -> Calibration:
        """With one camera added, or replaced in its place."""
        return Calibration(self.robot, {**self.cameras, camera.name: camera})
