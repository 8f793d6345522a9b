"""A verdict in words and as JSON."""

from __future__ import annotations

import math
from typing import Any

from wallwm_model.calibration_check.consistency import Shift, Verdict
from wallwm_model.calibration_check.prior import BOARD


def sentences(verdict: Verdict) -> list[str]:
    """What was found, most important first."""
    said = [_off(shift) for shift in verdict.off]
    if not verdict.suspects:
        which = "every camera that was checked" if verdict.blind else "every camera that saw the board"
        said.append(f"{which} is where its calibration says, within the noise")
    if verdict.alternatives:
        named = [" and ".join(sorted(parts)) for parts in verdict.alternatives]
        said.append(
            f"it may be {' or '.join(named)} instead: show the board at more postures, turned differently, "
            "to tell them apart"
        )
    if not verdict.fits:
        said.append(
            "no explanation accounts for all that was seen: the board or the arms moved while pictures were "
            "taken, joints are misread, or intrinsics are wrong"
        )
    if verdict.unseen:
        said.append(f"not checked, because the board was not seen: {', '.join(verdict.unseen)}")
    if verdict.blind:
        said.append(
            f"not checked, because no move would show in what was seen: {', '.join(verdict.blind)}; show the "
            "board at more postures, or to more cameras"
        )
    return said


def _off(shift: Shift) -> str:
    if shift.part == BOARD:
        return f"the board lies elsewhere than in the baseline, by {shift}"
    x, y, z = 1e3 * shift.translation
    return (
        f"{shift.part} is off: its mount has moved by {shift} "
        f"(right {x:+.1f}, down {y:+.1f}, forward {z:+.1f} mm, as the camera looks); calibrate it again"
    )


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Everything in the verdict, in plain types."""
    return {
        "off": [_shift(shift) for shift in verdict.off],
        "alternatives": [sorted(parts) for parts in verdict.alternatives],
        "fits": bool(verdict.fits),
        "sound": bool(verdict.sound),
        "unseen": list(verdict.unseen),
        "blind": list(verdict.blind),
        "cameras": {
            finding.camera: {
                "pictures": finding.pictures,
                "corner_px": float(finding.pixel),
                "chance": float(finding.chance),
                "shift": None if finding.shift is None else _shift(finding.shift),
                "detectable_mm": _finite(finding.detectable_mm),
                "detectable_deg": _finite(finding.detectable_deg),
            }
            for finding in verdict.findings
        },
        "T_world_board": verdict.T_world_board.ravel().tolist(),
        "said": sentences(verdict),
    }


def _shift(shift: Shift) -> dict[str, Any]:
    return {
        "part": shift.part,
        "mm": float(shift.mm),
        "mm_sigma": float(shift.mm_sigma),
        "degrees": float(shift.degrees),
        "degrees_sigma": float(shift.degrees_sigma),
        "translation_mm": (1e3 * shift.translation).tolist(),
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return float(value) if math.isfinite(value) else None
