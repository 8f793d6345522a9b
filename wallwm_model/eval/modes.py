"""Policies side by side: every mode of every bundle, on the same held-out scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from wallwm_model.engines import load_engine
from wallwm_model.errors import ConfigError
from wallwm_model.eval.closed_loop import Driver, EventDriver, UnifiedDriver, evaluate
from wallwm_model.eval.intervals import wilson
from wallwm_model.policy import Policy
from wallwm_model.sim.scene import TASKS
from wallwm_model.sim.variations import VARIATIONS

Report = Callable[[str, int, int], None]


def drivers(bundles: Mapping[str, Path], engine: str, threads: int) -> dict[str, Driver]:
    """Policy name -> driver, for all that each bundle can do: `event`, `unified_instruction`, ...

    `event_vlm` is event mode with the VLM conditioner. With several bundles the bundle's name stands in front.
    """
    out: dict[str, Driver] = {}
    for name, folder in bundles.items():
        loaded = load_engine(folder, engine, threads)
        found, spec, policy = {}, loaded.spec, Policy(loaded)
        if "event" in spec.modes:
            found["event"] = EventDriver(policy)
        if "event" in spec.modes and "vlm" in spec.conditioners:
            found["event_vlm"] = EventDriver(Policy(loaded, conditioner="vlm"))
        if "unified" in spec.modes:
            found |= {f"unified_{source}": UnifiedDriver(policy, source) for source in spec.sources}
        prefix = "" if len(bundles) == 1 else f"{name} "
        out |= {f"{prefix}{what}": driver for what, driver in found.items()}
    return out


def compare(
    policies: Mapping[str, Driver], *, tasks: tuple[str, ...], variations: tuple[str, ...], episodes: int,
    seed: int, report: Report,
) -> dict:  # fmt: skip
    """Success of every policy on every task and variation.

    Args:
        report: called with (policy, episodes done, successes) after every episode.

    Returns:
        `success`: policy -> `rate`, `interval95` over all plain scenes; `by_scene`: policy -> task -> variation
        -> `success`, `episodes`, `rate`, `interval95`.

    Raises:
        ConfigError: unknown task or variation.
    """
    for what, asked, valid in (("task", tasks, TASKS), ("variation", variations, VARIATIONS)):
        unknown = [name for name in asked if name not in valid]
        if unknown:
            raise ConfigError(f"{what} must be among {', '.join(valid)}; found {', '.join(unknown)}")
    by_scene: dict = {}
    for name, driver in policies.items():
        for task in tasks:
            for variation in variations:
                tally = evaluate(
                    driver, task, episodes, seed, variation=variation,
                    report=lambda done, tally: report(name, done, sum(tally.tasks)),
                )  # fmt: skip
                row = by_scene.setdefault(name, {}).setdefault(task, {})
                row[variation] = rate(sum(tally.tasks), episodes) | {"events": tally.rows()}
    return {"success": {name: _plain(rows) for name, rows in by_scene.items()}, "by_scene": by_scene}


def rate(success: int, episodes: int) -> dict:
    """A success rate with its 95 % Wilson interval."""
    return {
        "success": success,
        "episodes": episodes,
        "rate": success / episodes,
        "interval95": list(wilson(success, episodes)),
    }


def _plain(rows: dict) -> dict:
    """All tasks of the first variation together (`plain` where it was asked for)."""
    chosen = [found.get("plain") or next(iter(found.values())) for found in rows.values()]
    return rate(sum(r["success"] for r in chosen), sum(r["episodes"] for r in chosen))
