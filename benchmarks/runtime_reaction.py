"""How long from an object being moved to the first command that differs? Rest, look, act; and overlapped.

In the simulator, with an engine of 200 ms that points one joint to the side on which it sees the red cube,
while another joint is always on the move. Both ways have the same engine and chunks of the same length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rig import STEPS
from benchmarks.runtime_engine import RATES_HZ, SHOWN
from benchmarks.runtime_figures import summary
from wallwm_model.errors import WallWMError

ENGINE_MS = 200.0
CHUNK_S = STEPS / RATES_HZ["reaction"]
CHANGED = 2e-3  # a command differs from here on [rad]
POINTING = 0.8  # of the way to a side
CALM_S = 0.5  # the pointing joint has stood so long before the cube is moved again
AT_ONCE = 1  # replan_steps: the next inference begins as soon as the last one has ended
# Name: (mode of policy_node, replan_steps; 0: its default, three quarters of a chunk).
WAYS = {"synchronous": ("event", 0), "overlapped": ("unified", 0), "overlapped_at_once": ("unified", AT_ONCE)}
GIVE_UP_S = 30.0


def run(
    moves: int, folder: Path, say: Callable[[str], None], ways: Sequence[str] = tuple(WAYS)
) -> dict[str, Any]:
    """Way of working -> reaction times [ms] and ratio to the synchronous one; `missing` where it failed."""
    found: dict[str, Any] = {}
    for name in ways:
        mode, replan = WAYS[name]
        say(f"reaction, {name.replace('_', ' ')}")
        own = folder / name
        own.mkdir(parents=True)
        try:
            found[name] = summary(reactions(moves, mode, replan, own))
        except WallWMError as error:  # the other ways can still be measured
            found[name] = {"missing": f"{name}: {error}"}
    slow = found["synchronous"].get("ms_p50")
    for row in found.values():
        if slow is not None and "ms_p50" in row:
            row["times_faster_p50"] = slow / row["ms_p50"]
    return {"engine_ms": ENGINE_MS, "chunk_s": CHUNK_S, **found}


def reactions(moves: int, mode: str, replan: int, folder: Path) -> list[float]:
    """Reaction times [ms] to a cube that goes to the other side at odd moments.

    Raises:
        WallWMError: a process ended, or nothing reacted.
    """
    from benchmarks.runtime_live import Live

    model = f"reaction-{ENGINE_MS:g}-{ENGINE_MS:g}"
    with Live(folder, ["benchmarks.runtime_sim"], model, mode=mode, replan_steps=replan) as live:
        seat = Seat(live, mode)
        seat.wait(seat.calm, "the arm to point to the cube")
        rng = np.random.default_rng(3)
        return [seat.move(float(rng.uniform(0.0, CHUNK_S))) for _ in range(moves)]


class Seat:
    """Keeps the robot busy, moves the cube, and watches the pointing joint's commands."""

    def __init__(self, live: Any, mode: str) -> None:
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Float64, Float64MultiArray

        from benchmarks.runtime_sim import SIDE
        from wallwm_ros.bridge import qos
        from wallwm_ros.bridge.stamps import to_ns
        from wallwm_ros.core.config import load_robot

        self._live, self._mode, self._goal = live, mode, None
        self._commands: list[tuple[int, float]] = []
        self._moved: list[int] = []
        self._y, self._kind = SIDE, Float64
        topic = load_robot("sim").outputs()[0].topic
        live.node.create_subscription(
            Float64MultiArray, topic,
            lambda m: self._commands.append((time.time_ns(), float(m.data[SHOWN]))), qos.COMMAND,
        )  # fmt: skip
        live.node.create_subscription(Time, "/bench/moved", lambda m: self._moved.append(to_ns(m)), 10)
        self._hand = live.node.create_publisher(Float64, "/bench/move", 10)

    def calm(self) -> bool:
        """The joint points to one side, and has done so for a while."""
        recent = [(t, value) for t, value in self._commands[-2000:] if t > time.time_ns() - CALM_S * 1e9]
        values = [value for _, value in recent]
        return len(values) > 10 and np.ptp(values) < CHANGED / 4 and abs(self._tilt(values[-1])) > POINTING

    def move(self, wait_s: float) -> float:
        """Once calm, and after a further while, move the cube -> reaction [ms]."""
        self.wait(self.calm, "the arm to come to rest at its new side")
        until = time.monotonic() + wait_s
        self.wait(lambda: time.monotonic() > until, "time to go by")
        self._y, known, before = -self._y, len(self._moved), self._commands[-1][1]
        self._hand.publish(self._kind(data=self._y))
        self.wait(lambda: len(self._moved) > known, "word that the cube was moved")
        moved_ns = self._moved[-1]
        first: list[int] = []

        def changed() -> bool:
            later = [
                t for t, value in self._commands[-4000:] if t > moved_ns and abs(value - before) > CHANGED
            ]
            first[:] = later[:1]
            return bool(first)

        self.wait(changed, "a command that differs")
        return (first[0] - moved_ns) / 1e6

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Go on with events or the task until something is so."""

        def met() -> bool:
            if self._goal is None or self._goal.over:
                if self._goal is not None and self._mode == "unified":
                    raise WallWMError(
                        f"the task must go on until the benchmark's end; found: {self._goal.text}"
                    )
                busy = self._mode == "unified"
                self._goal = self._live.task() if busy else self._live.event(CHUNK_S)
            return condition()

        self._live.until(met, what, GIVE_UP_S)

    @staticmethod
    def _tilt(value: float) -> float:
        """-1 or 1 where the joint points fully to a side."""
        from benchmarks.runtime_engine import POINT
        from wallwm_ros.core.config import load_robot

        joint = load_robot("sim").joints[SHOWN]
        return (value - (joint.low + joint.high) / 2) / POINT
