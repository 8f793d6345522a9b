"""Sight masks of the simulated robot against ray-cast depth pictures: surface points that two cameras see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from wallwm_model.calibration import CameraCalibration, pixel_from_corner
from wallwm_model.geometry import camera_rays, project
from wallwm_model.geometry.truth import patch_of
from wallwm_model.sim.robot import LOWER, UPPER
from wallwm_model.sim.scene import TASKS, sample_scene
from wallwm_model.sim.simulation import Simulation
from wallwm_model.transforms import inverse

PIXELS = 96  # rays per side of a depth picture
SAME_M = 0.004  # a point is what a camera sees there, not hidden behind it, if depths agree to this
_SCENES_FROM = 90_000  # seed of the first scene; held out from training
_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])  # MuJoCo's camera frame <- optical frame


class DepthTrial:
    """Random postures of the simulated robot, with true camera poses and depth pictures.

    Args:
        cameras: calibrations of the simulator's cameras.
        seed: of scenes and postures.
    """

    def __init__(self, cameras: Sequence[CameraCalibration], seed: int = 0) -> None:
        self.cameras = list(cameras)
        self._simulation = Simulation(image_size=64, renderer="rays")
        self._rng = np.random.default_rng(seed)
        self._scene = _SCENES_FROM + 1000 * seed
        self._rays = [self._picture_rays(camera) for camera in self.cameras]

    def draw(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Another posture: poses (4, 4) world <- optical [m], z-depths (PIXELS^2,) [m], inf for nothing.

        Every other one has both arms where a task starts, the others up to half-way to anywhere.
        """
        scene = sample_scene(TASKS[self._scene % 2], self._scene)
        reach = 0.5 * self._rng.uniform() * (self._scene // 2 % 2)
        start = (1 - reach) * np.asarray(scene.start) + reach * self._rng.uniform(LOWER, UPPER)
        self._simulation.reset(dataclasses.replace(scene, start=tuple(start.tolist())))
        self._scene += 1
        return self._look()

    def covisible(
        self, poses: list[np.ndarray], depths: list[np.ndarray], patches: tuple[int, int]
    ) -> np.ndarray:
        """(V, P, V, P) bool: patches of two views that show one surface point, in both depth bands."""
        views, count = len(self.cameras), patches[0] * patches[1]
        seen = np.zeros((views, count, views, count), bool)
        for i, a in enumerate(self.cameras):
            near, far = a.depth_band_m
            inside = np.flatnonzero((depths[i] >= near) & (depths[i] <= far))
            rays = self._rays[i][inside]
            start = patch_of(a, project(a, rays), patches)
            for j, b in enumerate(self.cameras):
                if i == j:
                    continue
                T_b_a = inverse(poses[j]) @ poses[i]
                points = (rays * depths[i][inside, None]) @ T_b_a[:3, :3].T + T_b_a[:3, 3]
                at = project(b, points)
                end, cell = patch_of(b, at, patches), patch_of(b, at, (PIXELS, PIXELS))
                near, far = b.depth_band_m
                good = (end >= 0) & (points[:, 2] >= near) & (points[:, 2] <= far)
                good &= np.abs(depths[j][cell] - points[:, 2]) < SAME_M
                seen[i, start[good], j, end[good]] = True
        return seen | seen.transpose(2, 3, 0, 1)

    def _look(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        import mujoco

        model, data = self._simulation.model, self._simulation.data
        mujoco.mj_forward(model, data)
        poses, depths = [], []
        for camera, rays in zip(self.cameras, self._rays):
            side = camera.name.rpartition("_")[2]
            found = data.camera(camera.name if camera.link == "world" else f"{side}_wrist_cam")
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = found.xmat.reshape(3, 3), found.xpos
            pose = pose @ _OPTICAL
            world = rays @ pose[:3, :3].T
            length = np.linalg.norm(world, axis=1)
            geom, distance = np.empty(len(rays), np.int32), np.empty(len(rays))
            mujoco.mj_multiRay(
                model, data, pose[:3, 3], (world / length[:, None]).ravel(), None, True, -1,
                geom, distance, None, len(rays), 20.0,
            )  # fmt: skip
            poses.append(pose)
            depths.append(np.where(geom >= 0, distance / length, np.inf))
        return poses, depths

    @staticmethod
    def _picture_rays(camera: CameraCalibration) -> np.ndarray:
        share = (np.arange(PIXELS) + 0.5) / PIXELS
        corner = np.stack(np.meshgrid(share * camera.width, share * camera.height), axis=-1)
        return camera_rays(camera, pixel_from_corner(corner.reshape(-1, 2)))


def surface_shares(
    trial: DepthTrial,
    masks: Sequence,
    scenes: int,
    on_done: Callable[[int], None] | None = None,
) -> list[dict[str, float | None]]:
    """Per `SightMasks`: co-visible pairs, the share of them allowed, the share of allowed ones so seen.

    Surfaces fill little of the space that a mask must allow for, so the last share is no precision: it says
    how much somebody who knew all depths could still thin the mask.
    """
    tallies = np.zeros((len(masks), 3), np.int64)
    for number in range(scenes):
        poses, depths = trial.draw()
        truths = {m.patches: trial.covisible(poses, depths, m.patches) for m in masks}
        for tally, made in zip(tallies, masks):
            seen = truths[made.patches]
            allowed = made.update(poses).reshape(seen.shape).copy()
            for view in range(len(seen)):
                allowed[view, :, view] = False
            tally += (seen.sum(), (seen & allowed).sum(), allowed.sum())
        if on_done:
            on_done(number + 1)
    return [
        {
            "pairs": int(seen),
            "recall": float(kept / seen) if seen else None,
            "share_on_a_surface": float(kept / allowed) if allowed else None,
        }
        for seen, kept, allowed in tallies
    ]
