"""Training on end-effector poses: the simulated robot's joints by forward kinematics, and losses on poses.

Per arm the pinch point x y z [m] and the hand's orientation x y z w in the world frame, then the gripper's
opening [m]: the columns of a robot profile that is commanded by pose.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wallwm_model.captions import ARMS
from wallwm_model.data.mirror import mirror_sample
from wallwm_model.poses import PARTS, from_matrix, quaternion_columns, settle
from wallwm_model.sim.kinematics import forward
from wallwm_model.sim.robot import HOME
from wallwm_model.spec import ModelSpec

COLUMNS = tuple(f"{arm}_{name}" for arm in ARMS for name in ("x", "y", "z", *PARTS, "gripper"))
QUATERNIONS = quaternion_columns(COLUMNS)
ARM = 8  # columns of one arm
# Errors that count as one unit in the losses [m, rad, m].
POSITION_SCALE, ORIENTATION_SCALE, GRIPPER_SCALE = 0.03, 0.2, 0.01


def poses(joints: np.ndarray) -> np.ndarray:
    """Joints (..., 14) [rad, m] -> poses (..., 16) [m, -, m]; the quaternions' signs are arbitrary."""
    joints = np.asarray(joints, dtype=np.float64)
    position, rotation = forward(joints)
    quaternion = from_matrix(rotation)
    opening = np.stack([joints[..., 6], joints[..., 13]], axis=-1)[..., None]
    return np.concatenate([position, quaternion, opening], axis=-1).reshape(*joints.shape[:-1], 2 * ARM)


def pose_chunk(state: np.ndarray, actions: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint states (B, 14) and targets (B, T, 14) -> poses (B, 16), (B, T, 16).

    Args:
        mean: (16,) of the training data: states take the side of its quaternions, targets follow on.
    """
    before = np.broadcast_to(mean, (*state.shape[:-1], 2 * ARM))
    state = settle(poses(state)[..., None, :], before, QUATERNIONS)[..., 0, :]
    return state, settle(poses(actions), state, QUATERNIONS)


def statistics(events) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (16,) of the poses of an `EventDataset`, left-right symmetric like the data.

    The four numbers of a quaternion share one deviation, since a rotation has no preferred axis.
    """
    chosen = {k: events.columns[k][events.chosen] for k in ("state", "actions")}
    valid = np.arange(chosen["actions"].shape[1])[None] < events.columns["length"][events.chosen][:, None]
    pairs = [(s["state"], s["actions"]) for s in (chosen, mirror_sample(chosen))]
    mean = poses(HOME)
    for _ in range(2):  # the first mean says where the middle of the data is
        found = [pose_chunk(*pair, mean) for pair in pairs]
        values = np.concatenate([x for state, actions in found for x in (state, actions[valid])])
        mean, variance = values.mean(0), values.var(0)
    for column in QUATERNIONS:
        variance[column : column + 4] = variance[column : column + 4].mean()
    return mean, np.sqrt(variance)


def split(normal: Tensor, spec: ModelSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised poses (..., 16) -> positions (..., 2, 3) [m], quaternions (..., 2, 4), openings (..., 2) [m]."""
    norm = spec.normalisation
    value = normal * normal.new_tensor(norm.std) + normal.new_tensor(norm.mean)
    position, quaternion, opening = value.unflatten(-1, (2, ARM)).split([3, 4, 1], dim=-1)
    return position, F.normalize(quaternion, dim=-1), opening[..., 0]


def pose_losses(found: Tensor, clean: Tensor, weight: Tensor, spec: ModelSpec) -> dict[str, Tensor]:
    """Errors of normalised chunks (B, T, 16) in position, orientation and opening; weight (B, T)."""
    (p, q, g), (p_true, q_true, g_true) = split(found, spec), split(clean, spec)
    side = torch.where((q * q_true).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    errors = {
        "position": (p - p_true) / POSITION_SCALE,
        # Twice the chord: the angle, where it is small.
        "orientation": 2 * (side * q - q_true) / ORIENTATION_SCALE,
        "gripper": ((g - g_true) / GRIPPER_SCALE)[..., None],
    }
    losses = {}
    for name, error in errors.items():
        huber = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none").mean((-1, -2))
        losses[name] = (huber * weight).sum()
    return losses
