"""The simulated robot behind its topics: scene, controller, physics, pictures. One thread owns it. No ROS."""

from __future__ import annotations

import numpy as np

from wallwm_model.errors import ConfigError, SimulationError
from wallwm_model.sim import rendering
from wallwm_model.sim.robot import CAMERAS, JOINTS
from wallwm_model.sim.scene import Scene, sample_scene
from wallwm_model.sim.simulation import Simulation
from wallwm_ros.bridge.sim_controller import SimController
from wallwm_ros.core.config import SimConfig
from wallwm_ros.core.options import unknown
from wallwm_ros.core.robot import RobotProfile

GREY = 127
SPECTATOR = "overview"
SPECTATOR_SIZE = 384  # [px]
FORWARD = "/forward_position_controller/commands"
TRAJECTORY = "/joint_trajectory_controller/joint_trajectory"
JOINT_STATES = "/joint_states"


def image_topic(camera: str) -> str:
    """Where a camera's raw pictures go; the JPEG ones go to the same name + `/compressed`."""
    return f"/{camera}/image_raw"


def check_profile(robot: RobotProfile) -> None:
    """Refuse a robot that the simulator cannot play.

    Raises:
        ConfigError: other joints, or a camera, state or command topic that the simulator does not have.
    """
    if robot.joint_names != JOINTS:
        odd = sorted(set(robot.joint_names) ^ set(JOINTS)) or ["another order"]
        raise ConfigError(
            f"robot {robot.name}: the simulator plays {JOINTS[0]} ... {JOINTS[-1]} ({len(JOINTS)} joints); "
            f"found a difference in {', '.join(odd[:4])}"
        )
    pictures = [image_topic(camera) for camera in CAMERAS]
    offered = [*pictures, *(f"{topic}/compressed" for topic in pictures)]
    for camera in robot.cameras:
        _offered(robot, "camera topic", camera.topic, offered)
    for state in robot.states:
        _offered(robot, "state topic", state.topic, [JOINT_STATES])
    for output in robot.outputs():
        _offered(robot, "command topic", output.topic, [FORWARD, TRAJECTORY])


def _offered(robot: RobotProfile, what: str, topic: str, offered: list[str]) -> None:
    if topic not in offered:
        raise ConfigError(f"robot {robot.name}, in simulation: {unknown(what, topic, offered)}")


class SimBody:
    """Simulation and controller together.

    Args:
        config: parameters of the simulated robot; its first scene is laid out at once.
    """

    def __init__(self, config: SimConfig) -> None:
        self.sim = Simulation(config.image_size, config.renderer)
        self.blank = config.blank_cameras
        self._seconds = 0.0
        self._controller = SimController(self.sim.state())
        self._spectator: rendering.Renderer | None = None
        self.reset(config.task, config.seed)

    def reset(self, task: str, seed: int, blank: bool | None = None) -> Scene:
        """New scene, robot at rest; `blank` greys the pictures, None leaves them as they are.

        Raises:
            SimulationError: unknown task or a negative seed.
        """
        if seed < 0:
            raise SimulationError(f"seed must not be negative; found {seed}")
        scene = sample_scene(task, seed)
        self.sim.reset(scene)
        self._controller.hold(self.sim.targets)
        if blank is not None:
            self.blank = blank
        return scene

    def judge(self, caption: str) -> tuple[bool, str]:
        """Whether an event, or with an empty caption the whole task, is achieved; why.

        Raises:
            WallWMError: a caption that cannot be judged in this scene.
        """
        success, reason = self.sim.judge(caption)
        return bool(success), reason

    def command(self, values: np.ndarray) -> None:
        """Forward command: targets (14,) [rad or m], in force until the next command."""
        self._controller.hold(values)

    def trajectory(self, times: np.ndarray, rows: np.ndarray) -> None:
        """Trajectory command: targets (N, 14) [rad or m] at times (N,) from now [s]."""
        self._controller.follow(self._seconds, times, rows)

    def advance(self, seconds: float) -> None:
        """Physics for `seconds`, under the command in force."""
        self._seconds += seconds
        self.sim.set_targets(self._controller.target(self._seconds))
        self.sim.advance(seconds)

    def pictures(self) -> dict[str, np.ndarray]:
        """Camera name -> (H, W, 3) uint8 RGB of this moment."""
        if not self.blank:
            return self.sim.render()
        size = self.sim.image_size
        return {name: np.full((size, size, 3), GREY, np.uint8) for name in CAMERAS}

    def spectator(self) -> np.ndarray:
        """The scene as a bystander sees it, (H, W, 3) uint8 RGB; never blank, and no part of the robot."""
        if self._spectator is None:
            self._spectator = rendering.create(self.sim.renderer, self.sim.model, SPECTATOR_SIZE)
        return self._spectator.draw(self.sim.data, SPECTATOR)
