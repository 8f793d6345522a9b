"""Where a calibration comes from, and what is said of it when a part is measured anew."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from wallwm_model.errors import ConfigError

PARTS = ("intrinsics", "mount")


@dataclass(frozen=True)
class Provenance:
    """Where a calibration comes from.

    Attributes:
        date: `YYYY-MM-DD`.
        method: in words, e.g. `ChArUco board 8x6, 24 views, plumb_bob`.
        residuals: name -> value; the name ends in its unit, e.g. `reprojection_px`, `handeye_mm`.

    Raises:
        ConfigError: a date, method or residual that is none.
    """

    date: str
    method: str
    residuals: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            if datetime.date.fromisoformat(self.date).isoformat() != self.date:
                raise ValueError("newer Pythons read other spellings too")
        except (TypeError, ValueError):
            raise ConfigError(f"provenance.date must be a day, YYYY-MM-DD; found {self.date!r}") from None
        method = self.method
        if not isinstance(method, str) or not method.strip() or method.splitlines() != [method]:
            raise ConfigError(f"provenance.method must say on one line how; found {self.method!r}")
        for name, value in self.residuals.items():
            if not isinstance(name, str) or not name:
                raise ConfigError(f"provenance.residuals must have names in text; found {name!r}")
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ConfigError(f"provenance.residuals.{name} must be a number, 0 or more; found {value!r}")


def renewed(
    old: Provenance | None, new: Mapping[str, str], date: str, residuals: Mapping[str, float] | None = None
) -> Provenance:
    """The provenance after a part of a calibration was replaced.

    Args:
        old: before; None: nothing was known.
        new: `intrinsics` or `mount` or both -> how it was found, in words.
        date: of that, YYYY-MM-DD.
        residuals: of that.

    Returns:
        What is new, and of the other part what was said of it, with its date and its residuals.
    """
    parts, kept = [f"{part} {text}" for part, text in new.items()], {}
    for other in PARTS if old is not None else ():
        if other in new:
            continue
        # A measurement over a measurement would otherwise drag along what it has replaced.
        said = next((p for p in old.method.split("; ") if p.startswith(other)), f"{other} {old.method}")
        parts.append(said if said.endswith(")") else f"{said} ({old.date})")
        kept |= {name: value for name, value in old.residuals.items() if _part(name) == other}
    return Provenance(date, "; ".join(parts), {**kept, **(residuals or {})})


def _part(residual: str) -> str:
    """The part that a residual speaks of."""
    return "mount" if residual.startswith(("handeye", "mount")) else "intrinsics"
