"""Do camera pictures arrive? Three raw cameras of 640x480 at 30 Hz, best-effort, each a process of its own.

Measured twice: with this project's Fast DDS profile, and with the stock one. The listener's queue holds a
second of pictures, so that only what the transport loses counts, not what a busy reader passes over.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 10.0
CAMERAS, RATE_HZ, HEIGHT, WIDTH = 3, 30, 480, 640
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
SECOND = 1_000_000_000
SILENCE_S = 3.0  # the listener gives up after this long without a picture


def measure(seconds: float) -> dict[str, Any]:
    """Share delivered and latency from before publishing to the callback [ms], both profiles."""
    ours = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
    figures = {
        "what": f"{CAMERAS} x {WIDTH}x{HEIGHT} rgb8 at {RATE_HZ} Hz, best effort, {seconds:g} s",
        **run(seconds, {PROFILE: str(ours)}),
    }
    figures["stock"] = run(seconds, {})
    return figures


def run(seconds: float, profile: dict[str, str]) -> dict[str, Any]:
    """One listener and three camera processes under one profile."""
    env = {name: value for name, value in os.environ.items() if not name.endswith("_DEFAULT_PROFILES_FILE")}
    domain = str(random.SystemRandom().randint(1, 101))
    env |= {"ROS_DOMAIN_ID": domain, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **profile}
    listener = subprocess.Popen(
        [sys.executable, __file__, "listen"], env=env, stdout=subprocess.PIPE, text=True
    )
    cameras = [
        subprocess.Popen(
            [sys.executable, __file__, "publish", str(i), str(seconds)], env=env, stdout=subprocess.PIPE
        )
        for i in range(CAMERAS)
    ]
    try:
        sent = sum(int(camera.communicate(timeout=seconds + 120)[0]) for camera in cameras)
        latencies = sorted(json.loads(listener.communicate(timeout=120)[0]))
    finally:
        for process in (*cameras, listener):
            process.kill()
            process.wait()
    return {
        "sent": sent,
        "delivered": len(latencies) / sent,
        "latency_ms_p50": quantile(latencies, 0.5),
        "latency_ms_p99": quantile(latencies, 0.99),
    }


def quantile(ordered: list[float], share: float) -> float | None:
    """Value below which this share of the ordered values lies; None of nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def publish(number: int, seconds: float) -> None:
    """A camera: waits for the listener, then sends pictures at absolute deadlines; prints how many."""
    import array

    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node(f"camera_{number}")
    publisher = node.create_publisher(Image, f"/bench/camera_{number}/image_raw", qos_profile_sensor_data)
    picture = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    picture.data = array.array("B", os.urandom(3 * WIDTH * HEIGHT))
    while publisher.get_subscription_count() == 0:
        rclpy.spin_once(node, timeout_sec=0.05)
    time.sleep(1.0)  # the other side of the discovery
    total = round(seconds * RATE_HZ)
    start_ns = time.monotonic_ns()
    for index in range(total):
        wait_ns = start_ns + index * SECOND // RATE_HZ - time.monotonic_ns()
        time.sleep(max(0, wait_ns) / SECOND)
        now_ns = time.monotonic_ns()
        picture.header.stamp.sec, picture.header.stamp.nanosec = divmod(now_ns, SECOND)
        publisher.publish(picture)
    time.sleep(1.0)  # the last one is still on its way
    print(total)
    node.destroy_node()
    rclpy.shutdown()


def listen() -> None:
    """The policy's side: counts pictures of all cameras; prints the latency of each [ms]."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    latencies: list[float] = []
    last = [None]

    def arrived(picture: Image) -> None:
        now_ns = last[0] = time.monotonic_ns()
        stamp = picture.header.stamp
        latencies.append((now_ns - stamp.sec * SECOND - stamp.nanosec) / 1e6)

    rclpy.init()
    node = rclpy.create_node("listener")
    qos = QoSProfile(depth=RATE_HZ, reliability=ReliabilityPolicy.BEST_EFFORT)
    for number in range(CAMERAS):
        node.create_subscription(Image, f"/bench/camera_{number}/image_raw", arrived, qos)
    started_ns = time.monotonic_ns()
    while time.monotonic_ns() - (last[0] or started_ns + 60 * SECOND) < SILENCE_S * SECOND:
        rclpy.spin_once(node, timeout_sec=0.1)
    print(json.dumps(latencies))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish(int(sys.argv[2]), float(sys.argv[3]))
    else:
        listen()
