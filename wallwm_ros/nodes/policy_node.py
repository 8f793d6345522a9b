"""Takes event goals, looks, asks the model, publishes action chunks, and follows what the arm really does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from wallwm_model.engines import Engine, load_engine
from wallwm_model.errors import ConfigError, WallWMError
from wallwm_model.policy import EventPolicy
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.event_port import ChunkOutput
from wallwm_ros.bridge.events import EventServer, TaskServer, report_from_message
from wallwm_ros.bridge.params import Parameters
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.serving import Serving, Setup
from wallwm_ros.core.admission import check_goal
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.compatibility import check_compatible, check_mode
from wallwm_ros.core.config import PolicyConfig, load_robot
from wallwm_ros.core.events import EventGoal, EventResult, Outcome
from wallwm_ros.core.paths import data_path

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
EngineLoader = Callable[[Path, str, int], Engine]


class PolicyNode(LifecycleNode):
    """configure = load and check; activate = warm the engine and serve.

    Args:
        load: loads an engine bundle; arguments are folder, engine name and threads.
    """

    def __init__(self, load: EngineLoader = load_engine) -> None:
        super().__init__("policy_node")
        self._load = load
        self._setup: Setup | None = None
        self._serving: Serving | None = None
        self._settings = Parameters(self, PolicyConfig, self._changed)
        self.add_on_set_parameters_callback(self._check_mode)
        self._output = ChunkOutput(self)
        self._events = EventServer(self, self._goal, self._cancel)
        self._tasks = TaskServer(self, self._task_refusal)
        # Heard from the beginning, so that the first goal after activation finds the control process known.
        self.create_subscription(ControlStatus, "control_status", self._reported, qos.STATUS)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check configuration, robot, calibration and bundle; nothing stays behind on refusal."""
        return self._attempt("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Warm the engine, subscribe, and begin to serve."""
        return self._attempt("activate", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End every goal as DEACTIVATED and stop listening."""
        self._stop_serving("policy_node was deactivated")
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the engine; parameters may change again."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self.close()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self.close()
        return SUCCESS

    def close(self) -> None:
        """End every goal and let go of the engine."""
        self._stop_serving("policy_node is shutting down")
        self._release()

    def _attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        """A transition that may be refused, with one sentence in the log."""
        try:
            step()
        except WallWMError as error:
            self.get_logger().error(f"{name} refused: {error}")
            return FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self.get_logger().error(f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())}")
            return ERROR
        return SUCCESS

    def _configure(self) -> None:
        config = self._settings.read()
        profile = load_robot(config.robot)
        calibrations = load_calibrations(profile)
        model = Path(config.model)
        folder = model if model.is_absolute() or model.is_dir() else data_path(config.model)
        engine = self._load(folder, config.engine, config.engine_threads)
        try:
            check_compatible(engine.spec, profile, calibrations, config.mode)
        except WallWMError:
            engine.close()
            raise
        policy = EventPolicy(engine, config.euler_steps)
        self._setup = Setup(config, profile, calibrations, engine, policy)
        self._settings.locked = True
        self.get_logger().info(f"model {engine.spec.name} on engine {engine.name} for robot {profile.name}")

    def _activate(self) -> None:
        self._setup.policy.warm()
        self._serving = Serving(self, self._setup, self._events, self._output)

    def _stop_serving(self, text: str) -> None:
        if self._serving is not None:
            if not self._serving.close(text):
                self.get_logger().warning("the engine is still busy with its last inference")
            self._serving = None

    def _release(self) -> None:
        if self._setup is not None:
            self._setup.engine.close()
            self._setup = None
        self._settings.locked = False

    def _goal(self, goal: EventGoal) -> None:
        if self._serving is None:
            refusal = f"policy_node is not active: {self._state()}"
        else:
            try:
                check_goal(goal, self._setup.engine.spec)
                if self._setup.config.mode != "event":
                    raise ConfigError(f"events need mode 'event'; found {self._setup.config.mode!r}")
                self._serving.runner.submit(goal)
                return
            except WallWMError as error:
                refusal = str(error)
        self.get_logger().warning(f"event {goal.caption!r} refused: {refusal}")
        self._events.finish(goal, EventResult(Outcome.REFUSED, refusal))

    def _cancel(self, key: bytes) -> None:
        if self._serving is not None:
            self._serving.runner.cancel(key)

    def _reported(self, message: ControlStatus) -> None:
        if self._serving is not None:
            self._serving.runner.control_reported(report_from_message(message))

    def _task_refusal(self) -> str:
        if self._setup is None:
            return f"policy_node is not active: {self._state()}"
        modes = ", ".join(self._setup.engine.spec.modes)
        return f"ExecuteTask needs a bundle with unified mode; this one has: {modes}"

    def _state(self) -> str:
        return "configure and activate it first" if self._setup is None else "activate it first"

    def _changed(self, config: PolicyConfig) -> None:
        """A live parameter was changed."""
        self._setup = self._setup._replace(config=config)
        if self._serving is not None:
            self._serving.tune(config)

    def _check_mode(self, changes: list[Parameter]) -> SetParametersResult:
        """A configured node knows which modes its bundle has."""
        for change in changes:
            if self._setup is not None and change.name == "mode" and change.value in ("event", "unified"):
                try:
                    check_mode(self._setup.engine.spec, change.value)
                except ConfigError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(PolicyNode, PolicyNode.close, args)


if __name__ == "__main__":
    sys.exit(main())
