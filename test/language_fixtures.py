"""A tiny, untrained language side and made-up moments, shared by the language tests."""

from __future__ import annotations

import dataclasses


def tiny_config(**changes):
    from wallwm_model.network.language.config import LanguageConfig, Transformer, VisionConfig

    vision = VisionConfig(
        image=32, patch=8, width=16, layers=2, heads=2, ffn=24, stem="keypoints", window=32, full=(1,)
    )
    config = LanguageConfig(
        vision=vision,
        backbone=Transformer(width=24, layers=4, heads=2, kv_heads=1, ffn=32),
        reader=Transformer(width=32, layers=2, heads=2, kv_heads=2, ffn=64),
        relay=2,
        sections=(2, 2, 2),
        latents=4,
        most_latents=8,
        text_width=16,
        head_width=16,
    )
    return dataclasses.replace(config, **changes)


def tiny_language(seed: int = 0, **changes):
    """An untrained `Language`, moved off its zero initialisations so that every path counts."""
    import torch

    from wallwm_model.network.language.model import Language

    torch.manual_seed(seed)
    language = Language(tiny_config(**changes)).eval()
    for parameter in language.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return language


def observation(language, batch: int = 2, seed: int = 0):
    """Random pictures (B, V, H, W, 3) and texts (B, L) of 9 words and padding."""
    import torch

    config, generator = language.config, torch.Generator().manual_seed(seed)
    side = config.vision.image
    pictures = torch.randint(
        0, 256, (batch, config.views, side, side, 3), dtype=torch.uint8, generator=generator
    )
    text = torch.randint(1, 30, (batch, config.text_length), generator=generator)
    text[:, 9:] = 0
    return pictures, text


def moments(language, batch: int = 4, seed: int = 0):
    """A made-up training batch whose reasoning texts differ from one another."""
    import torch

    from wallwm_model.train.language_data import Moments

    config, generator = language.config, torch.Generator().manual_seed(seed)
    pictures, instruction = observation(language, batch, seed)
    reason = torch.randint(1, 60, (batch, config.reason_length), generator=generator)
    reason[:, 12], reason[:, 13:] = config.end, 0
    return Moments(
        pictures=pictures,
        instruction=instruction,
        caption=torch.where(torch.arange(config.text_length) < 7, instruction, 0),
        reason=reason,
        remaining=torch.rand(batch, generator=generator),
        xyz=torch.rand(batch, 9, 3, generator=generator),
        mask=torch.ones(batch, 9, dtype=torch.bool),
    )
