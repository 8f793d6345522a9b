"""Left-right mirroring of samples: the simulated robot and its scenes are exactly symmetric about y = 0."""

from __future__ import annotations

import numpy as np

from wallwm_model import captions
from wallwm_model.sim.robot import mirror_joints

# Cameras: head, left wrist, right wrist. Slots: four cubes, three pads, then the two grippers.
_CAMERA_ORDER = [0, 2, 1]
_SLOT_ORDER = [0, 1, 2, 3, 4, 5, 6, 8, 7]
_FLIP_Y = np.array((1.0, -1.0, 1.0), np.float32)


def mirror_frames(frames: np.ndarray) -> np.ndarray:
    """(..., 3, H, W, 3) pictures: every one flipped left-right, and the wrists swapped."""
    return frames[..., _CAMERA_ORDER, :, ::-1, :]


def mirror_sample(sample: dict) -> dict:
    """Mirror one sample, or a batch of them; keys that have no side are passed on.

    Args:
        sample: any of frames (..., 3, H, W, 3), state (..., 14), actions (..., T, 14), caption,
            ground_xyz (..., 9, 3), ground_mask (..., 9), ground_yaw (..., 4), end_gripper (..., 2, 3).
    """
    change = {
        "frames": mirror_frames,
        "state": mirror_joints,
        "actions": mirror_joints,
        "caption": _mirror_caption,
        "ground_xyz": lambda xyz: xyz[..., _SLOT_ORDER, :] * _FLIP_Y,
        "ground_mask": lambda mask: mask[..., _SLOT_ORDER],
        "ground_yaw": lambda yaw: -yaw,
        "end_gripper": lambda xyz: xyz[..., ::-1, :] * _FLIP_Y,
    }
    return {key: change[key](value) if key in change else value for key, value in sample.items()}


def _mirror_caption(text):
    if isinstance(text, np.ndarray):
        return np.array([captions.mirror(str(one)) for one in text.ravel()]).reshape(text.shape)
    return captions.mirror(str(text))
