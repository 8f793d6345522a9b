"""The card of a bundle: what it is, in words, for whoever finds the folder."""

from __future__ import annotations

from wallwm_model.spec import ModelSpec

CARD = """# {name}

A WALL-WM policy for the robot profile `{robot}`, exported by wallwm_ros.

| | |
|---|---|
| modes | {modes} |
| cameras | {cameras} |
| action space | {space}, {joints} values at {rate:g} Hz, at most {horizon} steps |
| denoising steps | {steps} |
| precision | {precision}; weights stored as {stored}; computed in {computed} |
| weights and graphs | {size:.1f} MB, {share:.0f} % of true fp32 |
{more}
`spec.json` holds the statistics (`normalisation`) and the calibration contract (`cameras`: intrinsics, lens, mount).
`bundle.json` holds the SHA-256 of every file. `./wallwm engine check FOLDER` verifies all of it. Licence: Apache-2.0.
"""


def card(spec: ModelSpec, facts: dict) -> str:
    """Markdown of a bundle's card, from its specification and its manifest's facts."""
    more = ""
    if "quantisation" in facts:
        told = facts["quantisation"]
        kept = sum(map(len, told["kept_in_16_bits"].values()))
        more = (
            f"| error of chunks | {told['action_error']:.4f} of a joint's spread, RMS; {kept} layers kept in 16 bits |\n"
            f"| calibrated on | {told['looks']} looks: {told['calibrated_on']} |\n"
        )
    precision, size = facts["precision"], facts["size"]
    return CARD.format(
        name=spec.name,
        robot=spec.robot,
        modes=", ".join(spec.modes),
        cameras=", ".join(camera.name for camera in spec.cameras),
        space=spec.action_space,
        joints=len(spec.joints),
        rate=spec.rate_hz,
        horizon=spec.horizon,
        steps=spec.euler_steps,
        precision=precision["name"],
        stored=precision["stored"],
        computed=precision["computed"],
        size=size["bytes"] / 1e6,
        share=100 * size["ratio_to_fp32"],
        more=more,
    )
