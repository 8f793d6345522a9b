"""What the event runner asks for, carried out with messages, the worker thread and the action server."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from wallwm_model.errors import ObservationError, WallWMError
from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.chunks import chunk_to_message
from wallwm_ros.bridge.diagnostics import latency_message
from wallwm_ros.bridge.events import EventServer
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.event_runner import EventRunner
from wallwm_ros.core.events import EventGoal, EventProgress, EventResult, Outcome, Plan
from wallwm_ros.core.inference import EventPlanner
from wallwm_ros.core.synchronizer import Match, Synchronizer, Unsound
from wallwm_ros.core.worker import Worker


class ChunkOutput:
    """Publishes chunks, and how long each took."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chunks = node.create_publisher(ActionChunk, "action_chunk", qos.CHUNK)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def now_ns(self) -> int:
        """The time of the clock that stamps the messages [ns]."""
        return self._node.get_clock().now().nanoseconds

    def send(self, chunk: Chunk) -> None:
        """Publish a chunk."""
        self._chunks.publish(chunk_to_message(chunk))

    def report(self, chunk: Chunk, stages_ms: dict[str, float], engine: str) -> None:
        """Log and publish where the time went, stage -> [ms]."""
        stages = " ".join(f"{stage}_ms={time_ms:.1f}" for stage, time_ms in stages_ms.items())
        self._node.get_logger().info(
            f"chunk caption={chunk.caption!r} generation={chunk.generation} steps={chunk.steps} "
            f"remaining_s={chunk.remaining_s:.2f} {stages}"
        )
        self.diagnose(latency_message(stages_ms, engine, chunk.caption, chunk.stamp_ns))

    def diagnose(self, message: DiagnosticArray) -> None:
        """Publish diagnostics."""
        self._diagnostics.publish(message)


@dataclass(frozen=True)
class _Answer:
    """What the worker found: a plan, or why there is none; `ended_s` on the performance counter [s]."""

    ticket: int
    found: Plan | Exception
    ended_s: float


class RosEventPort:
    """An `EventPort`; everything but the planning itself runs in the executor's thread.

    Args:
        node: for the log and for waking the executor.
        server: whose clients hear of progress and results.
        output: where chunks go.
        synchronizer: where observations come from.
        planner: makes plans, in the worker's thread.
        guard: may object to every observation.
        joints: names of the columns of a plan.
        engine: name of the engine, for the diagnostics.
        seed: of the action noise; each inference adds one.
    """

    runner: EventRunner  # set by whoever makes both

    def __init__(
        self,
        node: Node,
        server: EventServer,
        output: ChunkOutput,
        synchronizer: Synchronizer,
        planner: EventPlanner,
        guard: CameraInfoGuard,
        *,
        joints: tuple[str, ...],
        engine: str,
        seed: int,
    ) -> None:
        self._node, self._server, self._output = node, server, output
        self._synchronizer, self._planner, self._guard = synchronizer, planner, guard
        self._joints, self._engine, self._seed = joints, engine, seed
        self._worker = Worker("inference")
        self._answers: deque[_Answer] = deque()
        self._wake = node.create_guard_condition(self._deliver)
        self._wanted = 0
        self._asked_s = self._ended_s = 0.0

    def close(self) -> bool:
        """End the worker; false if the engine is still busy."""
        self._wanted = 0  # a late answer wakes nobody
        done = self._worker.close()
        self._node.destroy_guard_condition(self._wake)
        return done

    def message_now_ns(self) -> int:
        """See `EventPort`."""
        return self._output.now_ns()

    def look(self, not_before_ns: int) -> Match | Unsound:
        """See `EventPort`."""
        return self._guard.objection() or self._synchronizer.newest(self._output.now_ns(), not_before_ns)

    def infer(self, ticket: int, match: Match, goal: EventGoal) -> None:
        """See `EventPort`."""
        self._wanted, self._asked_s = ticket, time.perf_counter()

        def job() -> None:
            if ticket != self._wanted:
                return  # replaced while an older inference was still running
            found = self._attempt(match, goal, self._seed + ticket)
            self._answers.append(_Answer(ticket, found, time.perf_counter()))
            if ticket == self._wanted:
                self._wake.trigger()

        self._worker.submit(job)

    def publish(self, generation: int, plan: Plan, goal: EventGoal, wait_ms: float) -> None:
        """See `EventPort`."""
        chunk = Chunk(
            generation=generation,
            joints=self._joints,
            values=plan.actions,
            step_ns=round(plan.step_s * 1e9),
            caption=goal.caption,
            remaining_s=plan.remaining_s,
            observation_ns=plan.observation_stamp_ns,
            stamp_ns=self._output.now_ns(),
        )
        self._output.send(chunk)
        published_s = time.perf_counter()
        stages = {"wait": wait_ms, **plan.timings_ms, "publish": 1000 * (published_s - self._ended_s)}
        stages["chunk"] = 1000 * (published_s - self._asked_s)
        self._output.report(chunk, stages, self._engine)

    def stop(self, generation: int) -> None:
        """See `EventPort`."""
        self._output.send(Chunk.stop(generation, self._joints))

    def feedback(self, goal: EventGoal, progress: EventProgress) -> None:
        """See `EventPort`."""
        self._server.feedback(goal, progress)

    def finish(self, goal: EventGoal, result: EventResult) -> None:
        """See `EventPort`."""
        text = f"event {goal.caption!r} {result.outcome.name}: {result.text}"
        if result.outcome == Outcome.SUCCEEDED:
            self._node.get_logger().info(text)
        else:
            self._node.get_logger().warning(text)
        self._server.finish(goal, result)

    def _attempt(self, match: Match, goal: EventGoal, seed: int) -> Plan | Exception:
        """Plan in the worker's thread; whatever an engine raises must end the event, not the thread."""
        try:
            return self._planner.plan(match, goal.caption, goal.duration_s, seed)
        except Exception as error:
            return error

    def _deliver(self) -> None:
        """Hand the worker's answers to the runner, in the executor's thread."""
        while self._answers:
            answer = self._answers.popleft()
            self._ended_s = answer.ended_s
            if isinstance(answer.found, Plan):
                self.runner.inferred(answer.ticket, answer.found)
            elif isinstance(answer.found, ObservationError):
                self.runner.unseen(answer.ticket, str(answer.found))
            else:
                self.runner.inference_failed(answer.ticket, _sentence(answer.found))


def _sentence(error: Exception) -> str:
    if isinstance(error, WallWMError):
        return str(error)
    return f"the engine raised {type(error).__name__}: {' '.join(str(error).split())}"
