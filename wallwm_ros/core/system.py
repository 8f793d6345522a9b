"""What a running system looks like from outside, and whether it is sound."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import IntEnum

POLICY, CONTROL, SIMULATOR = "policy_node", "control_node", "sim_robot_node"
NEEDED = (POLICY, CONTROL)
ACTIVE, ABSENT, RUNNING, MUTE = "active", "absent", "running", "no answer"
PARTS_S = 3.0  # a node that says nothing on /diagnostics for so long is stuck [s]
CONTROL_S = 1.0  # as before, on /control_status [s]
AT_ODDS = ("ESTOPPED", "INACTIVE")  # states in which an active control process moves nothing
OPERATED = "TAKEOVER"
OBSERVATION = f"{POLICY}: observation"
_STREAM = f"{POLICY}: stream "


class Level(IntEnum):
    """How bad it is; the numbers of `DiagnosticStatus`."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Part:
    """One diagnostic status.

    Attributes:
        name: `node: part`.
        level: how bad it is.
        text: one sentence.
        values: figures as they were written.
        age_s: since it was heard [s].
    """

    name: str
    level: Level
    text: str
    values: dict[str, str] = field(default_factory=dict)
    age_s: float = 0.0

    @property
    def sentence(self) -> str:
        """The text, with what it is about in front unless it names that itself."""
        node, _, part = self.name.partition(": ")
        named = part.removeprefix("stream ") in self.text
        return f"{node if named else self.name}: {self.text}"

    def number(self, key: str) -> float | None:
        """A figure; None where there is none."""
        try:
            return float(self.values[key])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Control:
    """The last `ControlStatus`.

    Attributes:
        state, reason: what the control process does, and why.
        step, steps: of the plan that it follows.
        figures: name -> its other counts and sizes.
        age_s: since it was heard [s].
    """

    state: str
    reason: str
    step: int
    steps: int
    figures: dict[str, float]
    age_s: float = 0.0


@dataclass(frozen=True)
class Goal:
    """The goal under way.

    Attributes:
        kind: `event` or `task`.
        caption: in words; empty while unknown.
        stage: what is being done for it.
        progress: 0 to 1; None where nobody knows.
        remaining_s: of the event, as estimated [s].
        open: how many goals have not ended, this one included.
    """

    kind: str
    caption: str
    stage: str
    progress: float | None
    remaining_s: float
    open: int = 1


@dataclass(frozen=True)
class Snapshot:
    """All of it at one moment.

    Attributes:
        domain: ROS domain.
        nodes: name -> lifecycle state, `running`, `no answer` or `absent`.
        settings: `mode`, `model` and `robot` of the policy node, if it has told.
        control: the control process; None if it has not reported.
        goal: what is being carried out, if anything.
        parts: name -> diagnostic status.
    """

    domain: int
    nodes: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    control: Control | None = None
    goal: Goal | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Any of the nodes is there."""
        return any(state != ABSENT for state in self.nodes.values())

    @property
    def streams(self) -> dict[str, Part]:
        """Stream -> what the policy node says of it."""
        return {name.removeprefix(_STREAM): p for name, p in self.parts.items() if name.startswith(_STREAM)}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one sentence each."""
        found = [_node_problem(name, self.nodes.get(name, ABSENT)) for name in NEEDED]
        found += [self._silence(name) for name in NEEDED]
        found += [self._control_problem()]
        found += [part.sentence for part in self._fresh() if part.level >= Level.ERROR]
        return tuple(dict.fromkeys(text for text in found if text))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a look, one sentence each."""
        found = [part.sentence for part in self._fresh() if part.level == Level.WARN]
        if self.control is not None and self.control.state == OPERATED:
            found.insert(0, f"an operator moves the arm: {self.control.reason}")
        return tuple(found)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        verdict = {"running": self.running, "sound": self.running and not self.problems}
        sentences = {"problems": list(self.problems), "warnings": list(self.warnings)}
        return {**verdict, **sentences, **dataclasses.asdict(self)}

    def _active(self, name: str) -> bool:
        return self.nodes.get(name) == ACTIVE

    def _fresh(self) -> list[Part]:
        """Parts that a living node of ours has told of lately."""
        parts = [part for part in self.parts.values() if part.age_s <= PARTS_S]
        if any(part.level >= Level.ERROR for part in self.streams.values()):
            parts = [part for part in parts if part.name != OBSERVATION]  # it only repeats one of them
        return [part for part in parts if self.nodes.get(part.name.partition(":")[0]) not in (None, ABSENT)]

    def _silence(self, name: str) -> str:
        if not self._active(name):
            return ""
        part = self.parts.get(f"{name}: state")
        if part is None:
            return f"{name} is active but has said nothing on /diagnostics"
        return "" if part.age_s <= PARTS_S else f"{name} has said nothing for {part.age_s:.1f} s"

    def _control_problem(self) -> str:
        control = self.control
        if not self._active(CONTROL):
            return ""
        if control is None:
            return f"{CONTROL} is active but has said nothing on /control_status"
        if control.age_s > CONTROL_S:
            return f"{CONTROL} has not reported for {control.age_s:.1f} s"
        return f"{CONTROL} is {control.state}: {control.reason}" if control.state in AT_ODDS else ""


def _node_problem(name: str, state: str) -> str:
    if state == ABSENT:
        return f"{name} does not run"
    if state == MUTE:
        return f"{name} does not answer"
    return "" if state == ACTIVE else f"{name} is {state}, not active"
