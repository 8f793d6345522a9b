"""What the 5B model needs at FP8, counted from the preset's sizes: operations, bytes, and the floor that they set.

Nothing here is measured. docs/arithmetic.md carries the tables; a test compares them with this file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from wallwm_model.network.config import NetworkConfig, preset

SECONDS = 1.0  # it only counts
PRESET = "wan2.2-5b"
HORIZON = 64  # steps of the longest chunk, as the nano's
WORDS = 64  # text tokens that the tower reads
THINGS = 12  # object tokens beside them: nine slots, and three that the words name
STATE = 1  # tokens of the joint state
RATE_HZ = 10.0
CACHE_BYTES = 2  # keys and values between `observe` and `act` are of 16 bits
SMALLER = 480  # side of smaller pictures [px]
# Of the VAE's encoder, for one picture of 704 px: operations as `keyframe` counts them, which takes a minute.
KEYFRAME_PX, KEYFRAME_OPERATIONS = 704, 2.311112916992e12


@dataclass(frozen=True)
class Device:
    """Peak figures of a device.

    Attributes:
        source: where they are published.
        fp8, bf16: dense products [operations per second].
        bandwidth: of its memory [bytes per second].
    """

    source: str
    fp8: float
    bf16: float
    bandwidth: float


DEVICES = {
    "H100 SXM": Device(
        "NVIDIA H100 data sheet: 3,958 TFLOPS FP8 with sparsity, half of it dense, BF16 half of that; 3.35 TB/s",
        1.979e15, 0.9895e15, 3.35e12,
    ),
    "Jetson Thor (T5000)": Device(
        "NVIDIA Jetson Thor data sheet: 2,070 TFLOPS FP4 with sparsity, a quarter of it FP8 dense, BF16 half of that; 273 GB/s",
        0.5175e15, 0.25875e15, 0.273e12,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Operations (a product and a sum are two), in FP8 unless `half`, and bytes that must be read at least once."""

    operations: float
    bytes: float
    half: bool = False

    def arithmetic_s(self, device: Device) -> float:
        """Time of the arithmetic alone, at the device's peak [s]."""
        return self.operations / (device.bf16 if self.half else device.fp8)

    def floor_s(self, device: Device) -> float:
        """The least time that it can take: arithmetic or memory, whichever is longer [s]."""
        return max(self.arithmetic_s(device), self.bytes / device.bandwidth)

    def bound(self, device: Device) -> str:
        """Which of the two sets the floor."""
        return "arithmetic" if self.arithmetic_s(device) > self.bytes / device.bandwidth else "memory"


def tower_weights(config: NetworkConfig) -> float:
    """Weights of the matrices in the video tower's blocks: within a view, across views, text, feed-forward."""
    return config.layers * (12 * config.width**2 + 2 * config.width * config.ffn)


def action_weights(config: NetworkConfig) -> float:
    """Weights that one denoising step reads: the action tower without its reading of the video."""
    d = config.action_width
    return config.layers * (10 * d**2 + 3 * d * config.action_ffn) + 8 * d**2


def observe(config: NetworkConfig, past: int) -> Cost:
    """The `observe` graph's towers in FP8.

    Args:
        past: latent frames before the keyframe; 0 in event mode.
    """
    width, views = config.width, config.views
    first, later = config.patches + config.extras, config.patches
    tokens = first + past * later  # of one view
    linear = tokens * (10 * width**2 + 2 * width * config.ffn) * views
    text = views * (WORDS + THINGS) * 2 * width**2  # keys and values, computed for every view
    within = views * 2 * tokens**2 * width
    across = 2 * ((views * first) ** 2 + past * (views * later) ** 2) * width
    cross = views * 2 * tokens * (WORDS + THINGS) * width
    read = (views * tokens + 1) * 2 * width * config.action_width
    products = config.layers * (linear + text + within + across + cross + read)
    weights = tower_weights(config) + config.layers * 2 * width * config.action_width
    return Cost(2 * products, weights)


def act(config: NetworkConfig, past: int, steps: int = HORIZON) -> Cost:
    """One denoising step of a chunk."""
    d, read = config.action_width, config.views * (config.patches + config.extras + past * config.patches) + 1
    linear = steps * (8 * d**2 + 3 * d * config.action_ffn)
    attention = 2 * steps * d * (steps + STATE + read)
    products = config.layers * (linear + attention) + steps * 8 * d**2
    cache = config.layers * read * 2 * d * CACHE_BYTES
    return Cost(2 * products, action_weights(config) + cache)


def keyframes(config: NetworkConfig) -> Cost:
    """The VAE's encoder, one picture per view, in 16 bits; the past is kept from one chunk to the next."""
    area = (config.image / KEYFRAME_PX) ** 2
    return Cost(config.views * KEYFRAME_OPERATIONS * area, 0.0, half=True)


def keyframe(name: str = PRESET) -> float:
    """Operations of the VAE's encoder for one picture, counted on torch's meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from wallwm_model.network.vae import build_codec

    config = preset(name)
    with torch.device("meta"):
        codec, picture = build_codec(config), torch.zeros(1, 3, 1, config.image, config.image)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        codec.encode(picture)
    return float(counter.get_total_flops())


def parts_of(config: NetworkConfig) -> dict[str, Cost]:
    """What one chunk is made of."""
    return {
        "keyframes through the VAE": keyframes(config),
        "observe, event mode": observe(config, 0),
        "observe, unified mode": observe(config, config.history),
        "act, one step": act(config, config.history),
    }


def chunk_s(config: NetworkConfig, device: Device, mode: str, steps: int) -> float:
    """Floor of a whole chunk [s]."""
    floors = {part: cost.floor_s(device) for part, cost in parts_of(config).items()}
    seen = floors["keyframes through the VAE"] + floors[f"observe, {mode} mode"]
    return seen + steps * floors["act, one step"]


def figures(name: str = PRESET) -> dict[str, Any]:
    """Costs of each part, floors on each device, and the floor of a chunk in both modes and two sizes."""
    config = preset(name)
    rows = {
        part: {
            "operations": cost.operations,
            "bytes": cost.bytes,
            "floor_ms": {device: 1e3 * cost.floor_s(found) for device, found in DEVICES.items()},
            "bound": {device: cost.bound(found) for device, found in DEVICES.items()},
        }
        for part, cost in parts_of(config).items()
    }
    sizes = {size: replace(config, image=size) for size in (config.image, SMALLER)}
    chunk = {
        f"{mode}, {size} px, {steps} steps": {
            device: 1e3 * chunk_s(sized, found, mode, steps) for device, found in DEVICES.items()
        }
        for mode in ("event", "unified")
        for size, sized in sizes.items()
        for steps in (2, 10)
    }
    weights = (
        tower_weights(config)
        + action_weights(config)
        + config.layers * 2 * config.width * config.action_width
    )
    return {"preset": name, "weights": weights, "parts": rows, "chunk_floor_ms": chunk}


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    """The figures, calculated and not measured."""
    return {"what": "calculated from the preset's sizes, not measured", **figures()}


def tables() -> str:
    """The tables of docs/arithmetic.md."""
    found = figures()
    lines = ["| part | operations | bytes read | " + " | ".join(f"floor, {name}" for name in DEVICES) + " |"]
    lines.append("|---" * (3 + len(DEVICES)) + "|")
    for part, row in found["parts"].items():
        floors = [f"{row['floor_ms'][d]:.2f} ms ({row['bound'][d]})" for d in DEVICES]
        read = f"{row['bytes'] / 1e9:.2f} GB" if row["bytes"] else "not counted"
        lines.append(f"| {part} | {row['operations'] / 1e12:.2f} T | {read} | {' | '.join(floors)} |")
    lines += [
        "",
        "| whole chunk | "
        + " | ".join(f"{n}: floor, share of peak for {RATE_HZ:g} Hz" for n in DEVICES)
        + " |",
    ]
    lines.append("|---" * (1 + len(DEVICES)) + "|")
    for what, floors in found["chunk_floor_ms"].items():
        cells = [f"{floors[d]:.1f} ms, {floors[d] * RATE_HZ / 10:.0f} %" for d in DEVICES]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables())
