"""Controller and simulated robot together, tick by tick and without ROS: what the expert plans gets done."""

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")

from wallwm_model.sim.expert import Expert  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_ros.bridge.sim_body import SimBody, check_profile  # noqa: E402
from wallwm_ros.core.chunk import Chunk  # noqa: E402
from wallwm_ros.core.config import ControlConfig, SimConfig, load_robot  # noqa: E402
from wallwm_ros.core.controller import Controller, Measured  # noqa: E402

TICK_NS = 10_000_000
PAUSE_TICKS = 15


class Loop:
    """The control loop in simulated time."""

    def __init__(self, task: str, seed: int) -> None:
        self.body = SimBody(SimConfig(task=task, seed=seed))
        self.controller = Controller(load_robot("sim"), ControlConfig())
        self.controller.activate()
        self.now_ns, self.generation = TICK_NS, 0

    def tick(self):
        self.now_ns += TICK_NS
        status = self.controller.tick(self.now_ns, Measured(self.body.sim.state(), self.now_ns))
        self.body.command(status.command)
        self.body.advance(TICK_NS * 1e-9)
        return status

    def carry_out(self, actions) -> int:
        """Ticks until the event has settled."""
        self.generation += 1
        self.controller.submit(Chunk(self.generation, JOINTS, actions.astype(float), 50_000_000))
        for ticks in range(1, 1000):
            if self.tick().settled:
                return ticks
        raise AssertionError("the event never settled")


@pytest.mark.parametrize("task", ["pick_place", "handover"])
def test_the_experts_events_are_achieved_through_the_controller(task):
    loop = Loop(task, 3)
    expert = Expert(loop.body.sim)
    loop.tick()
    for caption in loop.body.sim.scene.captions():
        actions = expert.plan(caption)
        ticks = loop.carry_out(actions)
        assert ticks <= 5 * len(actions) + 20, "the limits must not slow a normal event down"
        for _ in range(PAUSE_TICKS):
            loop.tick()
        done, reason = loop.body.judge(caption)
        assert done, f"{caption}: {reason}"
    done, reason = loop.body.judge("")
    assert done, reason


def test_the_simulated_robot_is_one_that_the_simulator_plays():
    check_profile(load_robot("sim"))
