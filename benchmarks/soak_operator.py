"""A random operator: goals of both modes, cancels, preempts, mode switches, takeovers, emergency stops."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from wallwm_model.captions import ARMS, CUBE_COLOURS, PAD_COLOURS, TEMPLATES, caption
from wallwm_ros.cli.bench import part
from wallwm_ros.core.events import ControlState

goals = part("faults_goals")
MODES = (goals.EVENT, goals.UNIFIED)
# Cards of a deck that is shuffled and played again and again: everything happens soon, in any order.
DECK = {"goal": 5, "cancel": 2, "preempt": 2, "switch": 2, "takeover": 1, "estop": 1, "wait": 1}
LONGEST_S = 2.0  # between two acts
TAKEN_S = 1.5  # an operator moves the arm for so long
OPERATOR_HZ = 50.0
OPERATOR_STEP = 0.002  # of the first joint in one command [rad]


class Operator:
    """Acts on a running system.

    Args:
        seat: the bench's own side in ROS.
        rng: decides everything.

    Attributes:
        goals: sent so far.
        done: what was done, and how often.
    """

    def __init__(self, seat: Any, rng: random.Random) -> None:
        self._seat, self._rng = seat, rng
        self.goals, self.done, self._mode = goals.Goals(seat), Counter(), goals.EVENT
        self._cards: list[str] = []
        self._commands = seat.node.create_publisher(JointState, "/takeover_command", 10)
        self._estop, self._reset = (
            seat.node.create_client(Trigger, f"/control_node/{name}") for name in ("estop", "reset_estop")
        )
        self._takeover = seat.node.create_client(SetBool, "/control_node/takeover")
        for client in (self._estop, self._reset, self._takeover):
            seat.until(client.service_is_ready, f"the service {client.srv_name}")
        self._set_mode(self._mode)

    def act(self) -> None:
        """Do something, and pause."""
        if not self._cards:
            self._cards = [card for card, count in DECK.items() for _ in range(count)]
            self._rng.shuffle(self._cards)
        chosen = self._cards.pop()
        getattr(self, f"_do_{chosen}")()
        self.done[chosen] += 1
        time.sleep(self._rng.uniform(0.0, LONGEST_S))

    def finish(self) -> None:
        """Cancel what is open, and wait until every goal is over."""
        for goal in self._open():
            goal.cancel()
        self._seat.until(lambda: not self._open(), "the results of all goals")

    def _do_wait(self) -> None:
        time.sleep(LONGEST_S)

    def _do_goal(self) -> None:
        """A goal once the ones before it are over."""
        deadline = time.monotonic() + 2 * LONGEST_S
        while self._open() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._new_goal()

    def _do_preempt(self) -> None:
        self._new_goal()
        time.sleep(self._rng.uniform(0.0, 1.0))
        self._new_goal()

    def _do_cancel(self) -> None:
        self._new_goal()
        time.sleep(self._rng.uniform(0.0, 1.5))
        self.goals.sent[-1].cancel()

    def _do_switch(self) -> None:
        """Another mode, whatever moves."""
        self._set_mode(next(mode for mode in MODES if mode != self._mode))

    def _do_takeover(self) -> None:
        """The arm goes to the operator, moves with the first joint, and comes back."""
        self._call(self._takeover, SetBool.Request(data=True))
        self._seat.until(lambda: self._seat.status.state == ControlState.TAKEOVER, "the takeover")
        command, way = list(self._seat.status.command), self._rng.choice((-1, 1))
        until = time.monotonic() + self._rng.uniform(0.3, TAKEN_S)
        while time.monotonic() < until:
            command[0] += way * OPERATOR_STEP
            self._commands.publish(JointState(name=self._seat.status.joint_names, position=command))
            time.sleep(1 / OPERATOR_HZ)
        self._call(self._takeover, SetBool.Request(data=False))

    def _do_estop(self) -> None:
        """The emergency stop; a goal that must be refused; the reset."""
        self._call(self._estop, Trigger.Request())
        self._seat.until(lambda: self._seat.status.state == ControlState.ESTOPPED, "the emergency stop")
        if self._rng.random() < 0.5:
            self._new_goal()
        time.sleep(self._rng.uniform(0.1, 0.5))
        self._seat.until(lambda: self._call(self._reset, Trigger.Request()).success, "the reset")

    def _new_goal(self) -> None:
        fields = {"duration_s": self._rng.uniform(0.3, 3.0)} if self._mode == goals.EVENT else {}
        if self._mode == goals.EVENT and self._rng.random() < 0.2:
            fields["policy"] = 1  # QUEUE
        self.goals.send(self._mode, _caption(self._rng), **fields)

    def _set_mode(self, mode: str) -> None:
        (refused,) = self._seat.set("policy_node", Parameter("mode", value=mode))
        self._mode = self._mode if refused else mode

    def _call(self, client: Any, request: Any) -> Any:
        return self._seat.wait(client.call_async(request), f"the answer of {client.srv_name}")

    def _open(self) -> list[Any]:
        return [goal for goal in self.goals.sent if not goal.over]


def _caption(rng: random.Random) -> str:
    """Any sentence of the grammar."""
    arm, cube, pad = rng.choice(ARMS), rng.choice(CUBE_COLOURS), rng.choice(PAD_COLOURS)
    return caption(rng.choice(tuple(TEMPLATES)), arm=arm, cube=cube, pad=pad)
