"""Are sight masks right, and what do they cost? Against brute force, the simulator's depth, and a clock.

`run` returns figures, `table` prints them. The report's closest-approach cones go through the same trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wallwm_model.calibration import load_calibration
from wallwm_model.geometry import SightMasks, rigs, truth
from wallwm_model.transforms import inverse

RIGS, SCENES, UPDATES = 200, 40, 40
NANO, WAN = (4, 4), (30, 52)  # patches (rows, columns) of a view; three views
RAYS, DEPTHS = 2500, 40  # sampled points of a view's pyramids
_SIM = Path(__file__).resolve().parents[1] / "calibration" / "sim.yaml"
Progress = Callable[[int, int], None]


def run(
    rigs_count: int = RIGS,
    scenes: int = SCENES,
    updates: int = UPDATES,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Everything about masks.

    Args:
        rigs_count: random rigs, all lens models and kinds of pose in turn.
        scenes: postures of the simulated robot; 0 or no MuJoCo: nothing from the simulator.
        updates: masks timed for each figure.
        on_progress: called with what is done and how much there is.

    Returns:
        mask_recall, mask_precision (`brute_force`), mask_ms (`clock`) and more; times are CPU time of one
        core, medians.
    """
    report = on_progress or (lambda done, of: None)
    total = rigs_count + scenes + 1
    figures = brute_force(rigs_count, seed, lambda done: report(done, total))
    figures["rendered"] = rendered(scenes, seed, lambda done: report(rigs_count + done, total))
    figures |= clock(updates, seed)
    report(total, total)
    return figures


def brute_force(count: int, seed: int = 0, on_done: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Masks of random rigs against points drawn in the patches' pyramids, at 4 x 4 patches a view.

    A pair of patches is co-visible if a point of the one's pyramid was found in the other's: one of those
    drawn in every direction, or, for pairs that our mask allows, one driven there. Slivers may escape both,
    so the precision is a lower bound where lenses bend; where none does, the rest is decided exactly.
    """
    rng = np.random.default_rng(seed)
    tallies = {name: np.zeros(4, np.int64) for name in ("frustum", "cone", *rigs.LENSES)}
    for number in range(count):
        rig = rigs.random_rig(rng, rigs.LENSES[number % 5], rigs.PLACES[number // 5 % 4])
        masks = {m: SightMasks(rig.cameras, NANO, m).update(rig.poses) for m in ("frustum", "cone")}
        for i, j in ((0, 1), (0, 2), (1, 2)):
            found = {m: mask.reshape(3, 16, 3, 16)[i, :, j] for m, mask in masks.items()}
            drawn, true = _truth(rig, i, j, found["frustum"], rng)
            for method, mask in found.items():
                seen = drawn if method == "frustum" else true
                tallies[method] += _tally(mask, seen, true)
            tallies[rig.lens] += _tally(found["frustum"], drawn, true)
        if on_done:
            on_done(number + 1)
    shares = {name: _shares(tally) for name, tally in tallies.items()}
    return {
        "rigs": count,
        "points_per_rig": 6 * RAYS * DEPTHS,
        "covisible_pairs": int(tallies["frustum"][0]),
        "missed_pairs": int(tallies["frustum"][1]),
        **shares["frustum"],
        "cone": shares["cone"],
        "lens": {lens: shares[lens] for lens in rigs.LENSES},
    }


def _truth(
    rig: rigs.Rig, i: int, j: int, allowed: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(16, 16) pairs found by drawing alone, whatever a mask says; and with allowed ones searched for."""
    a, b, T_b_a = rig.cameras[i], rig.cameras[j], inverse(rig.poses[j]) @ rig.poses[i]
    there = truth.sampled(a, b, T_b_a, NANO, rng, RAYS, DEPTHS)
    back = truth.sampled(b, a, inverse(T_b_a), NANO, rng, RAYS, DEPTHS)
    drawn = (there > 0) | (back > 0).T
    true = drawn.copy()
    for row, column in np.argwhere(allowed & ~drawn).tolist():
        true[row, column] = truth.search(a, b, T_b_a, NANO, (row, column), rng) or (
            rig.lens == "none" and truth.meet(a, b, T_b_a, NANO, (row, column)) > 0
        )
    return drawn, true


def _tally(mask: np.ndarray, seen: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pairs seen; of them not allowed; pairs allowed; of them not true."""
    return np.array([seen.sum(), (seen & ~mask).sum(), mask.sum(), (mask & ~true).sum()])


def _shares(tally: np.ndarray) -> dict[str, float | None]:
    seen, missed, allowed, wrong = tally.tolist()
    return {
        "mask_recall": 1 - missed / seen if seen else None,
        "mask_precision": 1 - wrong / allowed if allowed else None,
    }


def rendered(
    scenes: int, seed: int = 0, on_done: Callable[[int], None] | None = None
) -> dict[str, Any] | None:
    """Masks of the simulated robot against depth pictures; None without MuJoCo, or for no scenes."""
    try:
        from wallwm_model.eval.sight_depth import DepthTrial, surface_shares
        from wallwm_model.sim.robot import CAMERAS, build_model

        build_model()
    except ModuleNotFoundError:
        return None
    if not scenes:
        return None
    cameras = [load_calibration(_SIM).cameras[name] for name in CAMERAS]
    kinds = {
        "nano": (NANO, "frustum"), "nano_cone": (NANO, "cone"), "wan": (WAN, "frustum"), "wan_cone": (WAN,
        "cone")
    }  # fmt: skip
    masks = [SightMasks(cameras, *kind) for kind in kinds.values()]
    found = surface_shares(DepthTrial(cameras, seed), masks, scenes, on_done)
    return {"scenes": scenes, **dict(zip(kinds, found))}


def clock(updates: int, seed: int = 0) -> dict[str, Any]:
    """Time of one mask at nano and at Wan token counts, of the same rigs for every method, interleaved."""
    out: dict[str, Any] = {
        "mask_ms": {},
        "mask_ms_one_arm": {},
        "mask_ms_distorted": {},
        "mask_ms_fisheye": {},
    }
    out |= {"cone_ms": {}, "torch_cone_ms": {}, "torch_frustum_ms": {}, "torch_ratio": {}}
    for name, grid in (("nano", NANO), ("wan", WAN)):
        out["mask_ms"][name], out["mask_ms_one_arm"][name] = _time("none", grid, updates, seed)
        out["mask_ms_distorted"][name] = _time("plumb_bob", grid, updates, seed)[0]
        out["mask_ms_fisheye"][name] = _time("equidistant", grid, updates, seed)[0]
        few = updates if name == "nano" else min(updates, 3)
        out["cone_ms"][name] = _time("none", grid, few, seed, "cone")[0]
        cone, frustum = _torch_ms(grid, few, seed)
        out["torch_cone_ms"][name], out["torch_frustum_ms"][name] = cone, frustum
        out["torch_ratio"][name] = None if frustum is None else frustum / out["mask_ms"][name]
    return out


def _time(
    lens: str, grid: tuple[int, int], updates: int, seed: int, method: str = "frustum"
) -> tuple[float, float]:
    """Median milliseconds of a mask after all cameras moved, and after one wrist did."""
    rng = np.random.default_rng(seed)
    full, one = [], []
    for _ in range(4):
        rig = rigs.random_rig(rng, lens)
        masks = SightMasks(rig.cameras, grid, method)
        masks.update(rig.poses)
        poses = rig.poses
        for _ in range(-(-updates // 4)):
            for moving, times in (((0, 1, 2), full), ((1,), one)):
                poses = [_shaken(pose, rng) if view in moving else pose for view, pose in enumerate(poses)]
                start = time.thread_time_ns()
                masks.update(poses)
                times.append((time.thread_time_ns() - start) / 1e6)
    return float(np.median(full)), float(np.median(one))


def _shaken(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = pose.copy()
    moved[:3, 3] += rng.normal(0.0, 0.003, 3)
    return moved


def _torch_ms(grid: tuple[int, int], updates: int, seed: int) -> tuple[float | None, float | None]:
    try:
        from wallwm_model.eval.sight_torch import torch_ms
    except ModuleNotFoundError:
        return None, None
    return torch_ms(grid, updates, seed)


def table(result: dict[str, Any]) -> None:
    """Print what `run` found."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    masks = Table(
        title=f"Sight masks against brute force, {result['rigs']} random rigs, 4 x 4 patches a view"
    )
    for heading in ("mask", "recall", "precision"):
        masks.add_column(heading)
    rows = [("frustum (ours)", result), *((f"  lens: {k}", v) for k, v in result["lens"].items())]
    for name, found in (*rows, ("cone (the report's)", result["cone"])):
        masks.add_row(name, _percent(found["mask_recall"]), _percent(found["mask_precision"]))
    console.print(masks)
    if result["rendered"]:
        depth = Table(
            title=f"Against depth pictures of {result['rendered']['scenes']} postures of the simulated robot"
        )
        for heading in (
            "tokens, mask",
            "co-visible pairs",
            "of them allowed",
            "allowed pairs with a common surface",
        ):
            depth.add_column(heading)
        for name, found in result["rendered"].items():
            if name != "scenes":
                shares = _percent(found["recall"]), _percent(found["share_on_a_surface"])
                depth.add_row(name.replace("_", ", "), str(found["pairs"]), *shares)
        console.print(depth)
    times = Table(title="CPU time of one core per mask of three views [ms]")
    for heading in ("", "3 x 16 tokens", "3 x 1,560 tokens"):
        times.add_column(heading)
    for key, name in _TIMES.items():
        times.add_row(
            name, *("-" if result[key][n] is None else f"{result[key][n]:.3g}" for n in ("nano", "wan"))
        )
    console.print(times)


_TIMES = {
    "mask_ms": "frustum, all cameras moved",
    "mask_ms_one_arm": "frustum, one wrist moved",
    "mask_ms_distorted": "frustum, plumb_bob lenses",
    "mask_ms_fisheye": "frustum, fisheye lenses",
    "cone_ms": "cone",
    "torch_cone_ms": "cone, straightforward torch",
    "torch_frustum_ms": "frustum, straightforward torch",
    "torch_ratio": "  as a multiple of ours",
}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.4g} %"
