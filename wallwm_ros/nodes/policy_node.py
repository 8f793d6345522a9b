"""Takes goals, looks, asks the model, publishes action chunks, and follows what the arm really does."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from wallwm_model.engines import Engine, load_engine
from wallwm_model.errors import WallWMError
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.camera_watch import CameraWatch
from wallwm_ros.bridge.chunk_output import ChunkOutput
from wallwm_ros.bridge.events import EventServer, TaskServer, report_from_message
from wallwm_ros.bridge.heartbeat import HeartbeatOutput
from wallwm_ros.bridge.lifecycle import ManagedNode
from wallwm_ros.bridge.params import Parameters
from wallwm_ros.bridge.policy_diagnostics import PolicyDiagnostics, Watched
from wallwm_ros.bridge.ports import goal_line
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.serving import Serving, Setup, make_setup
from wallwm_ros.core.admission import check_goal
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.compatibility import check_compatible, check_mode, check_unified, uncalibrated
from wallwm_ros.core.config import PolicyConfig, load_robot
from wallwm_ros.core.events import EventGoal, EventResult, Outcome
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.tasks import TaskGoal, TaskResult

EngineLoader = Callable[[Path, str, int], Engine]


class PolicyNode(ManagedNode):
    """configure = load and check; activate = warm the engine and serve.

    Args:
        load: loads an engine bundle; arguments are folder, engine name and threads.
    """

    def __init__(self, load: EngineLoader = load_engine) -> None:
        super().__init__("policy_node")
        self._load = load
        self._setup: Setup | None = None
        self._serving: Serving | None = None
        self._cameras: CameraWatch | None = None
        self._settings = Parameters(self, PolicyConfig, self._changed)
        self.add_on_set_parameters_callback(self._check_change)
        self._output, self._heartbeat = ChunkOutput(self), HeartbeatOutput(self)
        self._events = EventServer(self, self._goal, self._cancel)
        self._tasks = TaskServer(self, self._goal, self._cancel)
        PolicyDiagnostics(self, self._output, self._phase, self._watched)
        # Heard from the beginning, so that the first goal after activation finds the control process known.
        self.create_subscription(ControlStatus, "control_status", self._reported, qos.STATUS)

    def close(self) -> None:
        """End every goal, let go of the engine, and stop listening to the cameras."""
        self._stop_serving("policy_node is shutting down")
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None
        if self._setup is not None:
            self._setup.engine.close()
            self._setup = None
        self._settings.locked = False

    def _configure(self) -> None:
        """Load and check configuration, robot, calibration, bundle and cameras."""
        config = self._settings.read()
        profile = load_robot(config.robot)
        calibrations = load_calibrations(profile)
        # Heard from here on: what the cameras say of themselves comes in while the engine is being loaded.
        self._cameras = CameraWatch(self, profile, self._output.diagnose, self._cameras_changed)
        model = Path(config.model)
        folder = model if model.is_absolute() or model.is_dir() else data_path(config.model)
        engine = self._load(folder, config.engine, config.engine_threads)
        self._setup = make_setup(self, config, profile, calibrations, engine)
        check_compatible(engine.spec, profile, calibrations, config.mode, config.allow_uncalibrated)
        if config.mode == "unified":
            check_unified(engine.spec, config.text_source, config.replan_steps)
        self._check_cameras(config)
        self._settings.locked = True
        self.get_logger().info(f"model {engine.spec.name} on engine {engine.name} for robot {profile.name}")
        if engine.why:
            self.get_logger().info(f"engine: {engine.why}")

    def _check_cameras(self, config: PolicyConfig) -> None:
        """What can be known of them before they are used, and what it takes to follow them."""
        setup, log = self._setup, self.get_logger()
        unknown = uncalibrated(setup.engine.spec, setup.calibrations)
        if unknown:
            log.warning(f"allow_uncalibrated: the place of {', '.join(unknown)} is not checked")
        obstacle = setup.sights.prepare()
        if obstacle and setup.profile.description:
            log.warning(f"no sight masks before the next configure: {obstacle}")
        setup.sights.make(config)
        self._cameras.check(setup.guard, config.camera_info_timeout_s)
        setup.guard.demand(all_known=config.require_camera_info)

    def _activate(self) -> None:
        """Warm the engine, subscribe, and begin to serve."""
        self._setup.policy.warm()
        self._serving = Serving(
            self, self._setup, self._events, self._tasks, self._output, self._heartbeat
        )

    def _deactivate(self) -> None:
        """End every goal as DEACTIVATED and stop listening."""
        self._stop_serving("policy_node was deactivated")

    def _stop_serving(self, text: str) -> None:
        if self._serving is not None:
            if not self._serving.close(text):
                self.get_logger().warning("the engine is still busy with its last inference")
            self._serving = None

    def _goal(self, goal: EventGoal | TaskGoal) -> None:
        if self._serving is None:
            refusal = f"policy_node is not active: {self._state()}"
        else:
            try:
                if isinstance(goal, TaskGoal):
                    check_mode(self._setup.engine.spec, "unified")
                check_goal(goal, self._setup.engine.spec, self._setup.policy.conditioner)
                self._serving.modes.submit(goal)
                return
            except WallWMError as error:
                refusal = str(error)
        if isinstance(goal, TaskGoal):
            kind, server, result = "task", self._tasks, TaskResult(Outcome.REFUSED, refusal)
        else:
            kind, server, result = "event", self._events, EventResult(Outcome.REFUSED, refusal)
        self.get_logger().warning(goal_line(kind, goal, Outcome.REFUSED.name, refusal))
        self._output.ended(Outcome.REFUSED)
        server.finish(goal, result)

    def _cancel(self, key: bytes) -> None:
        if self._serving is not None:
            self._serving.modes.cancel(key)

    def _reported(self, message: ControlStatus) -> None:
        if self._serving is not None:
            self._serving.modes.control_reported(report_from_message(message))

    def _phase(self) -> str:
        if self._setup is None:
            return "unconfigured"
        return "inactive" if self._serving is None else "active"

    def _watched(self) -> Watched | None:
        return None if self._serving is None else self._serving.watched

    def _state(self) -> str:
        return "configure and activate it first" if self._setup is None else "activate it first"

    def _cameras_changed(self) -> None:
        """A camera is no longer the one that was calibrated, or is it again."""
        objection = self._setup.guard.objection()
        if objection is not None and self._serving is not None:
            self._serving.modes.distrust(objection.text)

    def _changed(self, config: PolicyConfig) -> None:
        """A live parameter was changed."""
        self._setup = self._setup._replace(config=config)
        if self._serving is not None:
            self._serving.tune(config)

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        """A configured node knows what its bundle, its cameras and its robot allow."""
        if self._setup is None:
            return SetParametersResult(successful=True)
        try:
            known = {field.name for field in dataclasses.fields(PolicyConfig)}
            own = {change.name: change.value for change in changes if change.name in known}
            present = self._setup.config
            config = dataclasses.replace(present, **own)
            check_mode(self._setup.engine.spec, config.mode)
            unified = config.text_source, config.replan_steps
            if config.mode == "unified" or unified != (present.text_source, present.replan_steps):
                check_unified(self._setup.engine.spec, *unified)
            self._setup.sights.make(config)
        except WallWMError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(PolicyNode, PolicyNode.close, args)


if __name__ == "__main__":
    sys.exit(main())
