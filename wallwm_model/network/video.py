"""The multi-view video tower: diffusers' Wan DiT with a cross-view branch in every block.

Every camera is a batch item of its own, so a pretrained single-view Wan runs unchanged inside; after the
within-view self-attention all cameras' tokens of one latent frame attend to each other:

    h <- h + g * W_view * CrossViewAttn(h),    W_view = 0 at the start (method.md, section 2)

so that at initialisation V views are bit for bit V copies of the single-view model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformer3DModel,
    WanTransformerBlock,
)
from einops import rearrange
from torch import Tensor, nn

Rotary = tuple[Tensor, Tensor]


class MultiViewBlock(WanTransformerBlock):
    """A stock Wan block plus the cross-view branch; the stock parameters keep their names."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, *args, eps: float = 1e-6, **kwargs):
        super().__init__(dim, ffn_dim, num_heads, *args, eps=eps, **kwargs)
        self.cross_view_norm = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.cross_view = WanAttention(
            dim=dim, heads=num_heads, dim_head=dim // num_heads, eps=eps, processor=WanAttnProcessor()
        )
        self.cross_view_out = nn.Linear(dim, dim, bias=False)
        self.cross_view_table = nn.Parameter(torch.randn(1, 3, dim) / dim**0.5)
        self.reset_cross_view()

    @torch.no_grad()
    def reset_cross_view(self) -> None:
        """Copy the within-view attention into the branch and close it (W_view = 0)."""
        self.cross_view.load_state_dict(self.attn1.state_dict())
        self.cross_view_out.weight.zero_()

    def forward(
        self, hidden: Tensor, text: Tensor, temb: Tensor, rotary: Rotary, layout: ViewLayout
    ) -> Tensor:
        """hidden (B*V, S, D), text (B*V, L, D), temb (B*V, 6, D) or per token (B*V, S, 6, D)."""
        per_token = temb.ndim == 4
        axis = 2 if per_token else 1
        table = self.scale_shift_table[:, None] if per_token else self.scale_shift_table
        shift, scale, gate, c_shift, c_scale, c_gate = (
            part.squeeze(2) if per_token else part for part in (table + temb.float()).chunk(6, dim=axis)
        )
        normed = (self.norm1(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        attended = self.attn1(normed, None, None, rotary)
        hidden = (hidden.float() + attended * gate).type_as(hidden)

        hidden = self._exchange_views(hidden, temb, layout, per_token)

        normed = self.norm2(hidden.float()).type_as(hidden)
        hidden = hidden + self.attn2(normed, text, None, None)

        normed = (self.norm3(hidden.float()) * (1 + c_scale) + c_shift).type_as(hidden)
        return (hidden.float() + self.ffn(normed).float() * c_gate).type_as(hidden)

    def _exchange_views(self, hidden: Tensor, temb: Tensor, layout: ViewLayout, per_token: bool) -> Tensor:
        table = self.cross_view_table[:, None] if per_token else self.cross_view_table
        axis = 2 if per_token else 1
        modulation = table + temb.float().narrow(axis, 0, 3)
        shift, scale, gate = (
            part.squeeze(2) if per_token else part for part in modulation.chunk(3, dim=axis)
        )
        normed = (self.cross_view_norm(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        mixed = layout.split(
            [self.cross_view(group, None, bias, rope) for group, rope, bias in layout.join(normed)]
        )
        return (hidden.float() + self.cross_view_out(mixed) * gate).type_as(hidden)


class ViewLayout:
    """How a batch of single-view sequences regroups into one sequence per latent frame, and back.

    A sequence holds `extras` tokens and the keyframe's patches, which form one group, then the patches of
    every later latent frame, which form one group each. `biases` are added to the attention logits of the
    first group (B, 1, V*first, V*first) and of the later ones (B*F, 1, V*patches, V*patches); None adds none.
    """

    def __init__(
        self, views: int, first: int, patches: int, ropes: tuple[Rotary, Rotary],
        biases: tuple[Tensor | None, Tensor | None] = (None, None),
    ):  # fmt: skip
        self.views, self.first, self.patches, self.ropes, self.biases = views, first, patches, ropes, biases

    def join(self, tokens: Tensor) -> list[tuple[Tensor, Rotary, Tensor | None]]:
        """(B*V, S, D) -> groups [(B, V*first, D)] and, with later frames, (B*F, V*patches, D)."""
        head = rearrange(tokens[:, : self.first], "(b v) s d -> b (v s) d", v=self.views)
        groups = [(head, self.ropes[0], self.biases[0])]
        if tokens.shape[1] > self.first:
            rest = rearrange(
                tokens[:, self.first :], "(b v) (f p) d -> (b f) (v p) d", v=self.views, p=self.patches
            )
            groups.append((rest, self.ropes[1], self.biases[1]))
        return groups

    def split(self, groups: list[Tensor]) -> Tensor:
        """The inverse of `join`, without the rotations."""
        parts = [rearrange(groups[0], "b (v s) d -> (b v) s d", v=self.views)]
        if len(groups) > 1:
            batch = groups[0].shape[0]
            parts.append(
                rearrange(groups[1], "(b f) (v p) d -> (b v) (f p) d", b=batch, v=self.views, p=self.patches)
            )
        return torch.cat(parts, dim=1)


def sight_biases(masks: Tensor, views: int, extras: int) -> tuple[Tensor, Tensor]:
    """Masks (B, F, V*P, V*P) -> additive biases of a `ViewLayout`.

    Finite instead of -inf, so that exported graphs agree on every backend.
    """
    bias = (masks.float() - 1) * 1e4
    grid = rearrange(bias[:, 0], "b (v p) (w q) -> b v p w q", v=views, w=views)
    first = rearrange(F.pad(grid, (extras, 0, 0, 0, extras, 0)), "b v p w q -> b 1 (v p) (w q)")
    return first, rearrange(bias[:, 1:], "b f p q -> (b f) 1 p q")


class MultiViewWan(WanTransformer3DModel):
    """A stock Wan DiT whose blocks exchange views; loads a stock state dict with only the branch missing.

    The camera rotation takes the band of the frequency bank that belongs to time: inside one latent frame
    that band is constant and cancels out of q.k, so it is free to carry the view (Camera RoPE). Its
    angles are a learnable table (V, t_dim / 2), shared by all layers.
    """

    def __init__(self, views: int, **config):
        super().__init__(**config)
        heads, dim = self.config.num_attention_heads, self.config.attention_head_dim
        args = (heads * dim, self.config.ffn_dim, heads, self.config.qk_norm, self.config.cross_attn_norm)
        self.blocks = nn.ModuleList(
            MultiViewBlock(*args, eps=self.config.eps) for _ in range(self.config.num_layers)
        )
        self.views = views
        self.view_angles = nn.Parameter(
            torch.arange(views, dtype=torch.float32)[:, None].repeat(1, self.rope.t_dim // 2)
        )

    def rotary(self, frames: int, height: int, width: int, extras: int) -> Rotary:
        """Within-view rotations (1, S, 1, head_dim); extra tokens are not rotated."""
        cos, sin = self.rope(torch.empty(1, 1, frames, height, width, device=self.view_angles.device))
        ones = torch.ones(1, extras, 1, cos.shape[-1], dtype=cos.dtype, device=cos.device)
        return torch.cat([ones, cos], dim=1).float(), torch.cat([ones * 0, sin], dim=1).float()

    def layout(
        self, height: int, width: int, extras: int, frames: int, masks: Tensor | None = None
    ) -> ViewLayout:
        """Regrouping and cross-view rotations for sequences of `extras` + frames x patches tokens.

        Args:
            masks: (B, frames, V*P, V*P), 1 where two patches may attend to each other, else 0 (sight cones or
                frustums, `wallwm_model.geometry`); the extra tokens attend to everything.
        """
        first = self._view_rotary(height, width, extras)
        later = self._view_rotary(height, width, 0) if frames > 1 else first
        p_h, p_w = self.config.patch_size[1:]
        patches = (height // p_h) * (width // p_w)
        biases = (None, None) if masks is None else sight_biases(masks, self.views, extras)
        return ViewLayout(self.views, extras + patches, patches, (first, later), biases)

    def _view_rotary(self, height: int, width: int, extras: int) -> Rotary:
        cos, sin = self.rotary(1, height, width, extras)
        band = self.rope.t_dim
        angles = self.view_angles.repeat_interleave(2, dim=1)  # (V, t_dim), as diffusers lays pairs out

        def place(spatial: Tensor, view: Tensor) -> Tensor:
            spatial = spatial.expand(self.views, -1, -1, -1)
            view = view[:, None, None].expand(-1, spatial.shape[1], -1, -1)
            return rearrange(torch.cat([view, spatial[..., band:]], dim=-1), "v s h d -> 1 (v s) h d")

        return place(cos, angles.cos()), place(sin, angles.sin())

    def embed_time(self, timestep: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """timestep (B,), text (B, L, T) -> temb (B, D), modulation (B, 6, D), text tokens (B, L, D)."""
        temb, modulation, text, _ = self.condition_embedder(timestep, text)
        return temb, modulation.unflatten(1, (6, -1)), text

    def embed_patches(self, latents: Tensor) -> Tensor:
        """latents (B*V, C, F, h, w) -> tokens (B*V, F*patches, D)."""
        return self.patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()

    def run(
        self, hidden: Tensor, text: Tensor, temb: Tensor, rotary: Rotary, layout: ViewLayout
    ) -> list[Tensor]:
        """Hidden states (B*V, S, D) after every block."""
        states = []
        for block in self.blocks:
            hidden = block(hidden, text, temb, rotary, layout)
            states.append(hidden)
        return states

    def velocity(self, hidden: Tensor, temb: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Patch tokens (B*V, F*patches, D), temb (B*V, D) or per token (B*V, S, D) -> (B*V, C, F, h, w)."""
        temb = temb[:, None] if temb.ndim == 2 else temb
        shift, scale = (self.scale_shift_table[:, None] + temb[:, :, None]).chunk(2, dim=2)
        hidden = (self.norm_out(hidden.float()) * (1 + scale.squeeze(2)) + shift.squeeze(2)).type_as(hidden)
        p_h, p_w = self.config.patch_size[1:]
        return rearrange(
            self.proj_out(hidden),
            "b (f h w) (p q c) -> b c f (h p) (w q)",
            f=frames,
            h=height // p_h,
            w=width // p_w,
            p=p_h,
            q=p_w,
        )

    def forward(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """Velocity of all views: (B, V, C, F, h, w), timestep (B,), text (B, L, T) -> (B, V, C, F, h, w)."""
        batch, views, _, frames, height, width = latents.shape
        flat = latents.flatten(0, 1)
        temb, modulation, words = self.embed_time(
            timestep.repeat_interleave(views), text.repeat_interleave(views, 0)
        )
        states = self.run(
            self.embed_patches(flat),
            words,
            modulation,
            self.rotary(frames, height, width, 0),
            self.layout(height, width, 0, frames),
        )
        out = self.velocity(states[-1], temb, frames, height, width)
        return out.unflatten(0, (batch, views))
