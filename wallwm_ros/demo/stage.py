"""The stage of a demonstration: the robot, policy and control processes, and the planner's own ROS node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from wallwm_model.eval.closed_loop import PATIENCE, TYPICAL_S
from wallwm_model.sim.scene import sample_scene
from wallwm_ros.bridge.planner import EventOutcome, EventProgress, Planner
from wallwm_ros.bridge.recorder import listen_to_cameras, listen_to_control
from wallwm_ros.bringup import PARAMETER_FILE
from wallwm_ros.cli.processes import NodeGroup
from wallwm_ros.core.paths import data_path
from wallwm_ros.demo.prepare import CONTROL, POLICY, Setting, parameters
from wallwm_ros.demo.record import Recorder

PASSING_S = 0.05  # for a command under way to arrive before the scene changes [s]


class Stage:
    """Context manager: on entering, every node runs and is active; on leaving, none is left.

    It is also the `Robot` that episodes are played with.

    Args:
        setting: what to play.
        folder: of the run; the nodes' parameters and logs go there.
    """

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = setting, folder
        self._control_active = False

    def __enter__(self) -> Stage:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._nodes = NodeGroup(self._folder)
        self._nodes.start(parameters(self._setting), [data_path(str(PARAMETER_FILE))])
        # ROS must take no signals here: Ctrl-C is for the program, which stops everything in order.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        lockstep = Parameter("use_sim_time", value=self._setting.request.lockstep)
        self._node = rclpy.create_node("wallwm_demo", parameter_overrides=[lockstep])
        self._planner = Planner(self._node, self._nodes.check)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._spinner = threading.Thread(target=self._spin, name="planner", daemon=True)
        self._spinner.start()
        self._planner.transition(CONTROL, Transition.TRANSITION_CONFIGURE)
        self._planner.transition(POLICY, Transition.TRANSITION_CONFIGURE)
        self._planner.transition(POLICY, Transition.TRANSITION_ACTIVATE)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def close(self) -> None:
        """Stop every process, then this one's part in ROS; may be called at any time."""
        if nodes := getattr(self, "_nodes", None):
            nodes.stop()
        if spinner := getattr(self, "_spinner", None):
            self._executor.shutdown(timeout_sec=0.5)
            spinner.join(timeout=0.5)
        rclpy.try_shutdown()

    def listen(self, recorder: Recorder, *, pictures: bool) -> None:
        """Let the recorder hear the control's reports and, for a film, see the cameras."""
        listen_to_control(self._node, recorder.status)
        if pictures:
            listen_to_cameras(self._node, recorder.cameras, recorder.picture)

    def new_scene(self, task: str, seed: int) -> tuple[str, ...]:
        """Put the robot at rest in a scene -> the sentences that carry out its task: captions, or one instruction.

        The control is switched off meanwhile: on being switched on it holds the arms where they then are,
        instead of pulling them back to where they were in the scene before.
        """
        if self._control_active:
            self._planner.transition(CONTROL, Transition.TRANSITION_DEACTIVATE)
            self._control_active = False
            time.sleep(PASSING_S)
        captions, _ = self._planner.reset(task, seed, self._setting.request.blank_cameras)
        self._planner.transition(CONTROL, Transition.TRANSITION_ACTIVATE)
        self._control_active = True
        self._limit_s = PATIENCE * TYPICAL_S[task]
        return (sample_scene(task, seed).instruction(),) if self._setting.unified else captions

    def execute(self, caption: str, on_progress: Callable[[EventProgress], None]) -> EventOutcome:
        """Carry out one event, or in unified mode a whole task, and wait for its end.

        In lockstep the seconds are those of the motion: how long it took says only how busy the machine was.
        """
        if self._setting.unified:
            return self._execute_task(caption, on_progress)
        outcome = self._planner.execute(caption, on_progress)
        if not self._setting.request.lockstep:
            return outcome
        return replace(outcome, seconds=outcome.steps * self._setting.spec.step_s)

    def _execute_task(self, instruction: str, on_progress: Callable[[EventProgress], None]) -> EventOutcome:
        """A task, ended when it is achieved or has taken too long on the robot's clock, as `eval modes` does.

        Nobody reports a task's steps: they are counted on that clock, too.
        """
        clock = self._node.get_clock()
        began = clock.now()

        def seconds() -> float:
            return (clock.now() - began).nanoseconds / 1e9

        outcome = self._planner.execute_task(
            instruction, on_progress, lambda: seconds() > self._limit_s or self.judge()[0]
        )
        steps = round(seconds() / self._setting.spec.step_s)
        return replace(outcome, steps=steps, planned=steps, seconds=seconds())

    def judge(self, caption: str = "") -> tuple[bool, str]:
        """Whether the event (empty, or in unified mode: the whole task) is physically achieved, and why."""
        return self._planner.judge("" if self._setting.unified else caption)
