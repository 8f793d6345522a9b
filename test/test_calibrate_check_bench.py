"""`./wallwm bench calibration`: the figures that stand for everything, from the parts that measured them."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("mink")

from rich.console import Console  # noqa: E402

from wallwm_model.errors import ConfigError  # noqa: E402
from wallwm_ros.cli.bench import names, part  # noqa: E402

KEYS = (
    "intrinsics_error_pct_max", "reprojection_px_max", "handeye_mm_max", "handeye_deg_max", "mask_recall",
    "mask_precision", "bump_detected", "false_alarms", "mask_ms",
)  # fmt: skip


def test_calibration_is_a_benchmark_and_its_parts_are_files():
    assert {"calibration", "bump"} <= set(names())
    with pytest.raises(ConfigError, match="none_such.py"):
        part("none_such")


def test_every_bump_of_a_small_study_is_counted_once():
    steps = []
    found = part("bump").run(
        clean=1, bumped=1, rendered=0, progress=lambda done, total: steps.append((done, total))
    )
    table = found["bump_table"]
    assert len(table) == 9 and all(row["rigs"] == 1 for row in table.values())
    assert found["bump_detected"] == pytest.approx(sum(row["named"] for row in table.values()) / 9)
    assert found["bump_detected"] >= 8 / 9  # any one of them lies within what chance may hide
    assert found["bump_detected_since_baseline"] >= 8 / 9
    assert found["false_alarms"] == found["false_alarms_since_baseline"] == 0
    assert steps == [(n, 10) for n in range(1, 11)]
    shown = io.StringIO()
    part("bump").show(found, Console(file=shown, width=120))
    assert "head_cam moved" in shown.getvalue() and "untouched" in shown.getvalue()


def test_the_summary_takes_each_figure_from_its_part():
    study = part("calibration")
    found = {
        "calibration_tools": {key: index for index, key in enumerate(KEYS[:4])} | {"table": []},
        "masks": {"mask_recall": 1.0, "mask_precision": 0.9, "mask_ms": {"nano": 0.1, "wan": 9.0}, "rigs": 4},
        "bump": {"bump_detected": 0.97, "false_alarms": 0, "bump_table": {}},
    }
    figures = study.assemble(found)
    assert tuple(figures)[:9] == KEYS
    assert figures["handeye_deg_max"] == 3 and figures["mask_ms"]["wan"] == 9.0
    assert figures["bump"] == {"bump_table": {}} and figures["masks"] == {"rigs": 4}
