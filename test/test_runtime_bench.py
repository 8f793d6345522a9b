"""The runtime benchmark counts right, tells good joins from bad ones, and says so where a peer is missing."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import runtime_seams as seams
from benchmarks.peers import environment
from benchmarks.peers.merging import Replace, play
from benchmarks.runtime_figures import summary

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 6.0
MISSING = {"openpi": "openpi is missing: no such thing", "lerobot": "lerobot is missing: no such thing"}
NONE = environment.Peers(Path("/nowhere/bin/python"), MISSING)


@pytest.fixture(scope="module")
def motion():
    return seams.make_motion(round(SECONDS / seams.STEP_S))


@pytest.fixture(scope="module")
def spiky(motion):
    """(figures of ours, its schedule) under latency spikes that let the plan run out."""
    return seams.ours(motion, seams.SCENARIOS["spikes of 1.1 s"](), SECONDS, prefix=True)


def test_steps_left_out_and_carried_out_again_are_counted():
    assert seams.counts(np.arange(1.0, 9.0)) == {"skipped": 0, "replayed": 0, "steps": 8}
    assert seams.counts(np.array([1.0, 2, 5, 6, 4, 5])) == {"skipped": 2, "replayed": 3, "steps": 6}
    assert seams.counts(np.array([1.0, 2.4, 3.4, 4.0, 5.0]))["skipped"] == 0  # part of a step is none


def test_the_size_of_a_join_is_that_of_its_jump():
    rows = np.zeros((20, len(seams.ROBOT.joints)))
    rows[:, 1] = 0.01 * np.arange(20)
    assert seams.steps_of(rows, [5, 12])["velocity_step"] == pytest.approx(0.0, abs=1e-9)
    rows[12:, 1] += 0.1
    found = seams.steps_of(rows, [5, 12])
    assert found["velocity_step_rad_s"] == pytest.approx(0.1 / seams.STEP_S) and found["joins"] == 2
    assert found["velocity_step"] == pytest.approx(0.1 / seams.STEP_S / seams.ROBOT.limit("velocity")[1])


@pytest.mark.parametrize("name", seams.SCENARIOS)
def test_ours_leaves_out_and_repeats_no_step_whatever_the_latency(motion, name):
    found, _ = seams.ours(motion, seams.SCENARIOS[name](), SECONDS, prefix=True)
    assert found["skipped"] == found["replayed"] == 0
    assert found["skipped_by_control"] == found["replayed_by_control"] == 0
    assert found["joins"] >= 3 and found["steps"] > 50
    assert found["velocity_limit_share"] < 1 and found["acceleration_limit_share"] < 1 + 1e-6


def test_naive_replacement_is_found_out(motion, spiky):
    figures, schedule = spiky
    naive = seams.judge(motion, play(motion, schedule, Replace()), schedule)
    assert naive["replayed"] > 10 and naive["velocity_step"] > 3 * figures["velocity_step"]
    assert naive["acceleration_limit_share"] > 1


def test_the_peers_are_given_what_ours_asked_for(spiky):
    _, schedule = spiky
    assert len(schedule.asked) == len(schedule.came) >= 4
    assert (schedule.came > schedule.asked).all() and (np.diff(schedule.asked) > 0).all()
    assert (schedule.came - schedule.asked).max() >= 22  # the spike, in steps


@pytest.mark.slow
def test_lerobots_own_rule_is_played_where_it_is_installed(motion, spiky, tmp_path):
    peers = environment.prepare(lambda what: None, install=False)
    if not peers.has("lerobot"):
        pytest.skip(peers.missing["lerobot"])
    rows = seams.theirs(motion, {"spikes": spiky[1]}, peers, tmp_path)["spikes"]
    assert set(rows) == {f"lerobot {rule}" for rule in seams.RULES}
    assert all(row["replayed"] == 0 and row["joins"] > 3 for row in rows.values())
    averaged, newest = (row["acceleration_step_p50"] for row in rows.values())
    assert averaged < newest


def test_a_missing_peer_is_named_with_the_reason_and_has_no_figures(motion, spiky, tmp_path, monkeypatch):
    from benchmarks import runtime_overhead as overhead

    rows = seams.theirs(motion, {"spikes": spiky[1]}, NONE, tmp_path)["spikes"]
    assert all(row == {"missing": MISSING["lerobot"]} for row in rows.values())
    sample = overhead.Sample([9.0] * 3 + [1.0, 2.0, 3.0], [100.0] * 6, [1.0] * 6)
    monkeypatch.setattr(overhead, "ours", lambda *_: sample)
    found = overhead.run(1.0, NONE, tmp_path, lambda what: None)["constant_100_ms"]
    assert found["openpi"] == {"missing": MISSING["openpi"]}
    assert found["wallwm"]["ms_p50"] == 2.0 and found["wallwm"]["n"] == 3, "the first chunks do not count"
    monkeypatch.setattr(overhead, "ours", lambda *_: overhead.Sample([1.0, 2.0], [1.0, 2.0]))
    found = overhead.run(1.0, NONE, tmp_path / "again", lambda what: None)
    assert found["constant_100_ms"]["wallwm"] == {"missing": "expected more than 3 chunks; found 2"}


def test_a_quick_run_installs_nothing(tmp_path):
    peers = environment.prepare(pytest.fail, install=False, folder=tmp_path / "none", log=tmp_path / "log")
    assert set(peers.missing) == {"openpi", "lerobot"} and not (tmp_path / "none").exists()
    assert "a full run does" in peers.missing["lerobot"]


def test_every_package_of_the_peers_belongs_to_one_of_them():
    text = environment.REQUIREMENTS.read_text()
    parts = environment.parts(text)
    names = [{line.partition("==")[0] for line in lines} for lines in parts.values()]
    assert names[0] == set(environment.OF_OPENPI) and "lerobot" in names[1] and not names[0] & names[1]
    assert not {name for name in names[1] if name.startswith(("nvidia", "triton", "cuda"))}
    assert environment.CPU_BUILD.partition("+")[0] in parts["lerobot"]


def test_an_installation_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(command, log, what):
        raise environment.SetupError(f"{what} failed: no such package")

    monkeypatch.setattr(environment, "_run", fail)
    monkeypatch.setattr(environment, "_make", lambda *_: (tmp_path / "venv").mkdir())
    peers = environment.prepare(lambda what: None, folder=tmp_path / "venv", log=tmp_path / "log")
    assert peers.missing["openpi"] == "openpi is missing: installing openpi failed: no such package"


def test_the_engine_tells_on_which_side_red_is():
    from benchmarks.runtime_engine import red_side

    picture = np.full((20, 20, 3), 120, np.uint8)
    assert red_side(picture) == 0
    picture[5:8, 14:17] = (200, 20, 30)
    assert red_side(picture) == 1 and red_side(picture[:, ::-1]) == -1


def test_tables_and_picture_come_of_figures_with_and_without_peers(tmp_path):
    from benchmarks import runtime, runtime_plot

    times = summary([1.0, 2.0, 3.0], p99_9=0.999)
    join = {"skipped": 0, "replayed": 1, "velocity_step": 0.2, "acceleration_step": 0.4}
    found = {
        "overhead": {
            "constant_100_ms": {
                "wallwm": times,
                "openpi": times,
                "lerobot": {"missing": "lerobot is missing: no"},
            }
        },
        "seams": {
            "scenarios": {"steady": {"wallwm": join, "naive": join}, "spiky": {"wallwm": join, "naive": join}}
        },
        "jitter": {"rate_hz": 200.0, "wallwm": times, "rclpy_timer": times},
        "reaction": {name: times | {"times_faster_p50": 2.0} for name in ("synchronous", "overlapped")},
    }
    figures = runtime.assemble(found) | {"missing": list(runtime._missing(found))}
    assert figures["overhead_ms_p99"] == {"wallwm": 3.0, "openpi": 3.0, "lerobot": None}
    assert figures["seam"] == {"skipped": 0, "replayed": 2, "velocity_step": 0.2, "acceleration_step": 0.4}
    assert figures["jitter_ms_p99"] == {"wallwm": 3.0, "rclpy_timer": 3.0}
    assert figures["reaction_ms"] == {"synchronous": 2.0, "overlapped": 2.0}
    out = io.StringIO()
    runtime.show(figures, Console(file=out, width=120))
    assert "lerobot is missing: no" in out.getvalue() and "rclpy timer" in out.getvalue()
    runtime_plot.draw(figures, tmp_path / "runtime.png")
    assert (tmp_path / "runtime.png").stat().st_size > 10_000


def test_what_runs_in_the_peers_environment_needs_nothing_of_this_project():
    for name in ("rig", "motion", "merging", "stand_in", "openpi_loop", "lerobot_loop"):
        text = (ROOT / "benchmarks" / "peers" / f"{name}.py").read_text()
        assert "wallwm_ros" not in text and "wallwm_model" not in text and "rclpy" not in text


def test_busy_processes_end(monkeypatch):
    from benchmarks import runtime_jitter

    started, real = [], subprocess.Popen
    monkeypatch.setattr(
        runtime_jitter.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1]
    )
    with pytest.raises(RuntimeError), runtime_jitter.busy(1):
        raise RuntimeError
    assert len(started) == 1 and started[0].returncode is not None


@pytest.mark.parametrize("prefix", [True, False])
def test_no_step_is_left_out_or_carried_out_twice_whatever_the_model_takes(prefix):
    motion = seams.make_motion(round(15.0 / seams.STEP_S))
    for name, latency in seams.SCENARIOS.items():
        found, _ = seams.ours(motion, latency(), 15.0, prefix=prefix)
        counted = [found[f"{what}{by}"] for what in ("skipped", "replayed") for by in ("", "_by_control")]
        assert counted == [0, 0, 0, 0], name
        assert found["acceleration_limit_share"] <= 1.0 + 1e-6 and found["velocity_limit_share"] <= 1.0, name
