"""The soak's parts that need no ROS: growth of memory, and which engine is used."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from rich.console import Console

from wallwm_ros.cli import bench
from wallwm_ros.cli.bench import part

MEMORY = part("soak_memory")


def test_growth_is_that_of_the_fitted_line_after_warming_up():
    times = np.linspace(0.0, 3600.0, 721)
    values = 100 + 0.05 * np.maximum(times - 720, 0) / 36 + np.sin(times)
    values[times < 720] += 50.0 * np.exp(-times[times < 720] / 100)
    assert MEMORY.growth_pct(times, list(values)) == pytest.approx(4.0, abs=0.1)
    assert MEMORY.growth_pct(times, [100.0] * 721) == pytest.approx(0.0, abs=1e-9)
    assert MEMORY.growth_pct(times[:2], [1.0, 2.0]) == 0.0, "too little to say anything"


def test_a_process_that_comes_later_or_is_gone_leaves_gaps_and_no_error(tmp_path):
    memory = MEMORY.Memory()
    own = os.getpid()
    for second in range(10):
        memory.look(50.0 + second, {"own": own} | ({"later": own} if second > 3 else {}))
    memory.look(60.0, {"own": own, "later": 2**22 + 1})
    assert memory.times_s == [float(second) for second in range(11)]
    assert memory.used_mb["later"][:4] == [None] * 4 and memory.used_mb["later"][-1] is None
    assert all(10 < used < 10_000 for used in memory.used_mb["own"])
    assert set(memory.growth_pct()) == {"own", "later"}
    MEMORY.draw(memory, tmp_path / "memory.png", "test")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_both_benchmarks_are_offered_and_options_of_others_are_refused():
    assert {"faults", "soak"} <= set(bench.names())
    assert not any(name.startswith(("faults_", "soak_")) for name in bench.names())
    with pytest.raises(bench.ConfigError, match="--runs is no option of soak"):
        bench._options("soak", part("soak"), runs=3)
    assert bench._options("faults", part("faults"), runs=3, only=None) == {"runs": 3}


def test_cases_are_chosen_by_their_names_and_an_unknown_one_is_told():
    pytest.importorskip("rclpy")
    pytest.importorskip("wallwm_msgs.msg._action_chunk")
    faults = part("faults")
    assert [case.name for case in faults.choose("SIGKILL", quick=True)] == ["policy SIGKILL"]
    assert len(faults.choose(None, quick=False)) == 27 > len(faults.choose(None, quick=True)) == 4
    with pytest.raises(bench.ConfigError, match="head_cam killed.*found 'dance'"):
        faults.choose("dance", quick=False)


def test_the_figures_of_a_case_are_those_of_its_runs():
    faults, motion = part("faults"), part("faults_motion")
    shares = {"position": 0.0, "velocity": 0.5, "acceleration": 0.9, "jerk": 1.2, "workspace": 0.0}
    sound = motion.Verdict(dict.fromkeys(shares, 0.1), 0, "", 100, 1)
    bad = motion.Verdict(shares, 2, "left_waist: jerk at 1.200 of its limit", 100, 0)

    class Run:
        hold_ms, ending, text, reason, verdict, lost, trouble = (
            100.0,
            "cancelled",
            "why",
            "",
            sound,
            False,
            "",
        )

    class Worse(Run):
        hold_ms, verdict, lost, trouble = 300.0, bad, True, "expected a result; found nothing"

    row = faults.row_of([Run, Run, Worse], "no")
    assert (row["runs"], row["violations"], row["lost_results"]) == (3, 2, 1)
    assert (row["commands"], row["commands_guessed"]) == (300, 2)
    assert row["hold_ms"] == {"p50": 100.0, "max": 300.0} and row["endings"] == {"cancelled": 3}
    assert row["largest_share"]["jerk"] == 1.2 and row["first_violation"].startswith("left_waist")
    assert row["recovers"] is False and len(row["troubles"]) == 1
    total = faults.summary({"a": row, "b": faults.row_of([Run], "")}, 3)
    assert (total["violations"], total["lost_results"], total["hold_ms_max"]) == (2, 1, 300.0)
    assert (total["not_recovered"], total["troubles"], total["runs"]) == (1, 1, 4)


def test_an_interrupted_matrix_keeps_what_it_has(monkeypatch, tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("wallwm_msgs.msg._action_chunk")
    faults = part("faults")

    class Run:
        hold_ms, ending, text, reason, verdict, lost, trouble = 100.0, "cancelled", "why", "", None, False, ""

    def play(cases, count, simulated, played):
        played(cases[0].name, [Run])
        raise KeyboardInterrupt

    monkeypatch.setattr(faults, "play", play)
    figures = faults.measure(runs=1, out=tmp_path / "faults.json")
    assert figures["interrupted"] and list(figures["cases"]) == ["head_cam killed"]
    assert json.loads((tmp_path / "faults.json").read_text())["runs"] == 1
    assert (tmp_path / "faults.png").read_bytes().startswith(b"\x89PNG")
    out = io.StringIO()
    faults.show(figures, Console(file=out, width=120))
    assert "head_cam killed" in out.getvalue() and "1 cancelled" in out.getvalue()
