"""Goals as a planner sends them, and whether each accepted one gets exactly one result."""

from __future__ import annotations

import time
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient

from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_ros.bridge.goal_client import send_goal
from wallwm_ros.bridge.planner import CODES

EVENT, UNIFIED = "event", "unified"
REACH, RETRACT = "reach the red cube with the left arm", "retract the left arm"


class Goals:
    """Sends goals of both kinds.

    Args:
        seat: the bench's own side in ROS.

    Attributes:
        sent: every goal so far.
    """

    def __init__(self, seat: Any) -> None:
        self.seat, self.sent = seat, []
        kinds = {EVENT: (ExecuteEvent, "/execute_event"), UNIFIED: (ExecuteTask, "/execute_task")}
        self._clients = {mode: ActionClient(seat.node, *kind) for mode, kind in kinds.items()}

    def send(self, mode: str, words: str, **fields: Any) -> Sent:
        """A goal of a mode, as soon as somebody serves it."""
        client = self._clients[mode]
        self.seat.until(client.server_is_ready, f"policy_node's {mode} action")
        if mode == EVENT:
            request = ExecuteEvent.Goal(caption=words, **fields)
        else:
            request = ExecuteTask.Goal(instruction=words, **fields)
        sent = Sent(self.seat, send_goal(self.seat.node, client, request))
        self.sent.append(sent)
        return sent

    def lost(self) -> int:
        """Accepted goals without exactly one result."""
        return sum(1 for sent in self.sent if sent.accepted and len(sent.answers) != 1)


class Sent:
    """One goal.

    Attributes:
        accepted: the server took it.
        answers: its results: names of how it ended, and why.
        at: when it was sent (steady clock) [s].
    """

    def __init__(self, seat: Any, future: Any) -> None:
        self.accepted, self.answers, self.at = False, [], time.monotonic()
        self._handle: Any = None
        self._seat, self._future = seat, future
        future.add_done_callback(self._taken)

    @property
    def over(self) -> bool:
        """The result is there, or there will be none."""
        return bool(self.answers) or (self._future.done() and not self.accepted)

    def cancel(self) -> None:
        """Ask for the end."""
        self._seat.until(self._future.done, "the answer to a goal")
        if self.accepted:
            self._handle.cancel_goal_async()

    def ask_again(self) -> None:
        """The server that had the goal is gone: what does the new one say of it?"""
        self._handle.get_result_async().add_done_callback(self._answered)

    def _taken(self, future: Any) -> None:
        self._handle = future.result()
        self.accepted = self._handle is not None and self._handle.accepted
        if self.accepted:
            self._handle.get_result_async().add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        found = future.result()
        if found is None:
            return
        if found.status == GoalStatus.STATUS_UNKNOWN:
            self.answers.append(("unknown to the server", "the server that had the goal is gone"))
        else:
            code = found.result.error_code
            self.answers.append((CODES.get(code, str(code)), found.result.error_text))


def words(seat: Any, middle: float) -> str:
    """Words that send the scripted engine's arm to where it has room; `middle` of the first joint's range."""
    return RETRACT if seat.status.measured[0] > middle else REACH
