"""Quality of service of every topic, in one place."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(
    depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
    )


# Chunks and status must arrive: losing one means acting on an old plan.
CHUNK = _profile(10, ReliabilityPolicy.RELIABLE)
STATUS = _profile(10, ReliabilityPolicy.RELIABLE)
# Publishers offer reliable, so that subscribers of either kind match; in lockstep a lost command would stall
# time.
COMMAND = _profile(10, ReliabilityPolicy.RELIABLE)
CLOCK = _profile(10, ReliabilityPolicy.RELIABLE)
# Subscriptions to sensors accept any publisher; only the newest values count.
STATE = _profile(10, ReliabilityPolicy.BEST_EFFORT)
NEWEST_STATE = _profile(1, ReliabilityPolicy.BEST_EFFORT)
IMAGE = _profile(5, ReliabilityPolicy.BEST_EFFORT)
# /robot_description is published once; whoever comes later gets it too.
LATCHED = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
# What a simulated or relayed sensor publishes with: matches reliable and best-effort subscribers.
SENSOR_OUT = _profile(10, ReliabilityPolicy.RELIABLE)
