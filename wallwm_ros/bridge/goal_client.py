"""Sending goals to action servers so that no answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future


def send_goal(
    node: Node, client: ActionClient, goal: Any, feedback: Callable[[Any], None] | None = None
) -> Future:
    """Send a goal from any thread -> future of its handle; a single-threaded executor must spin the node.

    The executor itself sends: `ActionClient.send_goal_async` of rclpy 9.1 puts a second future in the place
    of the first without holding its lock, and an answer that another thread takes in between is never heard.
    """

    async def send() -> Any:
        return await client.send_goal_async(goal, feedback)

    return node.executor.create_task(send)
