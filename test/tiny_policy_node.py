"""policy_node with the tiny engine, as a process of its own."""

from __future__ import annotations

import sys

from tiny_engine import load_tiny

from wallwm_ros.bridge.running import run_node
from wallwm_ros.nodes.policy_node import PolicyNode

if __name__ == "__main__":
    sys.exit(run_node(lambda: PolicyNode(load_tiny), PolicyNode.close))
