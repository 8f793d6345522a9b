"""The order of things in one episode, with a robot that is only a script."""

from dataclasses import dataclass

from wallwm_ros.demo.episode import Watchers, kind, run_episode
from wallwm_ros.demo.plan import Episode

CAPTIONS = (
    "reach the red cube with the left arm",
    "grasp the red cube with the left arm",
    "retract the left arm",
)


@dataclass
class Done:
    succeeded: bool = True
    status: str = "succeeded"
    text: str = ""
    steps: int = 21
    planned: int = 21
    seconds: float = 1.2
    inference_s: float = 0.01


@dataclass
class Thinking:
    reasoning: str


class ScriptedRobot:
    """Aborts the events in `aborts`; the n-th verdict on an event is the n-th of `verdicts`, then True."""

    thoughts = ()

    def __init__(self, aborts=(), verdicts=None, task=True):
        self.aborts, self.verdicts, self.task = aborts, verdicts or {}, task
        self.sent = []

    def new_scene(self, task, seed):
        return CAPTIONS

    def execute(self, caption, on_progress):
        self.sent.append(caption.split()[0])
        for thought in self.thoughts:
            on_progress(Thinking(thought))
        if self.sent[-1] in self.aborts:
            return Done(False, "no observation", "head_cam is silent", 4)
        return Done()

    def judge(self, caption=""):
        if not caption:
            return self.task, "red cube 3 mm from the pad's centre"
        left = self.verdicts.get(caption.split()[0])
        return (left.pop(0) if left else True), "measured"


class Diary:
    def __init__(self):
        self.lines = []

    def begin(self, episode, captions):
        self.lines.append("begin")

    def event(self, number, caption):
        self.lines.append(f"event {number}")

    def progress(self, number, progress):
        self.lines.append("progress")

    def event_done(self, number, result):
        self.lines.append(f"done {number}")

    def end(self, result):
        self.lines.append("end")


def run(robot, captions=(), retries=0, watcher=None):
    return run_episode(robot, Episode("pick_place", 4, captions), watcher or Diary(), retries)


def test_events_run_in_order_and_the_task_is_judged():
    diary = Diary()
    result = run(ScriptedRobot(), watcher=Watchers(diary, Diary()))
    assert [event.name for event in result.events] == ["reach", "grasp", "retract"]
    assert result.success
    assert result.outcome == "red cube 3 mm from the pad's centre"
    assert diary.lines == [
        "begin", "event 0", "done 0", "event 1", "done 1", "event 2", "done 2", "end"
    ]  # fmt: skip


def test_an_aborted_motion_ends_the_episode():
    robot = ScriptedRobot(aborts=("grasp",))
    result = run(robot)
    assert robot.sent == ["reach", "grasp"]
    assert not result.success
    assert result.outcome == "grasp: no observation: head_cam is silent"
    assert not result.events[-1].completed


def test_a_missed_event_alone_does_not_end_the_episode():
    robot = ScriptedRobot(verdicts={"reach": [False]})
    result = run(robot)
    assert robot.sent == ["reach", "grasp", "retract"]
    assert [event.success for event in result.events] == [False, True, True]
    assert result.success


def test_retries_send_a_missed_event_again():
    robot = ScriptedRobot(verdicts={"grasp": [False, False]})
    assert run(robot, retries=1).events[2].success is False
    assert robot.sent == ["reach", "grasp", "grasp", "retract"]


def test_an_aborted_motion_is_not_retried():
    robot = ScriptedRobot(aborts=("reach",))
    run(robot, retries=5)
    assert robot.sent == ["reach"]


def test_own_captions_succeed_when_every_event_does():
    assert run(ScriptedRobot(task=False), captions=CAPTIONS[:2]).success
    missed = run(ScriptedRobot(verdicts={"grasp": [False]}), captions=CAPTIONS[:2])
    assert not missed.success
    assert missed.outcome == "grasp: measured"


def test_reasoning_is_kept_as_it_changes():
    robot = ScriptedRobot()
    robot.thoughts = ("", "first", "first", "second", "", "first")
    assert run(robot).events[0].reasoning == ("first", "second", "first")


def test_a_sentence_that_is_no_event_is_a_task():
    assert [kind(text) for text in (*CAPTIONS, "put the red cube on the white pad")][1:] == [
        "grasp", "retract", "task",
    ]  # fmt: skip
