"""The Qwen2.5-VL picture encoder on pictures of one fixed size, batched and free of shape arithmetic.

transformers' own forward packs pictures of any size into one sequence and splits it by lists of lengths.
Robot
cameras never change their size: order, positions and windows are tables here. Equal to transformers' forward.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from wallwm_model.network.language.config import VisionConfig
from wallwm_model.network.language.layers import FORBIDDEN, rotate
from wallwm_model.network.stem import Stem, soft_argmax


class KeypointStem(nn.Module):
    """Takes the place of Qwen's linear patch embedding in the stand-in backbone; (N, V, 3, H, W) -> (N *
    V, S, width).

    Its convolutions and key points are those of the video tower's keyframe stem (`network.stem.Stem`), copied
    from a trained one: pictures this small, and so few of them, are too little to learn seeing from anew. A
    fixed first camera has a stem of its own, arm-mounted ones share one. Every patch is told all key points
    of its picture, and what the tower's trained reading of all views' key points (`world.Objects`) makes of
    them: with it comes triangulation.
    """

    def __init__(self, views: int, image: int, patch: int, width: int, keypoints: int):
        super().__init__()
        self.stems = nn.ModuleList(Eyes(image, keypoints) for _ in ("fixed", "arm-mounted"))
        self.shrink = nn.AvgPool2d(patch // 8) if patch > 8 else nn.Identity()
        self.patch = nn.Conv2d(96, width, 3, stride=2, padding=1)
        self.points = nn.Sequential(
            nn.Linear(6 * keypoints, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.objects = nn.Linear(6 * keypoints * views, 256)
        self.places = nn.Linear(256, width)

    def forward(self, pictures: Tensor) -> Tensor:
        views = [pictures[:, :1], pictures[:, 1:]]
        seen = [stem(part.flatten(0, 1)) for stem, part in zip(self.stems, views)]
        fine, points = (
            torch.cat([x.unflatten(0, (-1, part.shape[1])) for x, part in zip(found, views)], dim=1).flatten(
                0, 1
            )
            for found in zip(*seen)
        )
        patches = self.patch(self.shrink(fine)).flatten(2).transpose(1, 2)
        known = self.places(
            nn.functional.silu(self.objects(points.unflatten(0, (-1, pictures.shape[1])).flatten(1)))
        )
        known = known.repeat_interleave(pictures.shape[1], dim=0)
        return patches + (self.points(points) + known)[:, None]

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take over the trained parts of a video tower and freeze them.

        `weights` are the tower's: `stems.0.edge.0.weight`, `objects.hidden.weight` and so on.
        """
        for module, theirs in ((self.stems, "stems"), (self.objects, "objects.hidden")):
            module.load_state_dict({name: weights[f"{theirs}.{name}"] for name in module.state_dict()})
            module.requires_grad_(False)
        known = weights["objects.out.weight"]  # gives positions and turns: every patch starts with them
        with torch.no_grad():
            self.places.weight[: len(known)] = known
            self.places.bias[: len(known)] = weights["objects.out.bias"]

    def given(self) -> nn.ModuleList:
        """What `start_from` takes over: never trained here."""
        return nn.ModuleList([self.stems, self.objects])


class Eyes(nn.Module):
    """What sees in `network.stem.Stem`: (N, 3, H, W) -> features (N, 96, H/4, W/4), key points (N, 6 K)."""

    def __init__(self, image: int, keypoints: int):
        super().__init__()
        whole = Stem(image, 8, keypoints, 16)
        self.register_buffer("coordinates", whole.coordinates, persistent=False)
        self.edge, self.fine, self.maps, self.sharp_maps = (
            whole.edge,
            whole.fine,
            whole.maps,
            whole.sharp_maps,
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        edge = self.edge(torch.cat([image, self.coordinates.expand(len(image), -1, -1, -1)], dim=1))
        fine = self.fine(edge)
        return fine, torch.cat([soft_argmax(self.maps(fine)), soft_argmax(self.sharp_maps(edge))], dim=1)


class Sight(nn.Module):
    """Runs a Qwen2.5-VL vision tower, which it does not own, on (B, V, H, W, 3) uint8 pictures."""

    def __init__(self, config: VisionConfig, tower: Qwen2_5_VisionTransformerPretrainedModel):
        super().__init__()
        self.config = config
        side, merge = config.image // config.patch, config.merge
        # Qwen's order: the patches that become one token lie next to each other.
        index = torch.arange(side * side).view(side // merge, merge, side // merge, merge)
        order = index.permute(0, 2, 1, 3).flatten()
        place = torch.stack([order // side, order % side], dim=-1)
        cos, sin = tower.rotary_pos_emb(place, place)
        window = config.window // merge // config.patch * merge  # patches along one side of a window
        cell = place // window
        apart = (cell[:, None] != cell[None]).any(-1)
        bias = torch.zeros(len(order), len(order)).masked_fill(apart, FORBIDDEN)
        self.windowed = side > window
        for name, value in (("order", order), ("cos", cos), ("sin", sin), ("bias", bias)):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)

    def forward(self, tower: nn.Module, pictures: Tensor) -> Tensor:
        """-> (B * V, tokens, backbone width)."""
        pictures = (pictures.movedim(-1, 2).to(self.mean.dtype) / 255 - self.mean) / self.std
        hidden = self.embed(tower, pictures)
        for number, block in enumerate(tower.blocks):
            full = number in self.config.full or not self.windowed
            hidden = self.block(block, hidden, None if full else self.bias)
        merged = tower.merger.ln_q(hidden).unflatten(1, (-1, self.config.merge**2)).flatten(2)
        return tower.merger.mlp(merged)

    def embed(self, tower: nn.Module, pictures: Tensor) -> Tensor:
        """Normalised pictures (B, V, 3, H, W) -> patches in Qwen's order (B * V, S, width)."""
        stem, patch = tower.patch_embed, self.config.patch
        if self.config.stem == "keypoints":
            return stem(pictures)[:, self.order]
        pictures = pictures.flatten(0, 1)
        cut = F.unfold(pictures, patch, stride=patch).transpose(1, 2)[:, self.order]
        # A still picture is two frames alike. Qwen's kernels cover a patch each: its convolution is a product.
        return F.linear(cut, stem.proj.weight.sum(2).flatten(1))

    def block(self, block: nn.Module, hidden: Tensor, bias: Tensor | None) -> Tensor:
        """One block over (N, S, D)."""
        attention = block.attn
        mixed = attention.qkv(block.norm1(hidden)).unflatten(-1, (3, attention.num_heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        rotary = (self.cos, self.sin)
        found = F.scaled_dot_product_attention(
            rotate(query, rotary), rotate(key, rotary), value, attn_mask=bias
        )
        hidden = hidden + attention.proj(found.transpose(1, 2).flatten(2))
        return hidden + block.mlp(block.norm2(hidden))
