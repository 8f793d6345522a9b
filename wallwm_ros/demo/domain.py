"""A ROS domain of one's own, so that demonstrations side by side, or a real robot, never hear each other."""

from __future__ import annotations

import os
import random
import socket

from wallwm_model.errors import ConfigError

# Higher domains would use ports of the range from which Linux lends ports to any program.
LAST = 101
PARTICIPANTS = 4


def port(domain: int, participant: int) -> int:
    """UDP port on which a DDS participant of a domain receives discovery messages."""
    return 7400 + 250 * domain + 10 + 2 * participant


def is_free(domain: int) -> bool:
    """Nobody on this machine listens where the first participants of the domain would."""
    for participant in range(PARTICIPANTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port(domain, participant)))
            except OSError:
                return False
    return True


def choose(wanted: int | None = None) -> int:
    """`wanted`, or a free domain picked at random.

    Raises:
        ConfigError: `wanted` is no domain, or no domain is free.
    """
    if wanted is not None:
        if not 0 <= wanted <= LAST:
            raise ConfigError(f"--domain must be 0 to {LAST}; found {wanted}")
        return wanted
    for domain in random.sample(range(1, LAST + 1), LAST):
        if is_free(domain):
            return domain
    raise ConfigError(f"a ROS domain from 1 to {LAST} must be free on this machine; all are in use")


def enter(domain: int) -> None:
    """Put this process, and those it starts, into the domain, on this machine only."""
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    # These would let the domain be left again.
    for name in ("ROS_STATIC_PEERS", "ROS_LOCALHOST_ONLY", "ROS_DISCOVERY_SERVER"):
        os.environ.pop(name, None)
