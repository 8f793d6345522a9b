"""control_node in lockstep, as a process of its own, while /clock jumps amid a motion."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from control_bench import ACTIVATE, CONFIGURE, ControlBench  # noqa: E402
from controller_bench import HOME, Bench, move  # noqa: E402

from wallwm_msgs.msg import ControlStatus  # noqa: E402

HOLD, TRACKING = ControlStatus.HOLD, ControlStatus.TRACKING
LOST_S = 5.0  # without a command for so long, a message was lost


class Jumping(ControlBench):
    """Its time jumps once, with the command that takes the first joint beyond `at`.

    Attributes:
        by_s: how far [s]; 0: not again.
    """

    by_s, at, _answering, _heard_at = 0.0, np.inf, False, 0.0

    def _commanded(self, output, message) -> None:
        if self.by_s and message.data[0] > self.at:
            self._clock_ns += round(self.by_s * 1e9)
            self.by_s = 0.0
        self._answering, self._heard_at = True, time.monotonic()
        super()._commanded(output, message)
        self._answering = False

    def _say(self) -> None:
        """Time that is said twice would make a command come twice, which is no motion inside the limits."""
        if self._answering or time.monotonic() - self._heard_at > LOST_S:
            super()._say()


def test_jumps_amid_a_motion_are_shaped_stops_with_the_reason(tmp_path):
    bench = Jumping(tmp_path, "sim", HOME, clock=True, joint_state_timeout_s=1.0)
    told = {10: "/clock jumped forward by 10.0 s", -10: "/clock jumped back by 9990 ms"}
    try:
        assert bench.change(CONFIGURE) and bench.change(ACTIVATE)
        bench.report(state=HOLD, reason="ready")
        for generation, by_s in enumerate(told, 1):
            bench.at, bench.by_s = bench.position[0] + 0.3, by_s
            bench.send(move(0.8, steps=10, begin=bench.position).values, generation)
            report = bench.report(state=HOLD, generation=generation, reason="ready again; stopped: ")
            assert told[by_s] in report.reason and not report.settled
            assert report.command[0] < bench.at + 0.3, "it did not go on"
        chunk = move(-0.5, generation=3, begin=bench.position)
        bench.send(chunk.values, 3)
        bench.report(state=HOLD, settled=True, generation=3)
        judged = Bench()
        judged.commands = [message.data for _, message in bench.commands]
        judged.assert_inside()
        np.testing.assert_allclose(bench.position, chunk.values[-1], atol=1e-3)
    finally:
        assert bench.close() == 0
    assert "Traceback" not in bench.output()
