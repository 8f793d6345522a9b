"""What the simulated robot takes: commands on the controllers' topics, and questions about the scene."""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from wallwm_model.errors import SimulationError, WallWMError
from wallwm_model.sim.robot import JOINTS
from wallwm_model.sim.scene import Scene
from wallwm_msgs.srv import JudgeScene, ResetScene
from wallwm_ros.bridge import qos, sim
from wallwm_ros.bridge.sim_body import FORWARD, TRAJECTORY
from wallwm_ros.bridge.sim_pace import Pace

WARN_EVERY_S = 2.0


class SimInputs:
    """Command topics and services.

    The pace is handed a function of the `SimBody` for every sound command; an unsound one is refused with a
    warning, and the command before it stays in force.
    """

    def __init__(self, node: Node, pace: Pace) -> None:
        self._node, self._pace = node, pace
        node.create_subscription(Float64MultiArray, FORWARD, self._forward, qos.COMMAND)
        node.create_subscription(JointTrajectory, TRAJECTORY, self._trajectory, qos.COMMAND)
        node.create_service(ResetScene, "~/reset", self._reset)
        node.create_service(JudgeScene, "~/judge", self._judge)

    def _forward(self, message: Float64MultiArray) -> None:
        try:
            values = sim.targets_from_array(message, JOINTS)
        except SimulationError as error:
            self._refuse(FORWARD, error)
            return
        self._pace.command(lambda body: body.command(values))

    def _trajectory(self, message: JointTrajectory) -> None:
        try:
            times, rows = sim.targets_from_trajectory(message, JOINTS)
        except SimulationError as error:
            self._refuse(TRAJECTORY, error)
            return
        self._pace.command(lambda body: body.trajectory(times, rows))

    def _refuse(self, topic: str, error: SimulationError) -> None:
        text = f"{topic}: {error}; the last command stays in force"
        self._node.get_logger().warning(text, throttle_duration_sec=WARN_EVERY_S)

    def _reset(self, request: ResetScene.Request, reply: ResetScene.Response) -> ResetScene.Response:
        try:
            scene: Scene = self._pace.restart(
                lambda body: body.reset(request.task, request.seed, request.blank_cameras)
            )
        except WallWMError as error:
            reply.success, reply.message = False, str(error)
            return reply
        reply.success, reply.message = True, f"{scene.task}, seed {scene.seed}"
        reply.captions, reply.scene_json = scene.captions(), scene.to_json()
        return reply

    def _judge(self, request: JudgeScene.Request, reply: JudgeScene.Response) -> JudgeScene.Response:
        try:
            reply.success, reply.message = self._pace.ask(lambda body: body.judge(request.caption))
        except WallWMError as error:
            reply.success, reply.message = False, str(error)
        return reply
