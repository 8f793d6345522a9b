"""Everything that a policy node has between activate and deactivate, put together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_model.calibration import CameraCalibration
from wallwm_model.engines import Engine
from wallwm_model.policy import Policy
from wallwm_model.spec import ModelSpec
from wallwm_ros.bridge.chunk_output import ChunkOutput
from wallwm_ros.bridge.clock_watch import ClockWatch
from wallwm_ros.bridge.events import EventServer, TaskServer
from wallwm_ros.bridge.heartbeat import HeartbeatOutput
from wallwm_ros.bridge.inference_thread import InferenceThread
from wallwm_ros.bridge.observations import ObservationFeed, make_synchronizer
from wallwm_ros.bridge.policy_diagnostics import Watched
from wallwm_ros.bridge.ports import Means, RosEventPort, RosTaskPort
from wallwm_ros.bridge.robot_description import kinematics_of
from wallwm_ros.bridge.sight import SightOutput
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.clock import SteadyClock
from wallwm_ros.core.compatibility import CameraInfo, check_camera_info
from wallwm_ros.core.config import PolicyConfig
from wallwm_ros.core.control_link import ControlLink
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.events import EventTuning
from wallwm_ros.core.inference import Planner
from wallwm_ros.core.modes import Modes
from wallwm_ros.core.plans import ChunkShape
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.sight import SightMaker
from wallwm_ros.core.synchronizer import SyncLimits
from wallwm_ros.core.task_runner import TaskRunner
from wallwm_ros.core.tasks import TaskTuning

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
    policy = Policy(engine, config.euler_steps, config.conditioner)
    return Setup(config, profile, calibrations, engine, policy, CameraInfoGuard(topics, check), sights)


class Serving:
    """Everything that lives from activate to deactivate.

    Attributes:
        modes: takes goals.
        watched: what the diagnostics tell of.
    """

    def __init__(
        self,
        node: Node,
        setup: Setup,
        events: EventServer,
        tasks: TaskServer,
        output: ChunkOutput,
        heartbeat: HeartbeatOutput,
    ) -> None:
        config, spec, clock = setup.config, setup.engine.spec, SteadyClock()
        simulated = node.get_clock().ros_time_is_active
        synchronizer = make_synchronizer(setup.profile, *_sync(config, spec, simulated))
        self._clock = ClockWatch(
            node, round(config.clock_timeout_s * 1e9), synchronizer.clear, self._clock_jumped
        )
        self._feed = ObservationFeed(node, setup.profile, setup.calibrations, synchronizer, self._looked)
        self._planner = Planner(setup.policy, spec, setup.profile, self._feed.decode, config.target_slack)
        self._sight = SightOutput(node, setup.sights, spec)
        self._planner.sight = self._sight.use(config)
        self._thread = InferenceThread(node, config.seed)
        means = Means(
            node,
            output,
            synchronizer,
            setup.guard,
            self._clock,
            self._planner,
            self._thread,
            spec,
            setup.engine.name,
        )
        event_port, task_port = RosEventPort(means, events), RosTaskPort(means, tasks)
        self._rest = RestDetector(config.settle_velocity, round(config.settle_timeout_s * 1e9))
        waits = _waits(config)
        link = ControlLink(waits.control_ns, self._rest, clock.now_ns() // 1000)
        shape = ChunkShape(
            spec.chunk_steps, round(spec.step_s * 1e9), spec.takes_prefix, setup.profile.quaternions
        )
        self._events = event_port.runner = EventRunner(
            event_port, clock, waits, link, shape, _event_tuning(config)
        )
        waits = replace(waits, timeout_ns=round(config.task_timeout_s * 1e9))
        self._tasks = task_port.runner = TaskRunner(task_port, clock, waits, link, shape, _tuning(config))
        self.modes = Modes(self._events, self._tasks, link, clock, config.mode)
        self.watched = Watched(synchronizer, self._clock.guard, self.modes, link)
        self._node = node
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(TICK_S, self.modes.tick, clock=steady)
        self._heartbeat = heartbeat
        heartbeat.start()

    def tune(self, config: PolicyConfig) -> None:
        """Take over live parameters, which were found right."""
        self._planner.sight = self._sight.use(config)
        self._rest.velocity = config.settle_velocity
        self._rest.patience_ns = round(config.settle_timeout_s * 1e9)
        self._events.tuning, self._tasks.tuning = _event_tuning(config), _tuning(config)
        self.modes.set(config.mode)

    def close(self, text: str) -> bool:
        """End every goal with `text`; false if the engine is still busy."""
        self.modes.close(text)
        self._node.destroy_timer(self._timer)
        self._heartbeat.stop()
        self._feed.close()
        self._clock.close()
        done = self._thread.close()
        self._sight.close()
        return done

    def _clock_jumped(self, text: str) -> None:
        self.modes.clock_jumped(text)

    def _looked(self) -> None:
        """A picture came: look at once rather than at the next tick."""
        if not self.modes.idle:
            self.modes.tick()


def _silence_ns(config: PolicyConfig, simulated: bool) -> int:
    """A simulator slower than real time lets real time go by between two samples."""
    return round(config.max_observation_age_ms * 1e6 + config.clock_timeout_s * 1e9 * simulated)


def _sync(config: PolicyConfig, spec: ModelSpec, simulated: bool) -> tuple[SyncLimits, int]:
    """Limits of observations, and how long pictures are kept for those that look back [ns]."""
    limits = SyncLimits(
        max_spread_ns=round(config.max_observation_spread_ms * 1e6),
        max_age_ns=round(config.max_observation_age_ms * 1e6),
        frozen=config.frozen_frames,
        max_wait_ns=_silence_ns(config, simulated),
    )
    if "unified" not in spec.modes or not spec.history_pictures:
        return limits, 0
    every_ns = spec.picture_steps * spec.step_s * 1e9
    # One more than is looked back: the nearest may be the one before.
    return limits, round((spec.history_pictures + 1) * every_ns) + limits.max_age_ns


def _tuning(config: PolicyConfig) -> TaskTuning:
    return TaskTuning(config.text_source, config.replan_steps, config.blend_steps, config.still_position)


def _event_tuning(config: PolicyConfig) -> EventTuning:
    return EventTuning(round(config.event_replan_s * 1e9), config.blend_steps)


def _waits(config: PolicyConfig) -> RunnerLimits:
    return RunnerLimits(
        timeout_ns=round(config.event_timeout_s * 1e9),
        observation_ns=round(config.observation_timeout_s * 1e9),
        control_ns=round(config.control_timeout_s * 1e9),
        inference_ns=round(config.inference_timeout_s * 1e9),
        preempt_ns=round(config.preempt_timeout_s * 1e9),
        feedback_ns=round(1e9 / config.feedback_rate_hz),
    )
