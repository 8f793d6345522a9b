"""The simulated arm controllers: which target is in force when."""

import numpy as np
import pytest

from wallwm_ros.bridge.sim_controller import SimController

START = np.array([1.0, -1.0])


def test_holds_where_it_starts():
    assert SimController(START).target(100.0) == pytest.approx(START)


def test_a_forward_command_holds_until_the_next():
    controller = SimController(START)
    controller.hold(np.array([2.0, 0.0]))
    assert controller.target(0.0) == pytest.approx([2.0, 0.0])
    assert controller.target(50.0) == pytest.approx([2.0, 0.0])


def test_a_trajectory_is_interpolated_from_the_target_in_force():
    controller = SimController(START)
    controller.follow(10.0, np.array([1.0, 2.0]), np.array([[3.0, -1.0], [3.0, 1.0]]))
    assert controller.target(10.0) == pytest.approx([1.0, -1.0])
    assert controller.target(10.5) == pytest.approx([2.0, -1.0])
    assert controller.target(11.5) == pytest.approx([3.0, 0.0])
    assert controller.target(99.0) == pytest.approx([3.0, 1.0])


def test_a_newer_trajectory_starts_in_the_middle_of_the_old_one():
    controller = SimController(START)
    controller.follow(0.0, np.array([1.0]), np.array([[3.0, -1.0]]))
    controller.follow(0.5, np.array([1.0]), np.array([[0.0, 0.0]]))
    assert controller.target(0.5) == pytest.approx([2.0, -1.0])
    assert controller.target(1.0) == pytest.approx([1.0, -0.5])


def test_a_point_due_now_takes_effect_at_once():
    controller = SimController(START)
    controller.follow(0.0, np.array([0.0]), np.array([[5.0, 5.0]]))
    assert controller.target(0.0) == pytest.approx([5.0, 5.0])


def test_an_empty_trajectory_stops_where_it_is():
    controller = SimController(START)
    controller.follow(0.0, np.array([1.0]), np.array([[3.0, -1.0]]))
    controller.follow(0.5, np.zeros(0), np.zeros((0, 2)))
    assert controller.target(9.0) == pytest.approx([2.0, -1.0])
