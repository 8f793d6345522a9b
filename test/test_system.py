"""A running system seen from outside: what is wrong with it, how the page shows it, and exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("rich")

from rich.console import Console  # noqa: E402

from wallwm_ros.cli.status import NOTHING, SOUND, WRONG, code  # noqa: E402
from wallwm_ros.cli.status_page import nothing, page  # noqa: E402
from wallwm_ros.core.system import Control, Goal, Level, Part, Snapshot  # noqa: E402

CAPTION = "put the red cube that lies left of the blue one into the box with the right arm"
STREAMS = ("head_cam", "wrist_cam_left", "/joint_states")


def part(name: str, level: Level = Level.OK, text: str = "fine", **values: object) -> Part:
    return Part(name, level, text, {key: str(value) for key, value in values.items()}, age_s=0.4)


def stream(name: str, level: Level = Level.OK, text: str = "sound, 20.0 Hz", verdict: str = "sound") -> Part:
    figures = {"verdict": verdict, "age_ms": 33.2, "rate_hz": 20.0, "missed": 3, "refused": 0}
    return part(f"policy_node: stream {name}", level, text, **figures)


def latency() -> Part:
    shares = (("p50", 30.1), ("p95", 39.25), ("p99", 44.0), ("max", 1045.5))
    stages = {f"{stage}_ms_{name}": ms for stage in ("observe", "act", "chunk") for name, ms in shares}
    return part("policy_node: latency", text="chunk 30 ms p50, 44 ms p99", **stages)


def system(*parts: Part, **changes: object) -> Snapshot:
    """A sound one, but for the parts and changes given."""
    usual = [part("policy_node: state"), part("control_node: state", rejected=2), latency()]
    usual += [stream(name) for name in STREAMS]
    usual += [part("policy_node: observation", text="sound, spread 0 ms, age 19 ms", verdict="sound")]
    sound = Snapshot(
        domain=7,
        nodes={"policy_node": "active", "control_node": "active", "sim_robot_node": "running"},
        settings={"mode": "event", "model": "models/nano", "robot": "sim"},
        control=Control("TRACKING", "executing chunk 3/0: reach", 4, 31, {"rejected": 2.0}, 0.02),
        goal=Goal("event", CAPTION, "executing", 0.4, 1.3, open=2),
        parts={p.name: p for p in (*usual, *parts)},
    )
    return replace(sound, **changes)


def shown(now: Snapshot, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(page(now), highlight=False)
    return capture.get()


def test_a_sound_system_has_no_problem_and_exit_code_0():
    now = system()
    assert now.problems == () and now.warnings == () and code(now) == SOUND
    assert "● sound" in shown(now)


def test_nothing_running_is_one_sentence_and_exit_code_3():
    now = Snapshot(5, {"policy_node": "absent", "control_node": "absent"})
    assert code(now) == NOTHING and not now.as_dict()["sound"]
    assert shown(now, 200).strip() == nothing(5)
    assert nothing(5).startswith("nothing of wallwm runs in ROS domain 5: ./wallwm up starts it")


TOO_OLD = replace(part("policy_node: state"), age_s=4.2)
HELD = Control("HOLD", "ready", 0, 0, {})


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (system(nodes={"policy_node": "active", "control_node": "absent"}), "control_node does not run"),
        (
            system(nodes={"policy_node": "inactive", "control_node": "active"}),
            "policy_node is inactive, not active",
        ),
        (
            system(nodes={"policy_node": "no answer", "control_node": "active"}),
            "policy_node does not answer",
        ),
        (system(TOO_OLD), "policy_node has said nothing for 4.2 s"),
        (system(control=None), "control_node is active but has said nothing on /control_status"),
        (system(control=replace(HELD, age_s=2.5)), "control_node has not reported for 2.5 s"),
        (
            system(control=replace(HELD, state="ESTOPPED", reason="pressed by the operator")),
            "control_node is ESTOPPED: pressed by the operator",
        ),
        (system(control=replace(HELD, state="INACTIVE")), "control_node is INACTIVE: ready"),
        (
            system(stream("head_cam", Level.STALE, "head_cam is stale: 900 ms old", "stale")),
            "policy_node: head_cam is stale: 900 ms old",
        ),
        (
            system(part("policy_node: clock", Level.ERROR, "/clock has stood still")),
            "policy_node: /clock has stood still",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_1(now, sentence):
    assert sentence in now.problems and code(now) == WRONG
    assert sentence in " ".join(shown(now).split())
    assert json.loads(json.dumps(now.as_dict()))["problems"] == list(now.problems)


def test_a_camera_that_fails_is_named_once_not_also_by_the_observation():
    text = "head_cam is stale: its newest picture is 900 ms old, at most 250 ms is allowed"
    bad = part("policy_node: observation", Level.ERROR, text.replace("900", "901"), verdict="stale")
    assert system(stream("head_cam", Level.STALE, text, "stale"), bad).problems == (f"policy_node: {text}",)
    assert len(system(bad).problems) == 1


def test_warnings_do_not_make_a_system_unsound():
    lossy = stream("head_cam", Level.WARN, "29 of 214 missed in the last 10 s")
    now = system(lossy, control=replace(HELD, state="TAKEOVER", reason="taken over by the operator"))
    assert now.problems == () and code(now) == SOUND
    assert now.warnings == (
        "an operator moves the arm: taken over by the operator",
        "policy_node: stream head_cam: 29 of 214 missed in the last 10 s",
    )
    assert "samples are lost" in shown(now)


def test_what_a_dead_node_once_said_and_what_is_long_past_is_no_problem_of_today():
    old = replace(part("policy_node: chunk latency", Level.ERROR), age_s=60.0)
    gone = part("sim_robot_node: state", Level.ERROR)
    nodes = {"policy_node": "active", "control_node": "active"}
    assert system(old, gone, nodes=nodes).problems == ()


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("wrong", [False, True])
def test_the_page_fits_the_terminal_and_cuts_nothing_off(width, wrong):
    text = "wrist_cam_left is stale: its newest picture is 1310 ms old, at most 250 ms is allowed"
    now = system(stream("wrist_cam_left", Level.STALE, text, "stale")) if wrong else system()
    lines = shown(now, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    flat = " ".join(" ".join(lines).split())
    for words in ("wrist_cam_left", "/joint_states", "1045.5", CAPTION, "40 %", "1 waiting"):
        assert words in flat, words
    assert ("● sound" in flat) != wrong and (text in flat) == wrong


def test_a_system_that_tells_little_is_shown_as_it_is():
    lines = shown(Snapshot(0, {"policy_node": "unconfigured", "control_node": "absent"}))
    assert "policy_node is unconfigured, not active" in lines and "control_node does not run" in lines
    assert "latency" not in lines and "stream" not in lines


def test_markup_in_words_from_elsewhere_is_not_obeyed():
    now = system(goal=Goal("task", "[bold]x[/bold] [/]", "waiting", None, 0.0), settings={"model": "[red]m"})
    assert "[bold]x[/bold] [/]" in shown(now) and "[red]m" in shown(now)
