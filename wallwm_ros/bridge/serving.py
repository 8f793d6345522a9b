"""Everything that a policy node has between activate and deactivate, put together."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_model.calibration import CameraCalibration
from wallwm_model.engines import Engine
from wallwm_model.policy import Policy
from wallwm_ros.bridge.event_port import ChunkOutput, RosEventPort
from wallwm_ros.bridge.events import EventServer
from wallwm_ros.bridge.observations import ObservationFeed, make_synchronizer
from wallwm_ros.bridge.robot_description import kinematics_of
from wallwm_ros.bridge.sight import SightOutput
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.clock import SteadyClock
from wallwm_ros.core.compatibility import CameraInfo, check_camera_info
from wallwm_ros.core.config import PolicyConfig
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.inference import EventPlanner
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.sight import SightMaker
from wallwm_ros.core.synchronizer import SyncLimits

TICK_S = 0.02


class Setup(NamedTuple):
    """What configure has loaded and checked."""

    config: PolicyConfig
    profile: RobotProfile
    calibrations: dict[str, CameraCalibration]
    engine: Engine
    policy: Policy
    guard: CameraInfoGuard
    sights: SightMaker


def make_setup(
    node: Node,
    config: PolicyConfig,
    profile: RobotProfile,
    calibrations: dict[str, CameraCalibration],
    engine: Engine,
) -> Setup:
    """Put together what belongs to one loaded engine on one robot; nothing is checked yet."""
    spec = engine.spec
    topics = {camera.name: camera.info_topic for camera in profile.cameras}
    cameras = {camera.name: camera for camera in spec.cameras}

    def check(name: str, info: CameraInfo) -> None:
        check_camera_info(cameras[name], calibrations.get(name), info)

    kinematics = partial(kinematics_of, node, profile, config.camera_info_timeout_s)
    sights = SightMaker(spec, calibrations, kinematics)
    policy = Policy(engine, config.euler_steps)
    return Setup(config, profile, calibrations, engine, policy, CameraInfoGuard(topics, check), sights)


class Serving:
    """Everything that lives from activate to deactivate."""

    def __init__(self, node: Node, setup: Setup, events: EventServer, output: ChunkOutput) -> None:
        config, spec = setup.config, setup.engine.spec
        limits = SyncLimits(
            max_spread_ns=round(config.max_observation_spread_ms * 1e6),
            max_age_ns=round(config.max_observation_age_ms * 1e6),
            frozen=config.frozen_frames,
        )
        synchronizer = make_synchronizer(setup.profile, limits)
        self._feed = ObservationFeed(node, setup.profile, setup.calibrations, synchronizer, self._looked)
        self._planner = EventPlanner(setup.policy, spec, setup.profile, self._feed.decode)
        self._sight = SightOutput(node, setup.sights, spec)
        self._planner.sight = self._sight.use(config)
        self._port = RosEventPort(
            node,
            events,
            output,
            synchronizer,
            self._planner,
            setup.guard,
            joints=spec.joints,
            engine=setup.engine.name,
            seed=config.seed,
        )
        self._rest = RestDetector(config.settle_velocity, round(config.settle_timeout_s * 1e9))
        self.runner = self._port.runner = EventRunner(self._port, SteadyClock(), _waits(config), self._rest)
        self._node = node
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(TICK_S, self.runner.tick, clock=steady)

    def tune(self, config: PolicyConfig) -> None:
        """Take over live parameters, which were found right."""
        self._planner.sight = self._sight.use(config)
        self._rest.velocity = config.settle_velocity
        self._rest.patience_ns = round(config.settle_timeout_s * 1e9)

    def close(self, text: str) -> bool:
        """End every goal with `text`; false if the engine is still busy."""
        self.runner.close(text)
        self._node.destroy_timer(self._timer)
        self._feed.close()
        done = self._port.close()
        self._sight.close()
        return done

    def _looked(self) -> None:
        """A picture came: look at once rather than at the next tick."""
        if not self.runner.idle:
            self.runner.tick()


def _waits(config: PolicyConfig) -> RunnerLimits:
    return RunnerLimits(
        timeout_ns=round(config.event_timeout_s * 1e9),
        observation_ns=round(config.observation_timeout_s * 1e9),
        control_ns=round(config.control_timeout_s * 1e9),
        feedback_ns=round(1e9 / config.feedback_rate_hz),
    )
