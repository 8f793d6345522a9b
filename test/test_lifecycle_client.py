"""Transitions of a node that may have died and come back; only the last test has a real clock and process."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from live_bench import LiveBench  # noqa: E402

from wallwm_ros.bridge.lifecycle_client import LifecycleClient, LifecycleError  # noqa: E402
from wallwm_ros.bridge.planner import Planner, PlannerError  # noqa: E402
from wallwm_ros.core.clock import ManualClock  # noqa: E402
from wallwm_ros.demo import domain  # noqa: E402

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
UNCONFIGURED, INACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE
SECOND = 1_000_000_000


class Answer:
    """A future."""

    def __init__(self) -> None:
        self.value = None

    def done(self) -> bool:
        return self.value is not None

    def result(self):
        return self.value


class Served:
    """A lifecycle node as its clients see it: one thread, which takes one request after the other.

    Attributes:
        born_s: requests from before then go to its dead predecessor.
        takes_s: how long configuring takes.
        mute: transitions whose answers are lost.
        refuses: it does not want to be configured.
        asked: times of the requests for a transition that it got [s].
    """

    def __init__(self, born_s=0.0, takes_s=0.0, mute=0, refuses=False, threads=1) -> None:
        self.born_s, self.takes_s, self.mute, self.refuses = born_s, takes_s, mute, refuses
        self.threads, self.clock = threads, ManualClock()
        self.state_id, self.asked, self._work = UNCONFIGURED, [], []

    def client(self, **options) -> LifecycleClient:
        return LifecycleClient(self, "policy_node", clock=self.clock, pause=self._pass, **options)

    @property
    def now_s(self) -> float:
        return self.clock.now_ns() / SECOND

    def create_client(self, kind, name):
        return _Client(self, kind)

    def call(self, kind, request) -> Answer:
        answer = Answer()
        if self.now_s >= self.born_s:
            self._work.append((kind, request, answer))
            if kind is ChangeState:
                self.asked.append(self.now_s)
        return answer

    def _pass(self, seconds: float) -> None:
        """Time goes by, and the node works."""
        self.clock.advance(seconds)
        while not self._busy() and self._work:
            self._serve(*self._work.pop(0))

    def _busy(self) -> bool:
        if self.state_id != State.TRANSITION_STATE_CONFIGURING:
            return False
        if self.now_s >= self._until_s:
            self.state_id = INACTIVE
            if not self.mute:
                self._told.value = ChangeState.Response(success=True)
            self.mute = max(0, self.mute - 1)
            return False
        return self.threads == 1

    def _serve(self, kind, request, answer: Answer) -> None:
        if kind is GetState:
            answer.value = GetState.Response(current_state=State(id=self.state_id))
        elif self.refuses or request.transition.id != CONFIGURE or self.state_id != UNCONFIGURED:
            answer.value = ChangeState.Response(success=False)
        else:
            self.state_id, self._told = State.TRANSITION_STATE_CONFIGURING, answer
            self._until_s = self.now_s + self.takes_s


class _Client:
    def __init__(self, served: Served, kind) -> None:
        self._served, self._kind = served, kind

    def service_is_ready(self) -> bool:
        return True  # the dead one is still in sight

    def call_async(self, request) -> Answer:
        return self._served.call(self._kind, request)

    def remove_pending_request(self, future) -> None:
        pass


def test_an_answer_that_comes_is_all_that_is_asked_for():
    node = Served()
    assert node.client().change(CONFIGURE)
    assert len(node.asked) == 1 and node.now_s < 0.1


def test_a_request_that_went_to_a_dead_node_is_sent_again():
    node = Served(born_s=5.0)
    assert node.client().change(CONFIGURE)
    assert node.state_id == INACTIVE and len(node.asked) == 1 and node.now_s < 9.0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mute", [0, 1])
def test_a_transition_that_takes_long_is_not_requested_twice(threads, mute):
    node = Served(takes_s=20.0, threads=threads, mute=mute)
    assert node.client().change(CONFIGURE)
    assert len(node.asked) == 1 and node.state_id == INACTIVE
    assert 20.0 <= node.now_s < 22.5


def test_a_transition_whose_answer_was_lost_is_done():
    node = Served(mute=1)
    assert node.client().change(CONFIGURE)
    assert len(node.asked) == 1 and node.now_s < 2.5


@pytest.mark.parametrize("born_s", [0.0, 5.0])
def test_a_refusal_is_one_however_often_it_was_requested(born_s):
    node = Served(born_s=born_s, refuses=True)
    assert not node.client().change(CONFIGURE)
    assert len(node.asked) == 1


def test_what_the_present_state_does_not_allow_is_refused_as_before():
    node = Served()
    assert not node.client().change(ACTIVATE)
    assert node.client().change(CONFIGURE)
    assert not node.client().change(CONFIGURE)


def test_a_node_that_never_answers_is_named():
    node = Served(born_s=1000.0)
    with pytest.raises(LifecycleError, match="expected the policy_node change_state; found silence for 60 s"):
        node.client().change(CONFIGURE)
    assert 60.0 <= node.now_s < 63.0


def test_waiting_ends_when_a_process_has_ended():
    def ended() -> None:
        raise PlannerError("control_node has ended")

    with pytest.raises(PlannerError, match="has ended"):
        Served(born_s=1000.0).client(alive=ended).change(CONFIGURE)


def test_a_node_that_was_killed_and_started_again_is_brought_up(tmp_path):
    """The first request finds nobody but the dead one in sight."""
    bench = LiveBench(domain.choose(), tmp_path)
    command = ("-m", "wallwm_ros.nodes.control_node", "--ros-args", "-p", "robot:=sim")
    try:
        planner = Planner(bench.node)
        for life in range(2):
            bench.start("control_node", *command)
            planner.transition("control_node", CONFIGURE)
            planner.transition("control_node", ACTIVATE)
            if life == 0:
                bench.stop("control_node", signal.SIGKILL)
        assert bench.state("control_node") == State.PRIMARY_STATE_ACTIVE
        with pytest.raises(PlannerError, match="Unable to start transition|refused transition"):
            planner.transition("control_node", CONFIGURE)
    finally:
        bench.close()
