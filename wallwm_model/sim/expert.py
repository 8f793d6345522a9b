"""The scripted expert: one event caption and the true scene -> a chunk of joint targets at 20 Hz.

Every event starts from the arm's actual state, whatever its error, and ends at rest in a posture that
scene and event alone decide: the next event can count on it and a learner can regress it.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.sim import ik, paths
from wallwm_model.sim.grammar import Event, parse
from wallwm_model.sim.judge import OFFER_POINT, holds
from wallwm_model.sim.kinematics import BASE_ROTATION, arm_forward
from wallwm_model.sim.robot import GRIPPER_CLOSED, GRIPPER_OPEN, HOME, arm_slice
from wallwm_model.sim.simulation import Simulation

HOVER = 0.10  # height from which a hand comes down on a cube [m]
APPROACH = 0.13  # distance from which a hand comes up to the other hand [m]
CARRY_HEIGHT = 0.14  # pinch point above the table while carrying [m]
CLOSE_STEPS, OPEN_STEPS, HOLD_STEPS = 8, 8, 2
HANDS_OFF = 0.05  # pinch point from the offer point: the giver has already opened and left [m]
PLACE_GAP = 0.001  # between cube and table when the gripper opens [m]

_DOWN = np.array((0.0, -0.2, 0.5, 0.0, 1.27, 0.0))  # search starts: gripper down, gripper level [rad]
_LEVEL = np.array((0.0, -0.1, 0.6, 0.0, -0.5, 0.0))


def face_yaw(rotation: np.ndarray) -> float:
    """Turn about z of a cube's side faces [rad], in +-45 degrees: four-fold symmetric, any face up."""
    sideways = rotation[:, np.argmin(np.abs(rotation[2]))]
    yaw = np.arctan2(sideways[1], sideways[0])
    return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


class Expert:
    """Plans events in a simulation; it reads the true poses of cubes.

    Args:
        sim: the simulation, with a scene laid out.
        speed: factor on the normal speed.
    """

    def __init__(self, sim: Simulation, speed: float = 1.0) -> None:
        self.sim, self.speed = sim, speed

    def plan(self, caption: str) -> np.ndarray:
        """Targets (T, 14) [rad, m] for one event, target k due (k + 1) * 50 ms from now; 8 <= T <= 62.

        Raises:
            CaptionError: not a sentence of the grammar.
            SimulationError: out of the arm's reach.
        """
        event = parse(caption)
        joints, gripper = getattr(self, f"_{event.name}")(event)
        actions = np.tile(self.sim.targets, (len(joints), 1))
        part = arm_slice(event.arm)
        actions[:, part] = np.concatenate([joints, gripper[:, None]], axis=1)
        return actions

    # What each event does. All return joints (T, 6) [rad] and gripper openings (T,) [m].

    def _reach(self, event: Event):
        end, via = self._onto_cube(event)
        joints = self._travel(event.arm, via, end)
        return joints, self._opening(event.arm, len(joints))

    def _grasp(self, event: Event):
        return self._close(event.arm, *reversed(self._onto_cube(event)))

    def _lift(self, event: Event):
        position = self.sim.pinch(event.arm)[0]
        yaw = face_yaw(self.sim.cube_pose(event.cube)[1])
        end = self._down(event.arm, np.array((*position[:2], CARRY_HEIGHT)), yaw)
        half = self._down(event.arm, np.array((*position[:2], (CARRY_HEIGHT + position[2]) / 2)), yaw)
        return self._carry(event.arm, half, end)

    def _move(self, event: Event):
        end = self._over_pad(event, CARRY_HEIGHT)
        return self._carry(event.arm, None, end)

    def _place(self, event: Event):
        height = self.sim.scene.cubes[event.cube].half + PLACE_GAP
        end = self._over_pad(event, height, of_cube=True)
        via = self._over_pad(event, (height + CARRY_HEIGHT) / 2)
        held = holds(self.sim, event.arm, event.cube)
        before = GRIPPER_CLOSED if held else self._measured(event.arm)[6]
        return self._then(self._travel(event.arm, via, end), before, GRIPPER_OPEN, OPEN_STEPS)

    def _retract(self, event: Event):
        joints = self._go_home(event.arm, np.array((0.0, 0.0, 1.0)), 0.16 - self.sim.pinch(event.arm)[0][2])
        return joints, self._opening(event.arm, len(joints))

    def _offer(self, event: Event):
        return self._carry(event.arm, None, self._level(event.arm, OFFER_POINT, roll=0.0))

    def _meet(self, event: Event):
        end, via = self._onto_offered(event)
        joints = self._travel(event.arm, via, end)
        return joints, self._opening(event.arm, len(joints))

    def _take(self, event: Event):
        return self._close(event.arm, *reversed(self._onto_offered(event)))

    def _release(self, event: Event):
        arm, still = event.arm, self._measured(event.arm)
        gone = np.linalg.norm(self.sim.pinch(arm)[0] - OFFER_POINT)
        away = self._go_home(arm, -self._forward(arm), APPROACH - gone)
        if gone > HANDS_OFF:
            return away, self._opening(arm, len(away))
        before = GRIPPER_CLOSED if holds(self.sim, arm, event.cube) else still[6]
        opening = paths.ramp(before, GRIPPER_OPEN, OPEN_STEPS, OPEN_STEPS + len(away))
        return np.concatenate([np.tile(still[:6], (OPEN_STEPS, 1)), away]), opening

    # Ways of moving.

    def _travel(self, arm: str, via: np.ndarray | None, end: np.ndarray, least: int = 8) -> np.ndarray:
        """(T, 6) from the measured posture through the neighbourhood of `via` to `end`."""
        start = self._measured(arm)[:6]
        stops = [start, end] if via is None else [start, via, end]
        metres = sum(
            float(np.linalg.norm(arm_forward(b)[0] - arm_forward(a)[0])) for a, b in zip(stops, stops[1:])
        )
        radians = float(sum(np.abs(b - a) for a, b in zip(stops, stops[1:])).max())
        steps = paths.steps_for(metres, radians, self.speed, least)
        return paths.line(start, end, steps) if via is None else paths.bezier(start, via, end, steps)

    def _carry(self, arm: str, via: np.ndarray | None, end: np.ndarray):
        """Travel with the gripper pressing."""
        joints = self._travel(arm, via, end, least=10)
        return joints, np.full(len(joints), GRIPPER_CLOSED)

    def _opening(self, arm: str, steps: int) -> np.ndarray:
        """(T,) gripper from where it is to open, in the first half of a motion."""
        return paths.ramp(self._measured(arm)[6], GRIPPER_OPEN, max(6, steps // 2), steps)

    def _close(self, arm: str, via: np.ndarray, end: np.ndarray):
        """Correct what is left of the approach, then close."""
        opening = self._measured(arm)[6]
        return self._then(self._travel(arm, via, end, least=4), opening, GRIPPER_CLOSED, CLOSE_STEPS)

    def _then(self, joints: np.ndarray, before: float, after: float, steps: int):
        """Travel with one gripper opening, change it to another, and hold."""
        rest = np.tile(joints[-1], (steps + HOLD_STEPS, 1))
        gripper = np.concatenate([np.full(len(joints), before), paths.ramp(before, after, steps, len(rest))])
        return np.concatenate([joints, rest]), gripper

    def _go_home(self, arm: str, direction: np.ndarray, metres: float) -> np.ndarray:
        """(T, 6) first away in `direction` (world frame), then to the home posture."""
        home = HOME[arm_slice(arm)][:6]
        if metres < 0.01:
            return self._travel(arm, None, home, least=10)
        position, rotation = self.sim.pinch(arm)
        base = ik.to_base(self._index(arm), position + metres * direction, rotation)
        return self._travel(arm, ik.solve(*base, self._measured(arm)[:6]), home, least=10)

    # Where to be.

    def _onto_cube(self, event: Event) -> tuple[np.ndarray, np.ndarray]:
        """Posture around a cube lying on the table, and the one above it to come from."""
        position, rotation = self.sim.cube_pose(event.cube)
        above = min(HOVER, float(np.linalg.norm(self.sim.pinch(event.arm)[0] - position)))
        raised = position + np.array((0.0, 0.0, max(above, 0.002)))
        yaw = face_yaw(rotation)
        return self._down(event.arm, position, yaw), self._down(event.arm, raised, yaw)

    def _onto_offered(self, event: Event) -> tuple[np.ndarray, np.ndarray]:
        """Posture around a cube in the other hand, pads above and below, and the one to come from."""
        position = self.sim.cube_pose(event.cube)[0]
        back = min(APPROACH, float(np.linalg.norm(self.sim.pinch(event.arm)[0] - position)))
        roll = np.pi / 2 if event.arm == "left" else -np.pi / 2
        start = position - max(back, 0.002) * self._forward(event.arm)
        return self._level(event.arm, position, roll), self._level(event.arm, start, roll)

    def _over_pad(self, event: Event, height: float, of_cube: bool = False) -> np.ndarray:
        """Posture with the held cube centred over the pad; `height` [m] of pinch point or cube."""
        position, rotation = self.sim.pinch(event.arm)
        in_hand = rotation.T @ (self.sim.cube_pose(event.cube)[0] - position)
        in_hand = np.clip(in_hand, -0.03, 0.03)
        pad = self.sim.scene.pads[event.pad]
        offset = BASE_ROTATION[self._index(event.arm)] @ _down_rotation(0.0) @ in_hand
        target = np.array((pad[0] - offset[0], pad[1] - offset[1], height - (offset[2] if of_cube else 0.0)))
        return self._down(event.arm, target, 0.0)

    def _down(self, arm: str, position: np.ndarray, yaw: float) -> np.ndarray:
        """Posture (6,): gripper pointing down at a world position, fingers closing along x turned by yaw."""
        base, _ = ik.to_base(self._index(arm), position, np.eye(3))
        waist = np.arctan2(base[1], base[0])
        seed = _DOWN + np.array((waist, 0, 0, 0, 0, waist - yaw))
        return ik.solve(base, _down_rotation(yaw), seed)

    def _level(self, arm: str, position: np.ndarray, roll: float) -> np.ndarray:
        """Posture (6,) with the gripper level, pointing straight at the other arm, rolled by `roll` [rad]."""
        base, _ = ik.to_base(self._index(arm), position, np.eye(3))
        c, s = np.cos(roll), np.sin(roll)
        rotation = np.array([(1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)])
        return ik.solve(base, rotation, _LEVEL + np.array((0, 0, 0, 0, 0, roll)))

    def _forward(self, arm: str) -> np.ndarray:
        """(3,) world direction in which an arm faces the other one."""
        return BASE_ROTATION[self._index(arm)][:, 0]

    def _measured(self, arm: str) -> np.ndarray:
        """(7,) measured joints [rad] and opening [m] of one arm."""
        return self.sim.state()[arm_slice(arm)]

    @staticmethod
    def _index(arm: str) -> int:
        return 0 if arm == "left" else 1


def _down_rotation(yaw: float) -> np.ndarray:
    """(3, 3) gripper pointing down, fingers closing along the base frame's y turned by `yaw` [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([(0.0, -s, c), (0.0, c, s), (-1.0, 0.0, 0.0)])
