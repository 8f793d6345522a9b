"""Inverse kinematics of one arm: damped least squares with joint limits (mink)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wallwm_model.errors import SimulationError
from wallwm_model.sim.kinematics import BASE_POSITION, BASE_ROTATION
from wallwm_model.sim.robot import arm_model

POSITION_TOLERANCE = 2e-4  # [m]
ANGLE_TOLERANCE = 2e-3  # [rad]
MAX_ITERATIONS = 80


@lru_cache(maxsize=1)
def _solver():
    """The arm's mink configuration, pinch task and limits: built once, used for both arms."""
    import mink

    model = arm_model()
    task = mink.FrameTask("pinch", "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-3)
    return mink.Configuration(model), task, [mink.ConfigurationLimit(model)]


def to_base(arm: int, position: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World pose -> base frame of arm 0 (left) or 1 (right)."""
    turn = BASE_ROTATION[arm].T
    return turn @ (position - BASE_POSITION[arm]), turn @ rotation


def solve(position: np.ndarray, rotation: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Joint values (6,) [rad] that bring the pinch point to a pose in the base frame.

    Args:
        position: (3,) [m].
        rotation: (3, 3).
        seed: (6,) where the search starts [rad]; picks the branch.

    Raises:
        SimulationError: the pose is out of reach.
    """
    import mink

    configuration, task, limits = _solver()
    target = np.eye(4)
    target[:3, :3], target[:3, 3] = rotation, position
    task.set_target(mink.SE3.from_matrix(target))
    configuration.update(np.concatenate([seed, np.zeros(2)]))
    for _ in range(MAX_ITERATIONS):
        error = task.compute_error(configuration)
        if np.linalg.norm(error[:3]) < POSITION_TOLERANCE and np.linalg.norm(error[3:]) < ANGLE_TOLERANCE:
            return configuration.q[:6].copy()
        velocity = mink.solve_ik(configuration, [task], 1.0, "daqp", damping=1e-8, limits=limits)
        configuration.integrate_inplace(velocity, 1.0)
    raise SimulationError(
        f"a gripper pose must be within the arm's reach; {np.round(position, 3)} (base frame, m) was missed "
        f"by {1e3 * np.linalg.norm(error[:3]):.1f} mm and {np.degrees(np.linalg.norm(error[3:])):.1f} degrees"
    )
