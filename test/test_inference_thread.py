"""The inference thread hands a plan out first and reads the thought behind it afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the bridge needs rclpy")

from wallwm_model.errors import EngineError  # noqa: E402
from wallwm_model.thought import Thought  # noqa: E402
from wallwm_ros.bridge.inference_thread import InferenceThread  # noqa: E402
from wallwm_ros.core.events import Plan  # noqa: E402

pytestmark = pytest.mark.ros
PATIENCE_S = 20.0  # far more than a busy machine needs


class Node:
    """What the thread needs of a node: a bell, and a log."""

    def __init__(self):
        self.rung, self.warnings = threading.Event(), []

    def create_guard_condition(self, callback):
        return self

    def trigger(self):
        self.rung.set()

    def destroy_guard_condition(self, bell):
        pass

    def get_logger(self):
        return self

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture
def thread():
    running = InferenceThread(Node(), seed=0)
    yield running
    assert running.close()


def plan(put=None):
    thought = None if put is None else Thought(put)
    return Plan(np.zeros((2, 14)), 0.05, 1.0, 0, {}, thought)


def answered(thread, make):
    """Ask, and wait for the bell."""
    told, node = [], thread._node
    node.rung.clear()
    thread.ask(lambda seed: make, told.append)
    assert node.rung.wait(PATIENCE_S)
    thread._deliver()
    return told


def test_a_plan_is_out_before_its_thought_is_read(thread):
    may_read, read = threading.Event(), threading.Event()

    def put(stop):
        assert may_read.wait(PATIENCE_S)
        read.set()
        return "the red cube is on the table"

    (found,) = answered(thread, plan(put))
    assert found.reasoning == ""
    may_read.set()
    assert read.wait(PATIENCE_S)
    assert answered(thread, plan()) and found.reasoning == "the red cube is on the table"


def test_reading_gives_up_when_something_newer_is_asked_for(thread):
    reading, stopped = threading.Event(), threading.Event()

    def put(stop):
        reading.set()
        while not stop():
            reading.wait(0.01)
        stopped.set()
        return ""

    (found,) = answered(thread, plan(put))
    assert reading.wait(PATIENCE_S) and not stopped.is_set()
    assert answered(thread, plan()) and stopped.is_set() and found.reasoning == ""


def test_a_thought_that_cannot_be_read_is_a_warning_and_no_end(thread):
    def put(stop):
        raise EngineError("the explain graph must give finite logits")

    answered(thread, plan(put))
    assert len(answered(thread, plan())) == 1
    assert thread._node.warnings == [
        "the model's reasoning cannot be read: the explain graph must give finite logits"
    ]
