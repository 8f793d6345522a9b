"""Every picture time of a data folder as a place where a chunk can begin, with what came before and after it.

Events that begin where the one before ended form a chain: fixed-length chunks and the pictures of the past run
across them.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.data.samples import SampleSet
from wallwm_model.sim.scene import sample_scene

REST_STEPS = 3  # the expert rests this long after each event
STILL = 2e-3  # targets that move less than this over `WATCHED` steps are quasi-static [rad, m]
WATCHED = 8


class MomentTable:
    """Places where chunks begin; R rows, from N samples.

    Attributes:
        sample: (R,) row of the sample in `SampleSet.columns`.
        step: (R,) action steps of its event already done.
        left: (R,) action steps of its event still to do, at least 1.
        moment: (R,) row in `SampleSet.moments`.
        elapsed: (N,) steps from the start of the task to each sample, -1 where a disturbance hides it.
        instructions: (N,) the whole task's sentence.
        pairs: (N, 2) colours of the task's cube and pad.
    """

    def __init__(self, samples: SampleSet):
        self.samples, columns = samples, samples.columns
        every = int(samples.meta["frame_steps"])
        count = columns["n_frames"].astype(int) - 1  # the last moment has nothing left to do
        self.sample = np.repeat(np.arange(len(samples)), count)
        nth = np.arange(len(self.sample)) - np.repeat(np.cumsum(count) - count, count)
        self.step = every * nth
        self.left = columns["length"][self.sample].astype(int) - self.step
        self.moment = columns["first"][self.sample] + nth
        self._link()
        self._name()

    def _link(self) -> None:
        """Chains of events that begin where the one before ended."""
        columns, size = self.samples.columns, len(self.samples)
        new = np.ones(size, bool)
        for name in ("seed", "task"):
            new[1:] &= columns[name][1:] == columns[name][:-1]
        new[1:] = ~new[1:]
        self.elapsed, self._chain = np.full(size, -1), np.arange(size)
        self._followed = np.r_[columns["follows"][1:] & ~new[1:], False]
        for i in range(size):
            if i and self._followed[i - 1]:
                self._chain[i], before = self._chain[i - 1], self.elapsed[i - 1]
                self.elapsed[i] = before if before < 0 else before + columns["length"][i - 1] + REST_STEPS
            elif new[i] and not columns["disturbed"][i]:
                self.elapsed[i] = 0

    def _name(self) -> None:
        columns = self.samples.columns
        keys = list(zip(columns["task"].tolist(), columns["seed"].tolist()))
        scenes = {key: sample_scene(*key) for key in dict.fromkeys(keys)}
        self.pairs = np.array([(scenes[key].cube, scenes[key].pad) for key in keys])
        self.instructions = np.array([scenes[key].instruction() for key in keys])

    def quasi_static(self) -> np.ndarray:
        """(R,) bool: hardly anything moves in the next steps (method.md, section 6)."""
        actions = self.samples.columns["actions"]
        ahead = np.minimum(self.step[:, None] + np.arange(WATCHED), actions.shape[1] - 1)
        return np.ptp(actions[self.sample[:, None], ahead], axis=1).max(axis=1) < STILL

    def event_actions(self, row: int, steps: int) -> tuple[np.ndarray, int]:
        """Targets (steps, D) of the rest of the event, its last one repeated; how many of them are the event's."""
        actions = self.samples.columns["actions"][self.sample[row]]
        ahead = np.minimum(self.step[row] + np.arange(steps), self.step[row] + self.left[row] - 1)
        return actions[ahead], min(steps, int(self.left[row]))

    def task_actions(self, row: int, steps: int) -> tuple[np.ndarray, int]:
        """Targets (steps, D) of what the expert did next, across events; how many of them are known."""
        columns, sample, step = self.samples.columns, self.sample[row], self.step[row]
        parts, known = [], 0
        while known < steps:
            actions = columns["actions"][sample][step : columns["length"][sample]]
            parts += [actions, np.repeat(actions[-1:], REST_STEPS, axis=0)]
            known += len(actions) + REST_STEPS
            if columns["event"][sample] == "retract":  # the task is done: stay
                known = steps
            if known >= steps or not self._followed[sample]:
                break
            sample, step = sample + 1, 0
        found = np.concatenate(parts)[:steps]
        rest = np.repeat(found[-1:], steps - len(found), axis=0)
        return np.concatenate([found, rest]), min(known, steps)

    def before(self, rows: np.ndarray, count: int) -> np.ndarray:
        """(B, count) the moments before those of `rows`, oldest first; a chain's first moment stands for what
        lies before it, since the robot rested there."""
        start = self.samples.columns["first"][self._chain[self.sample[rows]]]
        wanted = self.moment[rows][:, None] - np.arange(count, 0, -1)
        return np.maximum(wanted, start[:, None])

    def after(self, rows: np.ndarray, count: int, *, across: bool | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, count) the moments after those of `rows`, and how many of them are known (B,); then the last one is
        repeated.

        Args:
            across: run on into events that follow; one for all, or (B,).
        """
        columns = self.samples.columns
        last = self.sample[rows].copy()
        more = across & self._followed[last]
        while more.any():
            last += more
            more = more & self._followed[last] & (columns["first"][last] - self.moment[rows] < count)
        end = columns["first"][last] + columns["n_frames"][last] - 1
        now = self.moment[rows]
        moments = np.minimum(now[:, None] + np.arange(1, count + 1), end[:, None])
        return moments, np.minimum(end - now, count)

    def chunk_index(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """(B,) index of the chunk of `steps` that `rows` lie in, counted from 1 at the task's start; 0 unknown."""
        elapsed = self.elapsed[self.sample[rows]]
        return np.where(elapsed < 0, 0, 1 + (elapsed + self.step[rows]) // steps)
