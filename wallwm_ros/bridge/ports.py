"""What the runners ask for, carried out with messages, the inference thread and the action servers."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

from rclpy.node import Node

from wallwm_model.errors import ObservationError, WallWMError
from wallwm_model.spec import ModelSpec
from wallwm_ros.bridge.chunk_output import ChunkOutput
from wallwm_ros.bridge.clock_watch import ClockWatch
from wallwm_ros.bridge.goal_server import GoalServer
from wallwm_ros.bridge.inference_thread import Answer, InferenceThread
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.events import EventQuestion, Outcome, Plan, Stage
from wallwm_ros.core.inference import Planner
from wallwm_ros.core.plan_runner import PlanRunner
from wallwm_ros.core.plans import Place
from wallwm_ros.core.synchronizer import Match, Synchronizer, Unsound
from wallwm_ros.core.tasks import Question


class Means(NamedTuple):
    """What both ports work with.

    Attributes:
        node: for the log.
        output: where chunks go.
        synchronizer: where observations come from.
        guard: may object to every observation.
        clock: may object as well.
        planner: makes plans, in the thread.
        thread: where inference runs.
        spec: of the model.
        engine: its name, for the diagnostics.
    """

    node: Node
    output: ChunkOutput
    synchronizer: Synchronizer
    guard: CameraInfoGuard
    clock: ClockWatch
    planner: Planner
    thread: InferenceThread
    spec: ModelSpec
    engine: str


class RosPort:
    """A `Port`; everything but the planning itself runs in the executor's thread.

    Args:
        means: what it works with.
        server: whose clients hear of progress and results.
    """

    runner: PlanRunner  # set by whoever makes both
    kind: str

    def __init__(self, means: Means, server: GoalServer) -> None:
        self._means, self._server = means, server

    def message_now_ns(self) -> int:
        """See `Port`."""
        return self._means.output.now_ns()

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        """See `Port`."""
        means = self._means
        objection = means.clock.objection() or means.guard.objection()
        return objection or means.synchronizer.newest(means.output.now_ns(), not_before_ns)

    def stop(self, generation: int) -> None:
        """See `Port`."""
        self._means.output.send(Chunk.stop(generation, self._means.spec.joints))

    def feedback(self, goal: Any, progress: Any) -> None:
        """See `Port`."""
        self._server.feedback(goal, progress)

    def staged(self, goal: Any, stage: Stage, reason: str) -> None:
        """See `Port`."""
        self._means.node.get_logger().info(goal_line(self.kind, goal, stage.name, reason))

    def finish(self, goal: Any, result: Any) -> None:
        """See `Port`."""
        self._means.output.ended(result.outcome)
        text = goal_line(self.kind, goal, result.outcome.name, result.text)
        logger = self._means.node.get_logger()
        if result.outcome == Outcome.SUCCEEDED:
            logger.info(text)
        else:
            logger.warning(text)
        self._server.finish(goal, result)

    def publish(self, place: Place, plan: Plan, goal: Any, wait_ms: float | None) -> None:
        """See `Port`."""
        means = self._means
        chunk = Chunk(
            generation=place.generation,
            joints=means.spec.joints,
            values=plan.actions,
            step_ns=round(plan.step_s * 1e9),
            sequence=place.sequence,
            first_step=place.first_step,
            final=place.final,
            action_space=means.spec.action_space,
            caption=goal.caption,
            remaining_s=plan.remaining_s,
            observation_ns=plan.observation_stamp_ns,
            stamp_ns=means.output.now_ns(),
        )
        means.output.send(chunk)
        if wait_ms is None:
            return
        published_s, thread = time.perf_counter(), means.thread
        stages = {"wait": wait_ms, **plan.timings_ms, "publish": 1000 * (published_s - thread.ended_s)}
        stages["chunk"] = 1000 * (published_s - thread.asked_s)
        means.output.report(chunk, stages, means.engine)

    def _told(self, ticket: int, found: Answer) -> None:
        """Hand an answer to the runner."""
        if isinstance(found, Plan):
            self.runner.inferred(ticket, found)
        elif isinstance(found, ObservationError):
            self.runner.unseen(ticket, str(found))
        else:
            self.runner.inference_failed(ticket, _sentence(found))


class RosEventPort(RosPort):
    """The port of events."""

    kind = "event"

    def infer(self, match: Match, question: EventQuestion) -> None:
        """See `Port`."""
        planner, asked = self._means.planner, question

        def make(seed: int) -> Plan:
            return planner.plan(match, asked.text, asked.duration_s, seed, asked.committed)

        self._means.thread.ask(make, partial(self._told, question.ticket))


class RosTaskPort(RosPort):
    """The port of tasks, which look back as well."""

    kind = "task"

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        """See `Port`."""
        found, spec = super().look(not_before_ns), self._means.spec
        if isinstance(found, Unsound):
            return found
        every_ns = round(spec.picture_steps * spec.step_s * 1e9)
        return self._means.synchronizer.with_past(found, spec.history_pictures, every_ns, rested_ns)

    def infer(self, match: Match, question: Question) -> None:
        """See `Port`."""
        make = partial(self._means.planner.plan_chunk, match, question)
        self._means.thread.ask(make, partial(self._told, question.ticket))


def goal_line(kind: str, goal: Any, stage: str, reason: str) -> str:
    """One line of the log for a goal that has come to another stage, or to its end."""
    identity = goal.key.hex()[:8]
    return f"goal stage={stage.lower()} kind={kind} id={identity} goal={goal.caption!r} reason={reason!r}"


def _sentence(error: Exception) -> str:
    if isinstance(error, WallWMError):
        return str(error)
    return f"the engine raised {type(error).__name__}: {' '.join(str(error).split())}"
