"""Test set-up: marks skip what this machine cannot run, and live ROS tests keep to themselves."""

from __future__ import annotations

import importlib.util
import os
import random

import pytest

# Before rclpy starts: tests side by side, or a robot on the network, must never hear each other.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Idle OpenMP threads would spin on cores that live tests need.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _has_ros() -> bool:
    # An unbuilt wallwm_msgs still imports, as an empty namespace, from the checkout: ask for a module inside.
    if importlib.util.find_spec("rclpy") is None:
        return False
    try:
        return importlib.util.find_spec("wallwm_msgs.msg") is not None
    except ModuleNotFoundError:
        return False


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


NEEDS = {
    "ros": (_has_ros, "needs rclpy and the built wallwm_msgs: ./wallwm test brings both"),
    "train": (lambda: importlib.util.find_spec("torch") is not None, "needs torch: ./wallwm test brings it"),
    "gpu": (_has_gpu, "needs a CUDA device"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip marked tests whose need is not met, with the reason."""
    met: dict[str, bool] = {}
    for item in items:
        for name, (check, reason) in NEEDS.items():
            if item.get_closest_marker(name) is None:
                continue
            if name not in met:
                met[name] = check()
            if not met[name]:
                item.add_marker(pytest.mark.skip(reason=reason))
