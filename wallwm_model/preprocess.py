"""Pictures and joint values on their way into the network: the same code for training and run time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.errors import ObservationError
from wallwm_model.poses import settle
from wallwm_model.spec import ModelSpec


@dataclass(frozen=True)
class Observation:
    """What the robot saw and felt at one moment.

    Attributes:
        images: camera name -> (H, W, 3) uint8 RGB, any size with the camera's aspect ratio.
        state: (D,) measured joint positions [rad or m], in the order of `ModelSpec.joints`.
        stamp_ns: time of the oldest part [ns].
        sight_mask: (V*P, V*P) bool, which patches may attend to each other (`wallwm_model.geometry`); None: all.
        history: earlier pictures, oldest first, each like `images`; as many as `spec.history_pictures`.
    """

    images: dict[str, np.ndarray]
    state: np.ndarray
    stamp_ns: int
    sight_mask: np.ndarray | None = None
    history: tuple[dict[str, np.ndarray], ...] = ()


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (height, width, 3) uint8 by area averaging, as in the training data.

    Raises:
        ObservationError: not uint8 RGB, smaller than the target, or of another aspect ratio.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ObservationError(f"a picture must be (H, W, 3) uint8; found {image.shape} {image.dtype}")
    if image.shape[:2] == (height, width):
        return image
    if image.shape[0] < height or image.shape[1] < width or image.shape[0] * width != image.shape[1] * height:
        raise ObservationError(
            f"a picture must be at least {height}x{width} with the same aspect ratio; "
            f"found {image.shape[0]}x{image.shape[1]}"
        )
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def network_images(observation: Observation, spec: ModelSpec) -> np.ndarray:
    """Stack an observation's pictures as the network reads them: (V, H, W, 3) uint8, in spec order."""
    return _stack(observation.images, spec)


def network_history(observation: Observation, spec: ModelSpec) -> np.ndarray:
    """Earlier pictures as the network reads them: (V, n, H, W, 3) uint8, oldest first.

    Raises:
        ObservationError: not `spec.history_pictures` of them, or a camera missing in one.
    """
    if len(observation.history) != spec.history_pictures:
        raise ObservationError(
            f"unified mode reads {spec.history_pictures} earlier pictures; found {len(observation.history)}"
        )
    return np.stack([_stack(images, spec) for images in observation.history], axis=1)


def _stack(images: dict[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    names = [camera.name for camera in spec.cameras]
    missing = [name for name in names if name not in images]
    if missing:
        raise ObservationError(
            f"an observation must have cameras {', '.join(names)}; {', '.join(missing)} missing"
        )
    return np.stack([resize(images[c.name], c.height, c.width) for c in spec.cameras])


def network_state(observation: Observation, spec: ModelSpec) -> np.ndarray:
    """Normalised joint state (D,) float32.

    Raises:
        ObservationError: wrong length or a value that is not finite.
    """
    state = np.asarray(observation.state, dtype=np.float64)
    if state.shape != (len(spec.joints),):
        raise ObservationError(f"state must have shape ({len(spec.joints)},); found {state.shape}")
    if not np.isfinite(state).all():
        bad = [name for name, value in zip(spec.joints, state) if not np.isfinite(value)]
        raise ObservationError(f"state must be finite; found a non-finite value for {', '.join(bad)}")
    sided = settle(state[None], np.asarray(spec.normalisation.mean), spec.quaternions)[0]
    return spec.normalisation.encode(sided)
