"""Forward kinematics in torch, for losses measured at the gripper. Constants are the simulator's."""

from __future__ import annotations

import torch
from torch import Tensor

from wallwm_model.sim.kinematics import BASE_POSITION, BASE_ROTATION, JOINT_AXIS, JOINT_OFFSET, PINCH_OFFSET


def turn(axis: int, angle: Tensor, point: Tensor) -> Tensor:
    """Turn points (..., 3) about coordinate axis 0, 1 or 2 by `angle` (...) [rad]."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = angle.cos(), angle.sin()
    parts = [point[..., axis]] * 3
    parts[i] = cos * point[..., i] - sin * point[..., j]
    parts[j] = sin * point[..., i] + cos * point[..., j]
    return torch.stack(parts, dim=-1)


def pinch_points(joints: Tensor) -> Tensor:
    """Joints (..., 14) [rad, m] -> pinch points (..., 2, 3) [m], world frame; arm 0 is left.

    Walks from the tip to the base, so that only a point is turned, never a matrix.
    """
    arms = torch.stack([joints[..., 0:6], joints[..., 7:13]], dim=-2)
    point = joints.new_tensor(PINCH_OFFSET).expand(*arms.shape[:-1], 3)
    for k in reversed(range(6)):
        point = turn(int(JOINT_AXIS[k].argmax()), arms[..., k], point) + joints.new_tensor(JOINT_OFFSET[k])
    rotation = joints.new_tensor(BASE_ROTATION)
    # Not a matrix product, which a training in bf16 would round to 2 mm.
    return joints.new_tensor(BASE_POSITION) + (rotation * point[..., None, :]).sum(-1)
