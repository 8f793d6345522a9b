"""Side-by-side evaluation: real engine, real physics, few scenes."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from test_policy import CAPTION, unified_engine
from test_spec import observation

from wallwm_model.errors import ConfigError
from wallwm_model.eval import modes
from wallwm_model.eval.closed_loop import PATIENCE, TYPICAL_S, UnifiedDriver, evaluate
from wallwm_model.eval.modes import compare, drivers
from wallwm_model.policy import Policy
from wallwm_ros.core.paths import data_path


@pytest.fixture(scope="module")
def shipped():
    return drivers({"nano": data_path("models/nano")}, "auto", 1)


def quiet(*_):
    pass


def test_the_shipped_model_is_counted_per_task_and_scene(shipped):
    asked = {"tasks": ("pick_place",), "variations": ("plain", "new_light"), "episodes": 1, "seed": 1000}
    found = compare({"event": shipped["event"]}, report=quiet, **asked)
    rows = found["by_scene"]["event"]["pick_place"]
    assert set(rows) == {"plain", "new_light"} and rows["plain"]["episodes"] == 1
    assert {"reach", "retract"} <= set(rows["plain"]["events"])
    assert found["success"]["event"]["rate"] == rows["plain"]["rate"]
    json.dumps(found)


@pytest.mark.parametrize("change", [{"tasks": ("stack",)}, {"variations": ("foggy",)}])
def test_unknown_tasks_and_variations_are_refused(shipped, change):
    asked = {"tasks": ("pick_place",), "variations": ("plain",)} | change
    with pytest.raises(ConfigError, match="must be among"):
        compare(shipped, episodes=1, seed=1000, report=quiet, **asked)


def test_policies_are_named_after_what_a_bundle_can_do(monkeypatch):
    both, _ = unified_engine()
    monkeypatch.setattr(modes, "load_engine", lambda folder, engine, threads: both)
    known = {"event", "event_vlm", "unified_instruction", "unified_staircase"}
    assert set(drivers({"one": data_path("models/nano")}, "auto", 1)) == known
    two = drivers({"one": data_path("models/nano"), "two": data_path("models/nano")}, "auto", 1)
    assert set(two) == {f"{bundle} {name}" for bundle in ("one", "two") for name in known}
    steps = {name: len(two[f"one {name}"]._policy.event(observation(), CAPTION).actions) for name in known}
    assert steps["event"] == 23 and steps["event_vlm"] == 11, "the vlm conditioner sizes it otherwise"


def test_fixed_chunks_overlap_and_the_past_is_a_film_of_what_was_seen():
    engine, given = unified_engine()
    tally = evaluate(UnifiedDriver(Policy(engine), "instruction"), "pick_place", 1, 1000)
    assert tally.tasks == [False]  # it moves toward one posture and stays there
    spec = engine.spec
    executed = spec.replan_steps
    assert len(given) == np.ceil(PATIENCE * TYPICAL_S["pick_place"] * spec.rate_hz / executed)
    assert [g["chunk"][0] for g in given[:4]] == [1, 1, 2, 3]
    first, second = given[0], given[1]
    assert all(np.array_equal(first["history"][0, :, i], first["images"][0]) for i in range(4))
    film = [first["images"][0], *np.moveaxis(second["history"][0], 1, 0), second["images"][0]]
    assert not any(np.array_equal(a, b) for a, b in pairwise(film)), "each at another moment of the motion"
