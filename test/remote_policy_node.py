"""policy_node whose bundle is the tiny model, and whose engine is a server."""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_engine import load_tiny

from wallwm_model.engines import Engine, remote
from wallwm_ros.bridge.running import run_node
from wallwm_ros.nodes.policy_node import PolicyNode


def load(folder: Path, engine: str, threads: int) -> Engine:
    """As `load_engine` does it: the bundle gives the specification, the address the answers."""
    return remote.connect(engine, load_tiny(folder, engine, threads).spec)


if __name__ == "__main__":
    sys.exit(run_node(lambda: PolicyNode(load), PolicyNode.close))
