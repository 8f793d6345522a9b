"""Everything that a policy node has between activate and deactivate, put together."""

from __future__ import annotations

from typing import NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_model.calibration import CameraCalibration
from wallwm_model.engines import Engine
from wallwm_model.policy import EventPolicy
from wallwm_ros.bridge.event_port import ChunkOutput, RosEventPort
from wallwm_ros.bridge.events import EventServer
from wallwm_ros.bridge.observations import ObservationFeed, make_synchronizer
from wallwm_ros.core.clock import SteadyClock
from wallwm_ros.core.config import PolicyConfig
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.inference import EventPlanner
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.synchronizer import SyncLimits

TICK_S = 0.02


class Setup(NamedTuple):
    """What configure has loaded and checked."""

    config: PolicyConfig
    profile: RobotProfile
    calibrations: dict[str, CameraCalibration]
    engine: Engine
    policy: EventPolicy


class Serving:
    """Everything that lives from activate to deactivate."""

    def __init__(self, node: Node, setup: Setup, events: EventServer, output: ChunkOutput) -> None:
        config, spec = setup.config, setup.engine.spec
        limits = SyncLimits(
            max_spread_ns=round(config.max_observation_spread_ms * 1e6),
            max_age_ns=round(config.max_observation_age_ms * 1e6),
        )
        synchronizer = make_synchronizer(setup.profile, limits)
        self._feed = ObservationFeed(node, setup.profile, setup.calibrations, synchronizer, self._looked)
        planner = EventPlanner(setup.policy, spec, setup.profile, self._feed.decode)
        self._port = RosEventPort(
            node,
            events,
            output,
            synchronizer,
            planner,
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
        """Take over live parameters."""
        self._rest.velocity = config.settle_velocity
        self._rest.patience_ns = round(config.settle_timeout_s * 1e9)

    def close(self, text: str) -> bool:
        """End every goal with `text`; false if the engine is still busy."""
        self.runner.close(text)
        self._node.destroy_timer(self._timer)
        self._feed.close()
        return self._port.close()

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
