"""The simulated robot: physics, cameras, and the truth about what happened."""

from __future__ import annotations

from typing import Callable

import numpy as np

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS
from wallwm_model.errors import SimulationError
from wallwm_model.sim import judge, rendering
from wallwm_model.sim.calibration import intrinsics
from wallwm_model.sim.robot import (
    ARM_JOINTS,
    CAMERAS,
    HOME,
    LOWER,
    MODEL_CAMERA,
    TIMESTEP,
    UPPER,
    build_model,
)
from wallwm_model.sim.scene import Cube, Scene

STEP_S = 0.05  # one action step [s]
IMAGE_SIZE = 192  # side of a camera's picture [px]
TICK_S = 0.01  # targets are interpolated and sent this often [s]
SETTLE_S = 0.3  # physics after a reset, so that everything lies still [s]
_VIEWS = (*CAMERAS, "overview")


class Simulation:
    """Two arms, a table, cubes and pads in MuJoCo.

    Args:
        image_size: side of the square camera pictures [px].
        renderer: `auto`, `egl`, `osmesa` or `rays`; graphics start with the first picture.
    """

    def __init__(self, image_size: int = IMAGE_SIZE, renderer: str = "auto") -> None:
        self._renderer_name = rendering.choose(renderer)  # before mujoco is imported
        import mujoco

        self._mujoco = mujoco
        self.model = build_model()
        self.data = mujoco.MjData(self.model)
        changed = ("cam_pos", "cam_quat", "light_diffuse", "light_dir")
        self._built = {name: getattr(self.model, name).copy() for name in changed}
        self.image_size = image_size
        self._renderer: rendering.Renderer | None = None
        address = self.model.jnt_qposadr
        joint = [self.model.joint(f"{arm}_{name}").id for arm in ARMS for name in ARM_JOINTS]
        finger = [self.model.joint(f"{arm}_finger_{side}").id for arm in ARMS for side in "lr"]
        self._arm_qpos = address[joint].reshape(2, 6)
        self._finger_qpos = address[finger].reshape(2, 2)
        self._arm_dof = self.model.jnt_dofadr[joint].reshape(2, 6)
        self._finger_dof = self.model.jnt_dofadr[finger].reshape(2, 2)
        self._targets = HOME.copy()
        self.scene: Scene | None = None

    @property
    def time(self) -> float:
        """Simulated time since the model was reset [s]."""
        return float(self.data.time)

    @property
    def renderer(self) -> str:
        """The renderer in use: `egl`, `osmesa` or `rays`."""
        return self._renderer_name

    def reset(self, scene: Scene) -> None:
        """Lay out a scene and let it settle; simulated time starts again at zero."""
        model, data = self.model, self.data
        self._mujoco.mj_resetData(model, data)
        for index, colour in enumerate(CUBE_COLOURS):
            self._lay_cube(f"cube_{colour}", scene.cubes.get(colour), parked=(-3.0, 0.5 * index, -1.5))
        colour, twin = scene.twin or (CUBE_COLOURS[0], None)
        model.geom_matid[model.geom("cube_twin").id] = model.material(colour).id
        self._lay_cube("cube_twin", twin, parked=(-3.0, 0.5 * len(CUBE_COLOURS), -1.5))
        self._appear(scene)
        for index, colour in enumerate(PAD_COLOURS):
            spot = (*scene.pads[colour], 0.0006) if colour in scene.pads else (-3.0, 0.5 * index, -1.5)
            data.mocap_pos[model.body(f"pad_{colour}").mocapid[0]] = spot
        start = np.asarray(scene.start).reshape(2, 7)
        data.qpos[self._arm_qpos] = start[:, :6]
        data.qpos[self._finger_qpos] = start[:, 6:] / 2
        self.scene = scene
        self.set_targets(start.ravel())
        self.advance(SETTLE_S)
        data.time = 0.0

    def _appear(self, scene: Scene) -> None:
        """Set head camera and light as the scene wants them, starting from how the model was built."""
        model, look = self.model, scene.appearance
        camera = model.camera("head_cam").id
        model.cam_pos[camera] = self._built["cam_pos"][camera] + look.camera_shift
        turn, turned = np.zeros(4), np.zeros(4)
        angle = np.linalg.norm(look.camera_turn)
        axis = np.array(look.camera_turn) / angle if angle else np.array((0.0, 0.0, 1.0))
        self._mujoco.mju_axisAngle2Quat(turn, axis, angle)
        self._mujoco.mju_mulQuat(turned, turn, self._built["cam_quat"][camera])
        model.cam_quat[camera] = turned
        model.light_diffuse[:] = look.light * self._built["light_diffuse"]
        model.light_dir[:] = self._built["light_dir"] + look.sun
        model.light_dir[:] /= np.linalg.norm(model.light_dir, axis=1, keepdims=True)

    def _lay_cube(self, name: str, cube: Cube | None, parked: tuple[float, float, float]) -> None:
        """Put one cube on the table, or out of sight without weight or contact."""
        model = self.model
        present = cube is not None
        body, geom = model.body(name).id, model.geom(name).id
        model.geom_contype[geom] = model.geom_conaffinity[geom] = int(present)
        model.body_gravcomp[body] = 0.0 if present else 1.0
        pose = np.array([*parked, 1.0, 0.0, 0.0, 0.0])
        if present:
            model.geom_size[geom] = cube.half
            model.geom_rbound[geom] = cube.half * np.sqrt(3)
            model.geom_aabb[geom] = [0.0, 0.0, 0.0, cube.half, cube.half, cube.half]
            pose[:] = cube.x, cube.y, cube.half, np.cos(cube.yaw / 2), 0.0, 0.0, np.sin(cube.yaw / 2)
        self.data.joint(name).qpos[:] = pose

    def state(self) -> np.ndarray:
        """Measured joints (14,) [rad]; gripper openings [m]."""
        arms = self.data.qpos[self._arm_qpos]
        opening = self.data.qpos[self._finger_qpos].sum(axis=1, keepdims=True)
        return np.concatenate([arms, opening], axis=1).ravel()

    def velocity(self) -> np.ndarray:
        """Measured joint speeds (14,) [rad/s, m/s]."""
        arms = self.data.qvel[self._arm_dof]
        opening = self.data.qvel[self._finger_dof].sum(axis=1, keepdims=True)
        return np.concatenate([arms, opening], axis=1).ravel()

    @property
    def targets(self) -> np.ndarray:
        """The position targets (14,) last set [rad, m]."""
        return self._targets.copy()

    def set_targets(self, targets: np.ndarray) -> None:
        """Position targets (14,) [rad, m] of the servos, cut to the joint limits.

        Raises:
            SimulationError: wrong length or a value that is not finite.
        """
        targets = np.asarray(targets, dtype=np.float64)
        if targets.shape != (14,) or not np.isfinite(targets).all():
            raise SimulationError(f"targets must be 14 finite numbers; found {targets!r}")
        self._targets = np.clip(targets, LOWER, UPPER)
        self.data.ctrl[:] = self._targets

    def advance(self, seconds: float) -> None:
        """Physics for `seconds`, rounded to whole time steps of 5 ms."""
        self._mujoco.mj_step(self.model, self.data, nstep=max(1, round(seconds / TIMESTEP)))
        self._mujoco.mj_kinematics(self.model, self.data)  # a step leaves bodies where they were before it
        self._mujoco.mj_camlight(self.model, self.data)

    def follow(self, actions: np.ndarray, on_step: Callable[[int], None] | None = None) -> None:
        """Execute a chunk of targets (T, 14), one each 50 ms, interpolated at 100 Hz as the controller does.

        Args:
            on_step: called with the number of steps done after each of them.
        """
        ticks = round(STEP_S / TICK_S)
        for done, target in enumerate(actions, start=1):
            origin = self.targets
            for tick in range(1, ticks + 1):
                self.set_targets(origin + (target - origin) * (tick / ticks))
                self.advance(TICK_S)
            if on_step:
                on_step(done)

    def render(self) -> dict[str, np.ndarray]:
        """One (H, W, 3) uint8 RGB picture per camera, all of the same instant."""
        return {name: self.render_camera(name) for name in CAMERAS}

    def render_camera(self, name: str) -> np.ndarray:
        """One camera's picture; besides the robot's own there is `overview`, a spectator's view."""
        if name not in _VIEWS:
            raise SimulationError(f"camera must be one of {', '.join(_VIEWS)}; found {name!r}")
        if self._renderer is None:
            self._renderer = rendering.create(self._renderer_name, self.model, self.image_size)
        return self._renderer.draw(self.data, MODEL_CAMERA.get(name, name))

    def camera_info(self, name: str) -> dict:
        """A camera's K (3, 3) [px; a whole number is a pixel's centre], width, height, fovy [rad] and mount."""
        if name not in CAMERAS:
            raise SimulationError(f"camera must be one of {', '.join(CAMERAS)}; found {name!r}")
        camera, size = self.model.camera(MODEL_CAMERA.get(name, name)), self.image_size
        fovy = float(np.radians(camera.fovy[0]))
        mount = self.model.body(camera.bodyid[0]).name
        return {"K": intrinsics(fovy, size), "width": size, "height": size, "fovy": fovy, "mount": mount}

    def pinch(self, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Midpoint between an arm's finger pads: position (3,) [m] and orientation (3, 3), world frame."""
        site = self.data.site(f"{arm}_pinch")
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy()

    def cube_pose(self, colour: str) -> tuple[np.ndarray, np.ndarray]:
        """A cube's centre (3,) [m] and orientation (3, 3), world frame."""
        body = self.data.body(f"cube_{colour}")
        return body.xpos.copy(), body.xmat.reshape(3, 3).copy()

    def object_positions(self) -> dict[str, np.ndarray]:
        """World positions (3,) [m] of the scene's `cube_*` and `pad_*`, and of both `gripper_*`."""
        scene = self._scene()
        found = {f"cube_{colour}": self.cube_pose(colour)[0] for colour in scene.cubes}
        found |= {f"pad_{colour}": np.array([*xy, 0.0]) for colour, xy in scene.pads.items()}
        return found | {f"gripper_{arm}": self.pinch(arm)[0] for arm in ARMS}

    def judge(self, caption: str = "") -> tuple[bool, str]:
        """Whether an event (or, with no caption, the scene's whole task) is physically done, and why."""
        self._scene()
        return judge.judge(self, caption)

    def _scene(self) -> Scene:
        if self.scene is None:
            raise SimulationError("a scene must be laid out first: call reset")
        return self.scene

    def close(self) -> None:
        """Release the graphics context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
