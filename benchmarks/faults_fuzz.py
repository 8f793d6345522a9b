"""Hostile chunks and parameters: every field may be anything that its type can carry."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from rclpy.parameter import Parameter

from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.robot import RobotProfile

NUMBERS = (0.0, -0.0, 1e-300, -1e-9, 0.05, 1.0, 1e9, 1e300, -1e300, math.inf, -math.inf, math.nan)
WHOLE = (0, 1, 2, 3, 63, 64, 1000, 2**31 - 1, 2**31, 2**32 - 1)
TEXTS = ("", "\x00", "reach the red cube with the left arm", "é" * 300, "../../etc/passwd", "a" * 20_000)
VALUES = (True, False, 0, 1, -1, 2**62, -(2**63), 0.0, 1e308, math.nan, math.inf, -math.inf, *TEXTS,
          [True], [1, 2], [0.5], ["a", "b"], [b"\x00", b"\xff"], None)  # fmt: skip
FLOOD_ROWS = 4


def chunks(robot: RobotProfile, rng: random.Random, newest: Callable[[], int]) -> Iterator[ActionChunk]:
    """Endless chunks; a sound one, in which some fields are then made anything.

    Args:
        newest: gives the generation of the plan under way.
    """
    while True:
        message = sound(robot, rng, newest() + rng.choice((-1, 0, 1, 2, 3)))
        for field in rng.sample(sorted(_SPOIL), rng.choice((0, 1, 1, 1, 2, 5))):
            _SPOIL[field](message, rng)
        yield message


def sound(robot: RobotProfile, rng: random.Random, generation: int, rows: int = 0) -> ActionChunk:
    """A chunk that has to be taken: targets all over the robot's range, far from each other."""
    rows = rows or rng.choice((1, 2, 16, 64))
    values = [rng.uniform(j.low - 1, j.high + 1) for _ in range(rows) for j in robot.joints]
    return ActionChunk(
        generation=max(generation, 0),
        sequence=rng.choice((0, 1, 7)),
        step_s=rng.choice((0.001, 0.02, 0.05)),
        final=rng.random() < 0.5,
        joint_names=list(robot.joint_names),
        steps=rows,
        values=values,
        caption="hostile",
    )


def stop(robot: RobotProfile, generation: int) -> ActionChunk:
    """The end of whatever moves the arm."""
    return ActionChunk(generation=generation, joint_names=list(robot.joint_names), step_s=0.05)


def flood(robot: RobotProfile, rng: random.Random, newest: int) -> Iterator[ActionChunk]:
    """Endless sound chunks of other senders: older, as new as, and newer than the plan under way."""
    while True:
        yield sound(robot, rng, newest + rng.choice((-1, 0, 1)), FLOOD_ROWS)
        newest += rng.random() < 0.05


def parameters(names: list[str], rng: random.Random) -> Iterator[Parameter]:
    """Endless parameters: names that there are and that there are not, values of every type."""
    while True:
        name = rng.choice([*names, *names, "no_such_parameter", "a" * 300])
        yield Parameter(name, value=rng.choice(VALUES))


def _spoil_values(message: ActionChunk, rng: random.Random) -> None:
    values = list(message.values) or [0.0]
    for _ in range(rng.choice((1, 3, len(values)))):
        values[rng.randrange(len(values))] = rng.choice(NUMBERS)
    message.values = values


def _spoil_length(message: ActionChunk, rng: random.Random) -> None:
    message.values = list(message.values)[: rng.randrange(len(message.values) + 1)]


def _spoil_names(message: ActionChunk, rng: random.Random) -> None:
    names = list(message.joint_names) or ["left_waist"]
    how = rng.randrange(4)
    if how == 0:
        names[0] = names[-1]
    elif how == 1:
        names[rng.randrange(len(names))] = rng.choice(TEXTS[2:])
    elif how == 2:
        rng.shuffle(names)
    else:
        names = names[: rng.randrange(len(names))]
    message.joint_names = names


def _spoil_start(message: ActionChunk, rng: random.Random) -> None:
    message.start_time.sec = rng.choice((-(2**31), -1, 0, 1, 2**31 - 1))
    message.start_time.nanosec = rng.choice((0, 1, 10**9, 2**32 - 1))


def _spoil_much(message: ActionChunk, rng: random.Random) -> None:
    """Far more rows than any event has."""
    rows, row = rng.choice((500, 5000)), list(message.values)[: len(message.joint_names)]
    message.steps, message.values = rows, row * rows


_SPOIL = {
    "values": _spoil_values,
    "length": _spoil_length,
    "names": _spoil_names,
    "start": _spoil_start,
    "much": _spoil_much,
    "steps": lambda m, rng: setattr(m, "steps", rng.choice(WHOLE)),
    "step_s": lambda m, rng: setattr(m, "step_s", rng.choice(NUMBERS)),
    "generation": lambda m, rng: setattr(m, "generation", rng.choice((0, 1, 2**63, 2**64 - 1))),
    "sequence": lambda m, rng: setattr(m, "sequence", rng.choice(WHOLE)),
    "first_step": lambda m, rng: setattr(m, "first_step", rng.choice(WHOLE)),
    "action_space": lambda m, rng: setattr(m, "action_space", rng.choice((0, 1, 2, 255))),
    "remaining_s": lambda m, rng: setattr(m, "remaining_s", rng.choice((0.0, -1.0, math.nan, 3e38))),
    "caption": lambda m, rng: setattr(m, "caption", rng.choice(TEXTS)),
    "stamps": lambda m, rng: setattr(m.header, "stamp", to_stamp(rng.choice((0, 1, 2**60)))),
}
