"""Sight masks as one would write them in torch, over all pairs of patches: what ours is timed against."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from wallwm_model.geometry.cones import make_cones
from wallwm_model.geometry.patches import make_patches
from wallwm_model.geometry.rigs import Rig, random_rig

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def torch_ms(patches: tuple[int, int], updates: int, seed: int = 0) -> tuple[float, float]:
    """Median CPU time [ms] of one mask on one thread: the report's cones, and hexahedra."""
    threads, rng = torch.get_num_threads(), np.random.default_rng(seed)
    times: tuple[list[float], list[float]] = ([], [])
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(updates):
                rig = random_rig(rng)
                tests = (cones, cone_inputs(rig, patches)), (hexahedra, hexahedron_inputs(rig, patches))
                for (test, inputs), found in zip(tests, times):
                    start = time.thread_time_ns()
                    test(*inputs)
                    found.append((time.thread_time_ns() - start) / 1e6)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(times[0])), float(np.median(times[1]))


def cone_inputs(rig: Rig, patches: tuple[int, int]) -> Inputs:
    """Poses (V, 4, 4), axes (V, P, 3), half-angles (V, P) [rad], depth bands (V, 2) [m]."""
    found = [make_cones(camera, patches) for camera in rig.cameras]
    arrays = (rig.poses, [c.axes for c in found], [c.angles for c in found], [c.band for c in found])
    return tuple(torch.tensor(np.stack(array), dtype=torch.float32) for array in arrays)


def cones(poses: Tensor, axes: Tensor, angles: Tensor, bands: Tensor) -> Tensor:
    """The report's test -> (V*P, V*P) bool."""
    views, count = angles.shape
    apex = poses[:, None, :3, 3].expand(views, count, 3).reshape(-1, 3)
    axis = (axes @ poses[:, :3, :3].transpose(1, 2)).reshape(-1, 3)
    near, far = bands.repeat_interleave(count, dim=0).T
    angle = angles.reshape(-1)
    ahead = (axis * apex).sum(-1)
    cosine = axis @ axis.T
    first = ahead[:, None] - axis @ apex.T  # (apex_a - apex_b) . axis_a
    second = apex @ axis.T - ahead[None]  # (apex_a - apex_b) . axis_b
    t_a = (cosine * second - first) / (1 - cosine**2).clamp_min(1e-9)
    t_a = t_a.clamp(near[:, None], far[:, None])
    t_b = (second + cosine * t_a).clamp(near[None], far[None])
    apart = apex[:, None] + t_a[..., None] * axis[:, None] - apex[None] - t_b[..., None] * axis[None]
    view = torch.arange(views).repeat_interleave(count)
    return (apart.norm(dim=-1) <= t_a * angle[:, None] + t_b * angle[None]) | (view[:, None] == view[None])


def hexahedron_inputs(rig: Rig, patches: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Poses (V, 4, 4), corners in the ray plane (V, P, 4, 2), depth bands (V, 2) [m]; no distortion."""
    found = [make_patches(camera, patches) for camera in rig.cameras]
    arrays = (rig.poses, [np.moveaxis(p.quads, 0, 1) for p in found], [p.band for p in found])
    return tuple(torch.tensor(np.stack(array), dtype=torch.float32) for array in arrays)


def hexahedra(poses: Tensor, quads: Tensor, bands: Tensor) -> Tensor:
    """Does a face of either hexahedron have the other wholly outside? Else they may meet -> (V*P, V*P) bool.

    Only faces are tried as separating planes, so that this allows some pairs too many.
    """
    views, count = quads.shape[:2]
    rays = torch.cat([quads, torch.ones_like(quads[..., :1])], dim=-1)
    corners = (rays[:, :, None] * bands[:, None, :, None, None]).reshape(views, count, 8, 3)
    sides = torch.linalg.cross(rays, rays.roll(-1, dims=2))  # (V, P, 4, 3), inward
    mask = torch.eye(views, dtype=torch.bool)[:, None, :, None].repeat(1, count, 1, count)

    def apart(i: int, j: int) -> Tensor:
        T_j_i = torch.linalg.inv(poses[j]) @ poses[i]
        points = corners[i] @ T_j_i[:3, :3].T + T_j_i[:3, 3]
        out = (points[..., 2].amax(-1) < bands[j, 0]) | (points[..., 2].amin(-1) > bands[j, 1])
        out = out[:, None].repeat(1, count)
        for side in range(4):
            out |= torch.einsum("akc,bc->abk", points, sides[j, :, side]).amax(-1) < 0
        return out

    for i in range(views):
        for j in range(i + 1, views):
            mask[i, :, j] = ~(apart(i, j) | apart(j, i).T)
            mask[j, :, i] = mask[i, :, j].T
    return mask.reshape(views * count, -1)
