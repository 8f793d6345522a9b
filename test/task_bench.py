"""Tasks on the real controller, the clock turned by hand: the benchmark of seams and the tests share it."""

from benchmarks.task_bench import HOME, MS, PACE, SECOND, STEP, STEPS, TaskBench, hold, ramp

__all__ = ["HOME", "MS", "PACE", "SECOND", "STEP", "STEPS", "TaskBench", "hold", "ramp"]
