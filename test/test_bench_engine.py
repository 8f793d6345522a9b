"""The engine bench's tables and plot, and what it measures without its peers; the whole of it takes twenty minutes."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("rich")
pytest.importorskip("websockets")

from rich.console import Console  # noqa: E402

from benchmarks import engine, engine_remote  # noqa: E402
from benchmarks.engine_speed import STEPS  # noqa: E402

CALL = {"ms_p50": 1.25, "ms_p99": 2.5}
TIMES = {"openvino": {"fp32": {str(steps): 10.0 + steps for steps in STEPS}}}
SPEED = {"latency_ms_p50": TIMES, "latency_ms_p99": TIMES}
FOUND = SPEED | {
    "one_thread": SPEED,
    "memory_mb": {"openvino": {"fp32": 486.4}},
    "action_error_mm": {
        name: {"end_mm": 1.8, "end_mm_p90": 10.2, "way_mm": 3.4, "joints_rad": 0.0066} for name in ("teacher", "student")
    },
    "success": {"teacher": {"success": 99, "episodes": 100}},
    "remote_overhead_ms": {
        "64": {"wallwm_chunk": CALL, "openpi": {"missing": "openpi was not asked for"}},
        "224": {"wallwm_chunk": CALL},
    },
    "robots": {"2": {way: {"chunks_per_s": 16.0, "ms_p50": 59.0} for way in ("in_turn", "together")}},
}


def test_tables_have_all_that_was_measured():
    said = io.StringIO()
    engine.show(FOUND, Console(file=said, width=140))
    words = said.getvalue()
    for figure in ("60.0 / 60.0", "486", "99 / 100", "1.25 / 2.50", "openpi was not asked for", "16.0, 59 ms"):
        assert figure in words


def test_the_plot_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    engine.draw(FOUND, tmp_path / "engine.png")
    assert (tmp_path / "engine.png").stat().st_size > 10_000


def test_our_own_pair_is_measured_where_the_peers_are_missing():
    found = engine_remote.overhead(None, calls=engine_remote.WARM + 3)
    assert list(found) == [str(size) for size in engine_remote.SIZES]
    for rows in found.values():
        for pair in ("wallwm_chunk", "wallwm_observe", "wallwm_act"):
            assert rows[pair]["n"] == 3 and rows[pair]["ms_p50"] > 0
        for pair in ("wallwm_openpi_client", "wallwm_at_openpi", "openpi"):
            assert rows[pair]["missing"] == "openpi was not asked for"
