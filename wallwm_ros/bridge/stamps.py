"""Time messages <-> int nanoseconds."""

from __future__ import annotations

from builtin_interfaces.msg import Time

SECOND = 1_000_000_000


def to_ns(stamp: Time) -> int:
    """Time message -> nanoseconds."""
    return stamp.sec * SECOND + stamp.nanosec


def to_stamp(time_ns: int) -> Time:
    """Nanoseconds -> time message."""
    return Time(sec=time_ns // SECOND, nanosec=time_ns % SECOND)
