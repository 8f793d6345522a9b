"""From matched messages to a sound plan, the worker thread, and the judgement of rest. No ROS."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from tiny_engine import STEPS, TRAVEL, TinyEngine, tiny_spec

from wallwm_model.errors import EngineError, ObservationError
from wallwm_model.policy import Policy
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.events import ControlReport, ControlState
from wallwm_ros.core.inference import Planner, check_answer, check_targets
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.synchronizer import Match
from wallwm_ros.core.tasks import Question
from wallwm_ros.core.worker import Worker

SPEC = tiny_spec()
MS = 1_000_000


@pytest.fixture
def match():
    state = np.array(SPEC.normalisation.mean) + 0.1
    pictures = {camera.name: np.full((192, 192, 3), 50, np.uint8) for camera in SPEC.cameras}
    return Match(pictures, {"/joint_states": state}, stamp_ns=123, spread_ns=0)


def planner(decode=lambda _, picture: picture):
    return Planner(Policy(TinyEngine(SPEC)), SPEC, load_robot("sim"), decode)


def test_a_plan_starts_at_the_measured_state_and_keeps_the_observations_stamp(match):
    plan = planner().plan(match, "reach the red cube with the left arm", 0.0, 0)
    state = match.states["/joint_states"]
    assert plan.actions.shape == (STEPS, 14) and plan.observation_stamp_ns == 123
    assert plan.actions[:, 1:] == pytest.approx(np.tile(state[1:], (STEPS, 1)), abs=1e-5)
    assert plan.actions[-1, 0] == pytest.approx(state[0] - TRAVEL, abs=1e-5)
    assert set(plan.timings_ms) == {"decode", "preprocess", "observe", "act"}
    assert plan.inference_s == pytest.approx((plan.timings_ms["observe"] + plan.timings_ms["act"]) / 1000)


def test_a_given_duration_sizes_the_plan(match):
    assert len(planner().plan(match, "reach", 2.0, 0).actions) == 40


UNIFIED = dataclasses.replace(SPEC, modes=("event", "unified"), sources=("atomic",), takes_prefix=True)


def asked(match, model=None, **fields):
    engine = TinyEngine(UNIFIED)
    past = tuple({name: picture + i for name, picture in match.pictures.items()} for i in range(4))
    made = Planner(model or Policy(engine), UNIFIED, load_robot("sim"), lambda _, picture: picture)
    question = Question(1, "reach", "atomic", 3, **fields)
    return engine, made.plan_chunk(dataclasses.replace(match, past=past), question, 0)


def test_a_chunk_of_a_task_sees_the_past_and_begins_with_what_is_committed(match):
    committed = np.repeat(match.states["/joint_states"][None], 5, axis=0) + 0.02
    engine, plan = asked(match, committed=committed)
    (look,) = engine.looks
    assert look.history.shape == (3, 4, 64, 64, 3)
    assert look.history[0, :, 0, 0, 0].tolist() == [50, 51, 52, 53]
    assert (look.chunk, look.route) == (3, "words")
    assert plan.actions.shape == (32, 14) and plan.actions[:5] == pytest.approx(committed, abs=1e-6)
    assert plan.reasoning == "" and plan.observation_stamp_ns == 123


def test_a_chunk_that_was_reasoned_brings_its_thought_to_be_read_later(match):
    spec = dataclasses.replace(
        UNIFIED, sources=("atomic", "staircase"), words=UNIFIED.vocabulary, reason_length=8
    )

    class Thinking(TinyEngine):
        def observe(self, look):
            assert look.route == "staircase"
            return dataclasses.replace(super().observe(look), latents=np.ones((4, 8), np.float32))

        def explain(self, latents, stop):
            assert latents.shape == (4, 8)
            return "" if stop() else "the cube is near left"

    past = (match.pictures,) * 4
    made = Planner(Policy(Thinking(spec)), spec, load_robot("sim"), lambda _, picture: picture)
    plan = made.plan_chunk(dataclasses.replace(match, past=past), Question(1, "reach", "staircase", 3), 0)
    assert plan.reasoning == "" and plan.thought.read(lambda: True) == ""
    assert plan.thought.read() == plan.reasoning == "the cube is near left"
    assert dataclasses.replace(plan, actions=plan.actions[:4]).reasoning == plan.reasoning


def test_a_chunk_of_a_task_must_have_the_models_fixed_length(match):
    class Short(Policy):
        def unified(self, observation, text, source, **more):
            return self.event(observation, text)

    with pytest.raises(EngineError, match="chunks of 32 steps in unified mode; found 12"):
        asked(match, Short(TinyEngine(UNIFIED)))


def test_values_of_several_state_topics_go_to_their_own_columns():
    robot = load_robot("quanta_x1")
    spread = Planner(None, SPEC, robot, None)
    filled = sorted(column for columns in spread._columns.values() for column in columns)
    assert filled == list(range(16)) and spread._columns["/right_gripper/joint_states"] == [15]


def test_a_picture_that_cannot_be_decoded_is_no_engine_failure(match):
    def decode(camera, picture):
        raise ObservationError(f"{camera} is broken")

    with pytest.raises(ObservationError, match="head_cam is broken"):
        planner(decode).plan(match, "reach", 0.0, 0)


@pytest.mark.parametrize(
    ("actions", "remaining", "words"),
    [
        (np.zeros((0, 14)), 1.0, "1 to 64 steps of 14 joints; found shape \\(0, 14\\)"),
        (np.zeros((65, 14)), 1.0, "found shape \\(65, 14\\)"),
        (np.zeros((5, 13)), 1.0, "found shape \\(5, 13\\)"),
        (np.zeros(14), 1.0, "found shape \\(14,\\)"),
        (np.full((5, 14), np.inf), 1.0, "non-finite value for left_waist"),
        (np.zeros((5, 14)), np.nan, "finite remaining time"),
    ],
)
def test_an_unsound_answer_is_refused(actions, remaining, words):
    with pytest.raises(EngineError, match=words):
        check_answer(actions, remaining, SPEC)


def test_targets_far_outside_the_limits_are_refused_with_joint_and_figure():
    robot = load_robot("sim")
    low, high = robot.limit("low"), robot.limit("high")
    near = np.stack([low - 0.2 * (high - low), high + 0.2 * (high - low)])
    check_targets(near, robot, 0.25)
    for sign, limit in ((-1, low), (1, high)):
        wild = near.copy()
        wild[1, 3] = limit[3] + sign * 3.0
        words = f"left_forearm_roll .* 25% of that; found {wild[1, 3]:.4g} in step 1"
        with pytest.raises(EngineError, match=words):
            check_targets(wild, robot, 0.25)


def test_an_event_goes_on_from_committed_steps(match):
    committed = np.repeat(match.states["/joint_states"][None], 5, axis=0)
    seen = []

    class Noting(TinyEngine):
        def act(self, context, steps, euler_steps, seed, prefix=None):
            seen.append(None if prefix is None else len(prefix))
            return super().act(context, steps, euler_steps, seed, prefix)

    made = Planner(Policy(Noting(UNIFIED)), UNIFIED, load_robot("sim"), lambda _, picture: picture)
    made.plan(match, "reach", 0.0, 0)
    made.plan(match, "reach", 0.0, 0, committed)
    assert seen == [None, 5]


def test_the_worker_runs_jobs_in_order_in_one_thread():
    worker, seen, done = Worker("test"), [], threading.Event()
    for number in range(5):
        worker.submit(lambda number=number: seen.append((number, threading.current_thread().name)))
    worker.submit(done.set)
    assert done.wait(5.0) and worker.close()
    assert seen == [(number, "test") for number in range(5)]


def test_a_worker_that_is_stuck_does_not_keep_the_caller():
    worker, release = Worker("stuck"), threading.Event()
    worker.submit(release.wait)
    assert not worker.close(timeout_s=0.01)
    release.set()


def report(at_ms, position, state=ControlState.HOLD):
    return ControlReport(state, "", 1, 0, state == ControlState.HOLD, 0, at_ms * MS, np.array([position]))


def feed(rest, positions, state=ControlState.HOLD, start_ms=0):
    for i, position in enumerate(positions):
        rest.add(report(start_ms + 20 * i, position, state), (start_ms + 20 * i) * MS)


def test_rest_needs_a_standing_command_and_a_standing_arm():
    rest = RestDetector(0.05, 500 * MS)
    feed(rest, [0.0] * 10, ControlState.TRACKING)
    assert not rest.at_rest(200 * MS)
    feed(rest, [0.0] * 10, start_ms=200)
    assert rest.at_rest(400 * MS)


def test_an_arm_that_swings_on_is_not_at_rest_until_patience_ends():
    rest = RestDetector(0.05, 500 * MS)
    feed(rest, [0.01 * i for i in range(20)])
    assert rest.speed() == pytest.approx(0.5)
    assert not rest.at_rest(380 * MS) and rest.at_rest(510 * MS)


def test_speed_is_unknown_until_enough_was_heard_and_after_a_gap():
    rest = RestDetector(0.05, 500 * MS)
    feed(rest, [0.0, 0.0])
    assert rest.speed() == np.inf
    feed(rest, [0.0] * 5, start_ms=1000)
    assert rest.speed() == 0.0


def test_a_clock_set_back_starts_afresh():
    rest = RestDetector(0.05, 500 * MS)
    feed(rest, [0.0] * 5, start_ms=1000)
    feed(rest, [5.0] * 2)
    assert rest.speed() == np.inf
