"""Playing a schedule of chunks step by step under a merging rule that takes one action per step, as peers do.

`python -m benchmarks.peers.merging FOLDER RULE ...` plays every schedule in a folder under LeRobot's own
rules, in the peers' environment.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Protocol

import numpy as np

from benchmarks.peers.motion import Motion, Schedule, load


class Rule(Protocol):
    """How chunks become one stream of actions."""

    def label(self) -> int:
        """At which step of its own count the arm is, for an observation taken now."""

    def merge(self, rows: np.ndarray, label: int) -> None:
        """A chunk (T, D) has come that was asked for at `label`."""

    def next(self) -> np.ndarray | None:
        """The action (D,) of this step; none: there is none, and nothing is sent."""


class Replace:
    """Naive replacement: a chunk is carried out from its first row on, as soon as it is there."""

    def __init__(self) -> None:
        self._rows: deque[np.ndarray] = deque()

    def label(self) -> int:
        """Nobody asks."""
        return 0

    def merge(self, rows: np.ndarray, label: int) -> None:
        """See `Rule`."""
        self._rows = deque(rows)

    def next(self) -> np.ndarray | None:
        """See `Rule`."""
        return self._rows.popleft() if self._rows else None


class LeRobot:
    """LeRobot's RobotClient, its own methods on its own queue; only the robot and the server are not there.

    Args:
        rule: name of one of its aggregate functions.
        columns: of an action.
    """

    def __init__(self, rule: str, columns: int) -> None:
        from benchmarks.peers import stand_in

        stand_in.install()
        import torch
        from lerobot.async_inference import helpers, robot_client
        from lerobot.async_inference.configs import get_aggregate_function

        self._torch, self._action = torch, helpers.TimedAction
        self._rule, self._sent = get_aggregate_function(rule), []
        client = self._client = object.__new__(robot_client.RobotClient)
        client.action_queue, client.action_queue_lock = Queue(), threading.Lock()
        client.latest_action, client.latest_action_lock = -1, threading.Lock()
        client.action_queue_size = []
        client.robot = SimpleNamespace(
            action_features=[str(i) for i in range(columns)], send_action=self._sent.append
        )

    def label(self) -> int:
        """As `RobotClient.control_loop_observation` numbers observations."""
        return max(self._client.latest_action, 0)

    def merge(self, rows: np.ndarray, label: int) -> None:
        """As `PolicyServer` numbers actions, and `RobotClient.receive_actions` takes them in."""
        actions = [
            self._action(timestamp=0.0, timestep=label + i, action=self._torch.from_numpy(row.copy()))
            for i, row in enumerate(rows)
        ]
        self._client._aggregate_action_queues(actions, self._aggregate)

    def _aggregate(self, old: object, new: object) -> object:
        """Its function, less the first column: that counts steps, and an average of two counts is none."""
        both = self._rule(old, new).clone()
        both[0] = new[0]
        return both

    def next(self) -> np.ndarray | None:
        """As `RobotClient.control_loop` does in one turn."""
        if not self._client.actions_available():
            return None
        self._client.control_loop_action()
        return np.array(list(self._sent[-1].values()))


def play(motion: Motion, schedule: Schedule, rule: Rule) -> np.ndarray:
    """(ticks, D) what was sent in each step; nan where nothing was.

    In every step: take in what came, send an action, then look. The arm reaches an action when the next one
    is sent, so that what is seen right after sending is the action before.
    """
    sent = np.full((schedule.ticks, motion.path.shape[1]), np.nan)
    arm = goal = motion.path[0]
    open_questions: dict[int, tuple[np.ndarray, int]] = {}
    for tick in range(schedule.ticks):
        for number in np.flatnonzero(schedule.came == tick):
            rows, label = open_questions.pop(int(number))
            rule.merge(rows, label)
        arm, action = goal, rule.next()
        if action is not None:
            goal = sent[tick] = action
        for number in np.flatnonzero(schedule.asked == tick):
            at = motion.position(arm)
            open_questions[int(number)] = motion.chunk(int(number), arm, at), rule.label()
    return sent


if __name__ == "__main__":
    folder, rules = Path(sys.argv[1]), sys.argv[2:]
    for file in sorted(folder.glob("*.npz")):
        its_motion, its_schedule = load(file)
        for name in rules:
            played = play(its_motion, its_schedule, LeRobot(name, its_motion.path.shape[1]))
            np.save(folder / f"{file.stem}-{name}.npy", played)
