"""Adding up what a demonstration gave."""

import json

import pytest

from wallwm_model.eval.intervals import wilson
from wallwm_ros.demo.results import EpisodeResult, EventResult, by_event, summary, write


def event(name: str, steps: int, success: bool = True, completed: bool = True) -> EventResult:
    return EventResult(name, f"{name} it", steps, steps, steps / 20, 0.01, completed, success, "")


def episode(task: str, success: bool, *events: EventResult) -> EpisodeResult:
    return EpisodeResult(task, 3, events, success, "")


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Reference values: Wilson score interval without continuity correction.
    [(90, 100, 0.8256, 0.9448), (297, 300, 0.9710, 0.9966), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_wilson_interval_has_the_published_values(successes, trials, low, high):
    found = wilson(successes, trials)
    assert found == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_contains_the_rate_and_narrows():
    widths = []
    for trials in (4, 40, 400):
        low, high = wilson(trials // 4, trials)
        assert low < 0.25 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="between 0 and 3"):
        wilson(successes, trials)


def test_events_are_grouped_by_type_with_their_lengths():
    table = by_event(
        [
            episode("pick_place", True, event("reach", 20), event("grasp", 12)),
            episode("pick_place", False, event("reach", 31), event("grasp", 7, success=False)),
            episode("pick_place", True, event("reach", 25)),
        ]
    )
    assert list(table) == ["reach", "grasp"]
    assert table["reach"] == {"n": 3, "success": 3, "steps_min": 20, "steps_median": 25, "steps_max": 31}
    assert table["grasp"]["success"] == 1
    assert table["grasp"]["steps_median"] == 9.5


def test_aborted_events_count_as_failures_but_not_in_the_lengths():
    table = by_event(
        [
            episode("pick_place", True, event("reach", 20)),
            episode("pick_place", False, event("reach", 3, success=False, completed=False)),
        ]
    )
    assert table["reach"] == {"n": 2, "success": 1, "steps_min": 20, "steps_median": 20, "steps_max": 20}


def test_an_event_that_only_aborted_has_no_length():
    table = by_event([episode("pick_place", False, event("reach", 3, success=False, completed=False))])
    assert table["reach"]["steps_max"] == 0


def test_result_file_has_the_promised_keys(tmp_path):
    episodes = [
        episode("pick_place", True, event("reach", 20)),
        episode("handover", False, event("reach", 22)),
    ]
    write(tmp_path / "result.json", summary(episodes, 3, {"model": "nano"}))
    body = json.loads((tmp_path / "result.json").read_text())
    assert body["episodes"] == 2
    assert body["success"] == 1
    assert body["success_rate"] == 0.5
    assert body["interval95"] == pytest.approx(wilson(1, 2))
    assert body["task"] == "pick_place, handover"
    assert body["seed"] == 3
    assert body["events"]["reach"]["n"] == 2
    assert body["tasks"]["handover"]["success"] == 0
    assert body["model"] == "nano"
    assert body["details"][0]["events"][0]["caption"] == "reach it"
    assert not list(tmp_path.glob("*.part"))
