"""Data folders: format, determinism, resuming, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from wallwm_model.captions import mirror
from wallwm_model.data import generate
from wallwm_model.data.episode import DISTURBED, HORIZON, SLOTS, look, run_episode, simulation_of
from wallwm_model.data.mirror import mirror_sample
from wallwm_model.data.samples import SampleSet
from wallwm_model.errors import ConfigError
from wallwm_model.sim import kinematics
from wallwm_model.sim.robot import JOINTS
from wallwm_model.sim.scene import sample_scene
from wallwm_model.sim.simulation import Simulation

ARGUMENTS = {"episodes": 3, "seed": 100_000, "task": "both", "workers": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small data folder, made without graphics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALLWM_RENDERER", "rays")
        out = tmp_path_factory.mktemp("data") / "sim"
        generate.generate(out, **ARGUMENTS)
    return out


@pytest.fixture(scope="module")
def data(folder):
    return SampleSet(folder)


def test_columns_fit_together(data):
    columns, n = data.columns, len(data)
    assert n >= 12 and data.meta["samples"] == n
    assert columns["state"].shape == (n, 14) and columns["actions"].shape == (n, HORIZON, 14)
    assert columns["ground_xyz"].shape == (n, len(SLOTS), 3) and columns["ground_yaw"].shape == (n, 4)
    assert data.meta["joints"] == list(JOINTS)
    assert set(columns["task"]) <= {"pick_place", "handover"}
    for i in range(n):
        frames, length = data.frames(i), int(columns["length"][i])
        assert frames.shape == (1 + -(-length // 4), 3, 64, 64, 3) and frames.dtype == np.uint8
        assert (columns["actions"][i, length:] == columns["actions"][i, length - 1]).all()
    np.testing.assert_array_equal(data.key_frames(np.array([n - 1]))[0], data.frames(n - 1)[0])


def test_moments_carry_state_and_truth(data):
    columns, moments = data.columns, data.moments
    assert len(moments["state"]) == columns["n_frames"].sum()
    hands = kinematics.forward(moments["state"].astype(float))[0]
    np.testing.assert_allclose(moments["ground_xyz"][:, 7:], hands, atol=1e-4)
    some = columns["first"][:2, None] + np.arange(2)
    np.testing.assert_array_equal(data.pictures(some)[1, 1], data.frames(1)[1])


def test_an_event_that_follows_begins_where_the_last_one_ended(data):
    columns, state = data.columns, data.moments["state"]
    follows = np.flatnonzero(columns["follows"])
    assert 0 < len(follows) < len(data) and not columns["disturbed"][follows].any()
    before = columns["first"][follows] - 1  # the moment before: the sample's that came before
    np.testing.assert_allclose(state[before], state[columns["first"][follows]], atol=1e-6)


def test_grounding_is_the_truth(data):
    columns = data.columns
    hands = kinematics.forward(columns["state"].astype(float))[0]
    np.testing.assert_allclose(columns["ground_xyz"][:, 7:], hands, atol=1e-4)
    last = columns["actions"][np.arange(len(data)), columns["length"] - 1].astype(float)
    np.testing.assert_allclose(columns["end_gripper"], kinematics.forward(last)[0], atol=1e-4)
    assert columns["ground_mask"][:, 7:].all()
    assert set(columns["ground_mask"][:, :4].sum(1)) <= {2, 3}
    assert (columns["ground_mask"][:, 4:7].sum(1) == 2).all()
    assert (np.abs(columns["ground_yaw"]) <= np.pi / 4 + 1e-6).all()


def test_the_first_action_is_near_the_state(data):
    columns = data.columns
    arms = [i for i, name in enumerate(JOINTS) if "gripper" not in name]
    assert np.abs(columns["actions"][:, 0] - columns["state"])[:, arms].max() < 0.1


def test_the_same_seed_gives_the_same_data(data):
    task, seed = generate.plan(Path("unused"), 3, 100_000, "both", DISTURBED)[0].episodes[0]
    again = run_episode(Simulation(renderer="rays"), task, seed).samples
    mine = data.columns["seed"] == seed
    assert mine.sum() == len(again)
    np.testing.assert_allclose(data.columns["actions"][mine], [s["actions"] for s in again], atol=1e-5)


def test_a_finished_folder_is_left_alone(folder):
    stamp = (folder / "shard_0000" / "frames.npy").stat().st_mtime_ns
    meta = generate.generate(folder, **ARGUMENTS)
    assert (folder / "shard_0000" / "frames.npy").stat().st_mtime_ns == stamp
    assert meta == json.loads((folder / "meta.json").read_text())


def test_other_arguments_are_refused(folder):
    with pytest.raises(ConfigError, match="must be new"):
        generate.generate(folder, **{**ARGUMENTS, "seed": 100_001})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "at least 0"),
        ({"task": "stack"}, "both, pick_place or handover"),
        ({"episodes": 0}, "at least 1"),
    ],
)
def test_bad_requests_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        generate.generate(tmp_path, **{**ARGUMENTS, **change})


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="meta.json"):
        SampleSet(tmp_path)


def test_both_tasks_are_mixed_evenly():
    jobs = generate.plan(Path("unused"), 260, 100_000, "both", DISTURBED)
    work = [pair for job in jobs for pair in job.episodes]
    assert sum(task == "handover" for task, _ in work) == 110
    assert [seed for _, seed in work] == list(range(100_000, 100_260))


def test_mirroring_twice_gives_the_sample_back(data):
    sample = data.sample(3)
    once = mirror_sample(sample)
    assert str(once["caption"]) == mirror(str(sample["caption"])) != str(sample["caption"])
    np.testing.assert_array_equal(once["frames"][0, 0], sample["frames"][0, 0][:, ::-1])
    np.testing.assert_array_equal(once["frames"][0, 1], sample["frames"][0, 2][:, ::-1])
    hands = kinematics.forward(once["state"].astype(float))[0]
    np.testing.assert_allclose(hands, once["ground_xyz"][7:], atol=1e-4)
    twice = mirror_sample(once)
    for key in ("frames", "state", "actions", "ground_xyz", "ground_mask", "ground_yaw", "end_gripper"):
        np.testing.assert_array_equal(twice[key], sample[key])


def test_a_batch_mirrors_like_its_samples(data):
    keys = ("state", "actions", "caption", "ground_xyz", "ground_mask")
    batch = {key: data.columns[key][:4] for key in keys}
    mirrored = mirror_sample(batch)
    for i in range(4):
        one = mirror_sample({key: value[i] for key, value in batch.items()})
        for key, value in one.items():
            np.testing.assert_array_equal(mirrored[key][i], value)


@pytest.mark.parametrize("size", [48, 256])
def test_pictures_are_as_large_as_asked(size, tmp_path, monkeypatch):
    """Above the cameras' usual 192 px they are rendered larger, never enlarged."""
    monkeypatch.setenv("WALLWM_RENDERER", "rays")
    sim = simulation_of(size)
    sim.reset(sample_scene("pick_place", 100_000))
    assert sim.image_size == max(192, size) and look(sim, size).shape == (3, size, size, 3)
    (job,) = generate.plan(tmp_path, 1, 100_000, "pick_place", 0.0, size)
    assert job.size == size


def test_pictures_of_no_sensible_size_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="size must be 32 to 1024 px; found 2000"):
        generate.generate(tmp_path, **ARGUMENTS, size=2000)
