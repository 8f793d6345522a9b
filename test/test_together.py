"""Requests of several robots that share the graphs of one engine."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

from bundle_fixtures import bundle_of_robots  # noqa: E402
from remote_fixtures import PATIENCE_S, until  # noqa: E402

from wallwm_model.deploy.observations import noise  # noqa: E402
from wallwm_model.engines import load_engine  # noqa: E402
from wallwm_model.engines import together as together_module  # noqa: E402
from wallwm_model.engines.graphs import GraphEngine  # noqa: E402
from wallwm_model.engines.remote import connect  # noqa: E402
from wallwm_model.engines.server import serving  # noqa: E402
from wallwm_model.engines.together import Call, Together, shared  # noqa: E402
from wallwm_model.engines.turns import Turns  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture
def patient(monkeypatch):
    """However slow the machine: a graph begins when all wait for one."""
    monkeypatch.setattr(together_module, "AWAY_S", PATIENCE_S)


class Counted:
    """A graph that doubles x, remembers how many rows it got, and fails on 13."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, inputs):
        self.rows.append(len(inputs["x"]))
        if (inputs["x"] == 13).any():
            raise ValueError("unlucky")
        return {"y": 2 * inputs["x"], "video": 2 * inputs["video"]}


class Robots:
    """`count` robots that ask the graphs of a `Together` at the same time."""

    def __init__(self, count: int, most: int = 8) -> None:
        self.together, self.graph, self.count = Together(most), Counted(), count
        self._begin = threading.Barrier(count)

    def ask(self, script) -> list:
        """`script(robot, run)` in a request for each robot -> what they return."""

        def one(robot: int):
            with self.together.request():
                self._begin.wait(PATIENCE_S)
                return script(robot, self._run)

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(one, range(self.count)))

    def _run(self, x: float, width: int = 3, name: str = "act") -> tuple[float, float]:
        inputs = {"x": np.full((1, width), x), "video": np.full((4, 1, 2), x)}
        found = self.together._run(Call(name, self.graph, inputs))
        assert found["y"].shape == (1, width) and found["video"].shape == (4, 1, 2)
        assert (found["video"] == found["y"][0, 0]).all()
        return float(found["y"][0, 0])


def test_robots_share_the_steps_that_they_have_in_common_and_get_their_own_rows(patient):
    robots = Robots(4)
    found = robots.ask(lambda robot, run: [run(100 * robot + step) for step in range(5)])
    assert found == [[2 * (100 * robot + step) for step in range(5)] for robot in range(4)]
    assert robots.graph.rows == [4] * 5, "as many calls as one robot makes"


def test_other_shapes_wait_for_their_turn_and_no_call_has_more_than_the_most(patient):
    robots = Robots(5, most=2)
    found = robots.ask(lambda robot, run: run(robot, width=3 if robot < 4 else 7))
    assert found == [0, 2, 4, 6, 8]
    assert sorted(robots.graph.rows) == [1, 2, 2]


def test_graphs_of_one_robot_run_for_one_robot(patient):
    robots = Robots(3)
    assert robots.ask(lambda robot, run: run(robot, name="reason")) == [0, 2, 4]
    assert robots.graph.rows == [1, 1, 1]


def test_who_fails_fails_alone(patient):
    robots = Robots(3)

    def script(robot, run):
        if robot != 1:
            return run(robot)
        with pytest.raises(ValueError, match="unlucky"):
            run(13)
        return "failed"

    assert robots.ask(script) == [0, "failed", 4]


def test_nobody_waits_for_a_request_that_is_lost_in_thought():
    spec = load_engine(bundle_of_robots(), "onnx", 1).spec
    together, graph, go = Together(8), Counted(), threading.Event()
    turns = Turns(8, together)
    lost = turns.submit(lambda: go.wait(PATIENCE_S))
    engine = together.engine(GraphEngine("x", spec, {"act": graph}))
    inputs = {"x": np.ones((1, 3)), "video": np.ones((4, 1, 2))}
    assert turns.submit(lambda: engine._run("act", inputs)["y"][0, 0]).future.result(PATIENCE_S) == 2
    assert not lost.future.done()
    go.set()
    assert turns.close(PATIENCE_S)


def test_an_engine_answers_several_robots_as_it_answers_each():
    engine = load_engine(bundle_of_robots(), "onnx", 1)
    looks = [look for seed in range(3) for look in noise(engine.spec, seed)]

    def chunk(engine, index):
        context = engine.observe(looks[index])
        return engine.act(context, 12 + 4 * (index % 2), 3, index), context.remaining_steps

    wanted = [chunk(engine, index) for index in range(len(looks))]
    assert engine.batches
    several, together = shared(engine, 4)
    turns = Turns(len(looks), together)
    jobs = [turns.submit(lambda index=index: chunk(several, index)) for index in range(len(looks))]
    for job, (actions, remaining) in zip(jobs, wanted):
        found = job.future.result(PATIENCE_S)
        assert found[0] == pytest.approx(actions, abs=1e-4)
        assert found[1] == pytest.approx(remaining, abs=1e-3)
    assert turns.close(PATIENCE_S)


def test_an_engine_of_one_robot_is_used_in_turn():
    engine = load_engine(bundle_of_robots(), "onnx", 1)
    engine.batches = False
    assert shared(engine, 8) == (engine, None)
    engine.batches = True
    assert shared(engine, 1) == (engine, None)


def test_robots_at_one_server_are_answered_as_if_each_were_alone(patient):
    engine = load_engine(bundle_of_robots(), "onnx", 1)
    looks, rows, all_here = [next(noise(engine.spec, seed)) for seed in range(3)], [], threading.Event()
    wanted = [engine.act(engine.observe(look), 20, 4, 0) for look in looks]

    def counted(name, graph):
        def run(inputs):
            all_here.wait(PATIENCE_S)  # whoever is first
            rows.append(len(next(iter(inputs.values()))))
            return graph(inputs)

        return run

    several = engine.through(counted)
    several.batches = True
    with serving(several) as server, ThreadPoolExecutor(len(looks)) as pool:

        def robot(look):
            far = connect(f"ws://127.0.0.1:{server.port}?deadline_s=60", engine.spec)
            found = far.act(far.observe(look), 20, 4, 0)
            far.close()
            return found

        found = [pool.submit(robot, look) for look in looks]
        until(lambda: server._turns._request.__self__._under_way == len(looks))
        all_here.set()
        for chunk, alone in zip(found, wanted):
            assert chunk.result(PATIENCE_S) == pytest.approx(alone, abs=1e-4)
    assert max(rows) > 1, "those who came while the first one was held share their first graph"
