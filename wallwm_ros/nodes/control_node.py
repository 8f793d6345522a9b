"""Turns action chunks into commands at a fixed rate inside the robot's limits, and reports what it did."""

from __future__ import annotations

import signal
import sys
import time
from functools import partial

from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState

from wallwm_model.errors import ConfigError
from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.chunks import chunk_from_message
from wallwm_ros.bridge.commands import CommandOutputs
from wallwm_ros.bridge.control_diagnostics import ControlDiagnostics
from wallwm_ros.bridge.control_port import StateFeed, StatusOutput
from wallwm_ros.bridge.heartbeat import HeartbeatFeed
from wallwm_ros.bridge.lifecycle import ManagedNode
from wallwm_ros.bridge.operator_inputs import OperatorInputs
from wallwm_ros.bridge.params import Parameters
from wallwm_ros.bridge.robot_description import kinematics_of
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.stamps import SECOND, to_ns
from wallwm_ros.core.clock import SteadyClock
from wallwm_ros.core.clock_guard import ClockGuard, Reading
from wallwm_ros.core.config import ControlConfig, load_robot
from wallwm_ros.core.control_state import Status
from wallwm_ros.core.controller import Controller
from wallwm_ros.core.cycle import ControlCycle, SimulatedClock, start_in
from wallwm_ros.core.estop import Estop
from wallwm_ros.core.loop import SteadyLoop
from wallwm_ros.core.priority import set_realtime
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.workspace import Workspace

STOP_S = 1.5  # longest wait for a shaped stop before commands end


class ControlNode(ManagedNode):
    """configure = check parameters and robot, begin to report; activate = hold the arm, follow chunks."""

    def __init__(self) -> None:
        super().__init__("control_node")
        self._settings = Parameters(self, ControlConfig)
        self._running: _Running | None = None
        self._estop = Estop()
        self._operator = OperatorInputs(self, self._estop)

    def close(self) -> None:
        """Shaped stop, last report, end of the control loop."""
        self._operator.operated = None
        if self._running is not None:
            self._running.deactivate("control_node is shutting down")
            self._running.close()
            self._running = None
            set_realtime(0)
        self._settings.locked = False

    def _configure(self) -> None:
        """Check parameters and robot profile; begin to report."""
        config = self._settings.read()
        profile = load_robot(config.robot)
        simulated = self.get_parameter("use_sim_time").value
        if config.tick == "clock" and not simulated:
            raise ConfigError("tick: clock needs use_sim_time: true; found false")
        self._running = self._operator.operated = _Running(self, config, profile, self._estop)
        self._settings.locked = True
        realtime = bool(config.realtime_priority) and set_realtime(config.realtime_priority)
        self.get_logger().info(
            f"robot {profile.name}: {len(profile.joints)} columns at {config.rate_hz:g} Hz, "
            f"{'real-time' if realtime else 'normal'} priority"
        )

    def _activate(self) -> None:
        """Command the arm, from where the next joint state finds it."""
        self._running.activate()

    def _deactivate(self) -> None:
        """Bring the arm to a shaped stop and send nothing more."""
        self._running.deactivate("control_node is being deactivated")


class _Running:
    """Everything that lives from configure to cleanup."""

    def __init__(self, node: ControlNode, config: ControlConfig, profile: RobotProfile, estop: Estop) -> None:
        self._node = node
        workspace = Workspace(profile, partial(kinematics_of, node, profile)) if profile.workspace else None
        controller = Controller(profile, config, estop, workspace)
        self._simulated = config.tick == "clock"
        self._clock = SimulatedClock() if self._simulated else SteadyClock()
        self._guard = ClockGuard()
        period_ns = round(SECOND / config.rate_hz)
        self._commands = CommandOutputs(
            node, profile, config.command, round(config.trajectory_ahead_ms * 1e6) or period_ns
        )
        self._takeover, self._heartbeat = controller.takeover, HeartbeatFeed(node, controller.heartbeat)
        self._status = StatusOutput(node, profile)
        self._loop: SteadyLoop | None = None
        # Before the clock: of messages that wait together, joint states are heard first.
        self._states = StateFeed(node, profile, self._clock.now_ns)
        self._cycle = ControlCycle(
            controller,
            self._clock,
            measure=self._states.latest,
            command=self._command,
            report=self._report,
            report_ns=round(SECOND / config.status_rate_hz),
        )
        self._diagnostics = ControlDiagnostics(
            node,
            period_ns,
            round(config.joint_state_timeout_s * SECOND),
            self._states.latest,
            self._clock.now_ns,
        )
        self._subscriptions = [node.create_subscription(ActionChunk, "action_chunk", self._chunk, qos.CHUNK)]
        if self._simulated:
            self._subscriptions.append(
                node.create_subscription(ClockMessage, "/clock", self._ticked, qos.CLOCK)
            )
        else:
            self._loop = SteadyLoop(config.rate_hz, self._cycle.tick, "control", self._failed)
            self._loop.start()

    def activate(self) -> None:
        """Begin to command; what was measured before does not count."""
        self._states.clear()
        self._cycle.activate()

    def deactivate(self, reason: str) -> None:
        """Shaped stop, then no more commands. Simulated time may stand still, so it is not waited for."""
        self._cycle.halt(reason)
        deadline = time.monotonic() + STOP_S
        while self._loop is not None and self._loop.running and time.monotonic() < deadline:
            time.sleep(0.02)
            if self._cycle.standing():
                break
        self._cycle.deactivate()

    def reset_estop(self) -> str:
        """See `Operated`."""
        return self._cycle.reset_estop()

    def take_over(self, on: bool) -> None:
        """See `Operated`."""
        if on:
            self._takeover.engage()
        else:
            self._takeover.release()

    def hear_operator(self, message: JointState) -> None:
        """See `Operated`; commands that nobody has asked for do not count."""
        if self._takeover.engaged:
            refusal = self._takeover.hear(message.name, message.position, self._clock.now_ns())
            if refusal:
                self._cycle.reject(refusal)

    def close(self) -> None:
        """End the control loop and let go of every topic."""
        if self._loop is not None:
            self._loop.stop()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._heartbeat.close()
        self._diagnostics.close()
        self._states.close()
        self._commands.close()
        self._status.close(self._node)

    def _command(self, status: Status) -> None:
        self._commands.send(status.command, status.velocity, self._node_ns())

    def _report(self, status: Status, period_ns: int) -> None:
        self._status.send(status, period_ns, self._node_ns())
        self._diagnostics.heard(status, period_ns)

    def _node_ns(self) -> int:
        return self._clock.now_ns() if self._simulated else self._node.get_clock().now().nanoseconds

    def _chunk(self, message: ActionChunk) -> None:
        try:
            chunk = chunk_from_message(message)
        except ConfigError as error:
            self._cycle.reject(f"chunk {message.generation}/{message.sequence} refused: {error}")
            return
        self._cycle.submit(chunk, start_in(self._clock, chunk.start_ns, self._node_ns()))

    def _ticked(self, message: ClockMessage) -> None:
        now_ns, steady_ns = to_ns(message.clock), time.monotonic_ns()
        jump = self._guard.check(Reading(now_ns, steady_ns, steady_ns, simulated=True))
        self._clock.set(now_ns)
        self._cycle.tick(now_ns, jump)

    def _failed(self, error: Exception) -> None:
        """The control loop has ended: nothing commands the arm any more, so the process says so and ends."""
        self._node.get_logger().fatal(f"the control loop failed: {type(error).__name__}: {error}")
        signal.raise_signal(signal.SIGTERM)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(ControlNode, ControlNode.close, args)


if __name__ == "__main__":
    sys.exit(main())
