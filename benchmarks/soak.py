"""Does it last? The real simulator under a random operator: memory, limits, results."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallwm_model.bundle import verify
from wallwm_ros.cli.bench import part, write
from wallwm_ros.core.config import PolicyConfig
from wallwm_ros.core.paths import data_path

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 3600.0
SEED = 0
LOOK_S = 2.0  # between two looks at the memory
JUDGE_S = 10.0  # between two judgements of the commands
ROBOT = "sim_robot_node"


def measure(
    seconds: float = SECONDS, *, minutes: float | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Growth of memory, violations and lost results; interrupted, of the time until then.

    Args:
        minutes: how long; else `seconds`.
        out: where the figures go while they come in; the picture goes beside it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    seconds = seconds if minutes is None else 60 * minutes
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as folder, Soak(Path(folder)) as soak:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("soak", total=seconds)

            def tell() -> None:
                bar.update(task, completed=soak.seconds, description=soak.doing)
                write(soak.figures(), out)

            try:
                soak.run(seconds, tell)
            except KeyboardInterrupt:
                soak.interrupted = True
        figures = soak.figures()
        if out is not None:
            title = f"{figures['what']}: largest growth {figures['growth_pct']:.1f} %"
            part("soak_memory").draw(soak.memory, out.with_suffix(".png"), title)
    return figures


class Soak:
    """Context manager: the system under its operator, and what is seen of it.

    Attributes:
        memory: of every process.
        seconds: of soaking so far.
        interrupted: it was ended early.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.memory = part("soak_memory").Memory()
        self.seconds, self.interrupted = 0.0, False
        self._processes = self._seat = None
        self._judged, self._guessed, self._violations, self._first, self._shares = 0, 0, 0, "", {}

    def __enter__(self) -> Soak:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything; may be called at any time."""
        for thing in (self._processes, self._seat):
            if thing is not None:
                thing.close()
        self._processes = self._seat = None

    def _open(self) -> None:
        from wallwm_ros.cli.processes import node_command
        from wallwm_ros.core.config import ControlConfig, load_robot

        processes, seat = part("faults_processes"), part("faults_seat")
        processes.enter_domain()
        profile = data_path("config/robots/sim.yaml")
        self._profile, self._period_ns = load_robot(profile), round(1e9 / ControlConfig().rate_hz)
        self.engine = engine()
        self._processes = processes.Processes(
            self._folder, profile, (ROBOT, node_command(ROBOT, [])), scripted=self.engine == "scripted"
        )
        self._seat = seat.Seat(self._processes.check)
        for name in seat.NODES:
            self._seat.bring_up(name)
        self._seat.until(lambda: self._seat.status and len(self._seat.status.measured) > 0, "joint states")
        self.operator = part("soak_operator").Operator(self._seat, random.Random(SEED))

    @property
    def doing(self) -> str:
        """A line for people."""
        return f"{len(self.operator.goals.sent)} goals, {self._violations} beyond limits"

    def run(self, seconds: float, tell: Any) -> None:
        """Act, look and judge for so long."""
        begin = time.monotonic()
        look_at = judge_at = begin
        while (now := time.monotonic()) - begin < seconds:
            self.seconds = now - begin
            if now >= look_at:
                self.memory.look(now, self._watched())
                look_at = now + LOOK_S
            if now >= judge_at:
                self._judge()
                judge_at = now + JUDGE_S
                tell()
            self.operator.act()
        self.seconds = time.monotonic() - begin
        self.operator.finish()
        self._judge()
        tell()

    def figures(self) -> dict[str, Any]:
        """What is known so far."""
        growth = self.memory.growth_pct()
        sent = self.operator.goals.sent
        return {
            "what": f"{self.seconds / 60:.1f} minutes in the simulator under a random operator",
            "minutes": self.seconds / 60,
            "engine": self.engine,
            "violations": self._violations,
            "first_violation": self._first,
            "lost_results": sum(1 for goal in sent if goal.accepted and len(goal.answers) != 1 and goal.over),
            "open_goals": sum(not goal.over for goal in sent),
            "growth_pct": max((grown for name, grown in growth.items()), default=0.0),
            "growth_pct_by_process": growth,
            "memory_mb": {name: values[-1] for name, values in self.memory.used_mb.items()},
            "goals": len(sent),
            "acts": dict(self.operator.done),
            "endings": dict(Counter(goal.answers[0][0] for goal in sent if goal.answers).most_common()),
            "largest_share": self._shares,
            "commands": self._judged,
            "commands_guessed": self._guessed,
            "interrupted": self.interrupted,
        }

    def _watched(self) -> dict[str, int]:
        """Process ids of the nodes; the observer is none."""
        pids = self._processes.pids()
        return {name: pids[name] for name in (ROBOT, *part("faults_seat").NODES)}

    def _judge(self) -> None:
        """The commands since the last judgement."""
        motion, skip = part("faults_motion"), max(self._judged - 3, 0)
        track = motion.read(self._processes.record, len(self._profile.joints), skip)
        self._judged = skip + len(track.commands)
        verdict = motion.judge(track, self._profile, self._period_ns)
        self._violations, self._guessed = self._violations + verdict.violations, self._guessed + verdict.guessed
        self._first = self._first or verdict.first
        self._shares = {k: max(v, self._shares.get(k, 0.0)) for k, v in verdict.shares.items()}


def engine() -> str:
    """The shipped bundle, if it has both modes; else the scripted engine, which has."""
    return (
        "bundle" if {"event", "unified"} <= set(verify(data_path(PolicyConfig.model)).modes) else "scripted"
    )


def show(figures: dict[str, Any], console: Console) -> None:
    """Memory by process, and how goals ended."""
    from rich.table import Table

    table = Table(title=figures["what"])
    for heading in ("process", "memory [MiB]", "growth after warming up [%]"):
        table.add_column(heading)
    for name, grown in figures["growth_pct_by_process"].items():
        used = figures["memory_mb"][name]
        table.add_row(name, "-" if used is None else f"{used:.0f}", f"{grown:+.2f}")
    console.print(table)
    console.print(", ".join(f"{count} {ending}" for ending, count in figures["endings"].items()))
    console.print(", ".join(f"{count} {act}" for act, count in figures["acts"].items()))
