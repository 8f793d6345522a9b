"""What a model pins about each of its cameras; part of `ModelSpec`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from wallwm_model.calibration import DISTORTION, CameraCalibration
from wallwm_model.errors import SpecError
from wallwm_model.transforms import pose_numbers


@dataclass(frozen=True)
class CameraSpec:
    """One camera as the model was trained with it, free of the resolution that it was recorded at.

    Attributes:
        name: camera name, as in the robot profile, e.g. `head_cam`.
        height, width: size of the picture the network reads [px].
        mount: link that carries the camera (`world` for a fixed one).
        fx, fy: focal lengths as fractions of the picture's width and height.
        cx, cy: principal point from the picture's top left corner, as fractions of its width and height.
        distortion_model, D: of the training pictures; all-zero coefficients where they were a pinhole's.
        rectified: whether the training pictures had been rectified.
        pose: of the optical frame in `mount`: x, y, z [m] and quaternion x, y, z, w; empty: not pinned.
        tolerance: how far a camera may be from this: relative for fx and fy, a fraction of the picture for cx
            and cy and for how far other coefficients D move a point.
        depth_band_m: near and far z-depth that sight masks were made with in training [m]; empty: not pinned.

    Raises:
        SpecError: a value that no camera can have; the sentence names camera and field.
    """

    name: str
    height: int
    width: int
    mount: str
    fx: float
    fy: float
    cx: float = 0.5
    cy: float = 0.5
    distortion_model: str = "plumb_bob"
    D: tuple[float, ...] = (0.0,) * 5
    rectified: bool = False
    pose: tuple[float, ...] = ()
    tolerance: float = 0.02
    depth_band_m: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("D", "pose", "depth_band_m"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("name", "mount"):
            self._must(name, isinstance(getattr(self, name), str) and getattr(self, name) != "", "a name")
        for name in ("height", "width"):
            whole = type(getattr(self, name)) is int and getattr(self, name) > 0
            self._must(name, whole, "a positive whole number [px]")
        for name in ("fx", "fy"):
            self._must(name, _finite(getattr(self, name)) and getattr(self, name) > 0, "more than 0")
        for name in ("cx", "cy"):
            inside = _finite(getattr(self, name)) and 0 < getattr(self, name) < 1
            self._must(name, inside, "within the picture, 0 to 1")
        self._must("distortion_model", self.distortion_model in DISTORTION, f"one of {', '.join(DISTORTION)}")
        count = DISTORTION[self.distortion_model]
        self._must("D", len(self.D) == count and all(map(_finite, self.D)), f"{count} finite numbers")
        self._must("rectified", type(self.rectified) is bool, "true or false")
        norm = math.hypot(*self.pose[3:]) if all(map(_finite, self.pose)) else 0.0
        posed = not self.pose or (len(self.pose) == 7 and abs(norm - 1) < 1e-6)
        self._must("pose", posed, "x, y, z and a quaternion x, y, z, w of length 1")
        sound = _finite(self.tolerance) and 0 < self.tolerance <= 0.2
        self._must("tolerance", sound, "more than 0, at most 0.2")
        band = self.depth_band_m
        banded = not band or (len(band) == 2 and all(map(_finite, band)) and 0 < band[0] < band[1])
        self._must("depth_band_m", banded, "near and far with 0 < near < far [m], or empty")

    def _must(self, name: str, sound: bool, expected: str) -> None:
        if not sound:
            found = getattr(self, name)
            raise SpecError(f"model's camera {self.name}: {name} must be {expected}; found {found!r}")

    @property
    def fovy(self) -> float:
        """Vertical field of view without distortion [rad]."""
        return 2 * math.atan(0.5 / self.fy)

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> CameraSpec:
        """From a camera's entry in spec.json; every field but `depth_band_m` must be there.

        Raises:
            SpecError: a missing or unknown field, or a value that no camera can have.
        """
        if not isinstance(body, dict):
            raise SpecError(f"a model's camera must be a mapping; found {body!r}")
        names = [field.name for field in dataclasses.fields(cls)]
        faults = [f"missing {name}" for name in names if name not in body and name != "depth_band_m"]
        faults += [f"unknown {name}" for name in body if name not in names]
        if faults:
            found = f"model's camera {body.get('name', '')} must have {', '.join(names)}"
            raise SpecError(f"{found}; found {', '.join(faults)}")
        return cls(**body)

    @classmethod
    def of(cls, calibration: CameraCalibration, height: int, width: int) -> CameraSpec:
        """What a model trained with this camera pins; `height`, `width`: what its network reads [px]."""
        seen = calibration.as_published()
        fx, fy, cx, cy = (round(value, 9) for value in seen.fractions)
        return cls(
            name=seen.name,
            height=height,
            width=width,
            mount=seen.link,
            fx=fx,
            fy=fy,
            cx=cx,
            cy=cy,
            distortion_model=seen.distortion_model,
            D=seen.D,
            rectified=calibration.rectified,
            pose=tuple(round(float(v), 9) for v in pose_numbers(seen.T_link_camera_optical)),
            depth_band_m=seen.depth_band_m,
        )


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
