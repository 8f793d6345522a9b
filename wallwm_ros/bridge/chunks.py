"""ActionChunk messages <-> core chunks."""

from __future__ import annotations

import numpy as np

from wallwm_model.errors import ConfigError
from wallwm_msgs.msg import ActionChunk
from wallwm_ros.bridge.stamps import to_ns, to_stamp
from wallwm_ros.core.chunk import END_EFFECTOR_POSE, JOINT_POSITION, Chunk

_SPACES = {ActionChunk.JOINT_POSITION: JOINT_POSITION, ActionChunk.END_EFFECTOR_POSE: END_EFFECTOR_POSE}
_CODES = {name: code for code, name in _SPACES.items()}


def chunk_to_message(chunk: Chunk) -> ActionChunk:
    """Core chunk -> message; a `stamp_ns` of 0 leaves the header's stamp at zero."""
    message = ActionChunk()
    message.header.stamp = to_stamp(chunk.stamp_ns)
    message.observation_stamp = to_stamp(chunk.observation_ns)
    message.start_time = to_stamp(chunk.start_ns)
    message.generation = chunk.generation
    message.sequence = chunk.sequence
    message.first_step = chunk.first_step
    message.step_s = chunk.step_ns * 1e-9
    message.final = chunk.final
    message.action_space = _CODES[chunk.action_space]
    message.joint_names = list(chunk.joints)
    message.steps = chunk.steps
    message.values = np.asarray(chunk.values, dtype=np.float64).ravel().tolist()
    message.caption = chunk.caption
    message.remaining_s = float(chunk.remaining_s)
    return message


def chunk_from_message(message: ActionChunk) -> Chunk:
    """Message -> core chunk; the caller's timeline judges its content.

    Raises:
        ConfigError: the numbers cannot be read as a chunk (shape, action space, step).
    """
    columns = len(message.joint_names)
    if len(message.values) != message.steps * columns:
        raise ConfigError(
            f"a chunk of {message.steps} steps and {columns} joints must have "
            f"{message.steps * columns} values; found {len(message.values)}"
        )
    if message.action_space not in _SPACES:
        valid = ", ".join(f"{code} ({name})" for code, name in _SPACES.items())
        raise ConfigError(f"action_space must be one of {valid}; found {message.action_space}")
    if not 0.0 <= message.step_s <= 3600.0:
        raise ConfigError(f"step_s must be a duration in seconds; found {message.step_s}")
    return Chunk(
        generation=message.generation,
        joints=tuple(message.joint_names),
        values=np.array(message.values, dtype=np.float64).reshape(message.steps, columns),
        step_ns=round(message.step_s * 1e9),
        sequence=message.sequence,
        first_step=message.first_step,
        start_ns=to_ns(message.start_time),
        final=message.final,
        action_space=_SPACES[message.action_space],
        caption=message.caption,
        remaining_s=message.remaining_s,
        observation_ns=to_ns(message.observation_stamp),
        stamp_ns=to_ns(message.header.stamp),
    )
