"""A ROS domain of one's own."""

import os
import socket

import pytest

from wallwm_model.errors import ConfigError
from wallwm_ros.demo import domain


def test_a_used_domain_is_not_free():
    chosen = domain.choose()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", domain.port(chosen, 1)))
        assert not domain.is_free(chosen)
    assert domain.is_free(chosen)


def test_a_domain_can_be_given():
    assert domain.choose(7) == 7
    with pytest.raises(ConfigError, match="0 to 101; found 102"):
        domain.choose(102)


def test_entering_keeps_to_this_machine(monkeypatch):
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setenv("ROS_STATIC_PEERS", "10.0.0.1")
    domain.enter(42)
    assert os.environ["ROS_DOMAIN_ID"] == "42"
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_STATIC_PEERS" not in os.environ
