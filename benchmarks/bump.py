"""Is a bumped camera found and named, and an untouched rig left in peace? Random simulated rigs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wallwm_model.calibration import load_calibration
from wallwm_model.calibration_check.adjustment import Rig
from wallwm_model.calibration_check.consistency import Verdict, check
from wallwm_model.calibration_check.examine import Examiner
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.calibration_check.prior import Prior
from wallwm_model.calibration_check.sighting import MIN_CORNERS, Sighting, choose_tilts, sight
from wallwm_model.calibration_check.snapshot import Claims
from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_model.sim.bumped_rig import BOARD, Trial, bump, corners, look_anew, measured, pictures, sample

if TYPE_CHECKING:
    from rich.console import Console

CLEAN, BUMPED, RENDERED = 100, 20, 6  # rigs: untouched; bumped, for each camera and kind; fully rendered
POSTURES = 10
CORNER_PX = 0.2  # standard deviation of a detected corner [px]
LOST = 0.1  # share of corners that a glint or a shadow hides
KINDS = {"moved": (5e-3, 0.0), "turned": (0.0, np.radians(1.0)), "both": (5e-3, np.radians(1.0))}  # [m, rad]
SECONDS = 600.0  # about; the work is fixed
_SIM = Path(__file__).resolve().parents[1] / "calibration" / "sim.yaml"

Progress = Callable[[int, int], None]


def measure(seconds: float = SECONDS, *, quick: bool = False) -> dict[str, Any]:
    """The whole study, or a glance at it."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rigs", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return run(2, 1, 1, progress=tell) if quick else run(progress=tell)


def show(figures: dict[str, Any], console: Console) -> None:
    """The table by camera and kind."""
    from rich.table import Table

    title = f"mounts bumped by 5 mm, by 1 degree, by both; {figures['bump_clean_rigs']} untouched rigs"
    table = Table(title=title)
    for heading in (
        "camera, bump",
        "rigs",
        "alarm",
        "right camera",
        "with a baseline",
        "off by [mm]",
        "[degrees]",
    ):
        table.add_column(heading)
    for name, row in figures["bump_table"].items():
        misses = [row["miss_mm_p50"], row["miss_deg_p50"]]
        misses = ["-" if miss is None else f"{miss:.2f}" for miss in misses]
        table.add_row(name, *(str(row[key]) for key in ("rigs", "alarm", "named", "named_since")), *misses)
    alarms = figures["false_alarms"] if "false_alarms" in figures else "-"
    table.add_row("untouched", str(figures["bump_clean_rigs"]), str(alarms), "", "", "", "")
    console.print(table)


def run(
    clean: int = CLEAN,
    bumped: int = BUMPED,
    rendered: int = RENDERED,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Share of bumps found and named, false alarms, and a table by camera and kind.

    Args:
        clean: untouched rigs.
        bumped: bumped rigs for each camera and kind.
        rendered: rigs with fully rendered pictures; every other one is bumped.
        progress: called with rigs done and in all.
    """
    bench = Bench(np.random.default_rng(seed), NoiseModel())
    cameras = tuple(bench.cameras)
    total = clean + bumped * len(cameras) * len(KINDS) + rendered
    plan = [("", "")] * clean + [(c, k) for c in cameras for k in KINDS for _ in range(bumped)]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for done, (camera, kind) in enumerate(plan, start=1):
        rows.setdefault((camera, kind), []).append(bench.trial(camera, kind))
        progress(done, total)
    right = 0
    for index in range(rendered):
        right += bench.rendered(cameras[index // 2 % len(cameras)] if index % 2 else "")
        progress(len(plan) + index + 1, total)
    quiet = rows.pop(("", ""), [])
    every = [outcome for outcomes in rows.values() for outcome in outcomes]
    return {
        "bump_detected": _share(every, "named"),
        "false_alarms": sum(outcome["alarm"] for outcome in quiet),
        "bump_clean_rigs": clean,
        "bump_bumped_rigs": len(every),
        "bump_detected_since_baseline": _share(every, "named_since"),
        "false_alarms_since_baseline": sum(outcome["alarm_since"] for outcome in quiet),
        "bump_rendered_right": f"{right} of {rendered}",
        "bump_table": {f"{camera} {kind}": _row(outcomes) for (camera, kind), outcomes in rows.items()},
    }


class Bench:
    """The simulated robot, and everything random."""

    def __init__(self, rng: np.random.Generator, noise: NoiseModel, postures: int = POSTURES) -> None:
        self.rng, self.noise, self.postures = rng, noise, postures
        self.kinematics, self.cameras = MujocoKinematics(), load_calibration(_SIM).cameras

    def sample(self) -> Trial:
        """An untouched rig."""
        return sample(self.cameras, self.kinematics, self.noise, self.postures, self.rng)

    def trial(self, camera: str, kind: str) -> dict[str, Any]:
        """One rig, checked against its calibration and against a baseline taken before the bump."""
        rig = self.sample()
        first = self.examine(rig)
        later = look_anew(rig, self.kinematics, self.postures, self.rng)
        if camera:
            later = bump(later, camera, *KINDS[kind], self.rng)
        sightings = self.sightings(later)
        verdict = self.examine(later, sightings) if camera else first
        since = self.examine(later, sightings, first.baseline.settled())
        out = {
            "alarm": bool(verdict.bumped),
            "named": verdict.named == {camera},
            "alarm_since": bool(since.bumped),
            "named_since": since.named == {camera},
        }
        if camera and out["named"]:
            shift = next(shift for shift in verdict.off if shift.part == camera)
            twist = later.off(camera)
            out["miss_mm"] = float(np.linalg.norm(1e3 * (shift.translation - twist[:3])))
            out["miss_deg"] = abs(float(shift.degrees - np.degrees(np.linalg.norm(twist[3:]))))
        return out

    def sightings(self, trial: Trial) -> list[Sighting]:
        """What the cameras see, from simulated corners."""
        candidates = []
        for number, truth in enumerate(trial.postures):
            joints = measured(truth, self.noise, self.rng)
            for name, camera in trial.true.items():
                ids, pixels = corners(camera, self.kinematics, truth, trial.T_world_board)
                kept = self.rng.random(len(ids)) > LOST
                ids, pixels = ids[kept], pixels[kept] + CORNER_PX * self.rng.normal(size=(kept.sum(), 2))
                if len(ids) >= MIN_CORNERS:
                    points, believed = BOARD.corners[ids], trial.believed[name]
                    candidates.append(sight(believed, number, points, pixels, self.kinematics, joints))
        return choose_tilts(candidates, _mounts(trial))

    def examine(
        self, trial: Trial, sightings: list[Sighting] | None = None, prior: Prior | None = None
    ) -> Verdict:
        """What the check says of a rig."""
        sightings = self.sightings(trial) if sightings is None else sightings
        return check(Rig(_mounts(trial), sightings, self.noise, prior), tuple(trial.believed))

    def rendered(self, camera: str) -> bool:
        """Whether a rig with rendered pictures is judged right."""
        rig = self.sample()
        if camera:
            rig = bump(rig, camera, *KINDS["both"], self.rng)
        examiner = Examiner(Claims(rig.believed, self.kinematics, (4, 4)), BOARD, self.noise)
        for snapshot in pictures(rig, self.kinematics, self.noise, self.rng):
            examiner.add(snapshot)
        return examiner.verdict().named == ({camera} if camera else set())


def _mounts(trial: Trial) -> dict[str, np.ndarray]:
    return {name: camera.T_link_camera_optical for name, camera in trial.believed.items()}


def _share(outcomes: list[dict[str, Any]], key: str) -> float | None:
    return sum(outcome[key] for outcome in outcomes) / len(outcomes) if outcomes else None


def _row(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table: of how many rigs, alarms, rightly named, and how wrong the amount was."""
    row: dict[str, Any] = {"rigs": len(outcomes)}
    row |= {key: sum(outcome[key] for outcome in outcomes) for key in ("alarm", "named", "named_since")}
    for key in ("miss_mm", "miss_deg"):
        known = [outcome[key] for outcome in outcomes if key in outcome]
        row[f"{key}_p50"] = float(np.median(known)) if known else None
    return row
