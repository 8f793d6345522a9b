"""The multi-view video tower: diffusers' Wan DiT with a cross-view branch in every block.

Every camera is a batch item of its own, so a pretrained single-view Wan runs unchanged inside; after the
within-view self-attention all cameras' tokens of one latent frame attend to each other:

    h <- h + g * W_view * CrossViewAttn(h),    W_view = 0 at the start (method.md, section 2)

so that at initialisation V views are bit for bit V copies of the single-view model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformer3DModel,
    WanTransformerBlock,
)
from einops import rearrange
from torch import Tensor, nn

from wallwm_model.network.views import Rotary, ViewLayout, border_biases, check_inputs, sight_biases


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
        """Copy the within-view attention and its modulation into the branch and close it (W_view = 0)."""
        self.cross_view.load_state_dict(self.attn1.state_dict())
        self.cross_view_table.copy_(self.scale_shift_table[:, :3])
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
        attended = self.attn1(normed, None, layout.within, rotary)
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
        self.view_angles = nn.Parameter(self.first_angles(views, self.rope.t_dim))

    @staticmethod
    def first_angles(views: int, band: int) -> Tensor:
        """(V, band / 2): where training starts; every camera is turned by its number [rad]."""
        return torch.arange(views, dtype=torch.float32)[:, None].repeat(1, band // 2)

    def rotary(self, frames: Sequence[int], height: int, width: int, extras: int) -> Rotary:
        """Within-view rotations (1, S, 1, head_dim) of latent frames at the times `frames`, in that order.

        Extra tokens are not rotated.
        """
        grid = torch.empty(1, 1, max(frames) + 1, height, width, device=self.view_angles.device)
        cos, sin = (
            angle.unflatten(1, (max(frames) + 1, -1))[:, list(frames)].flatten(1, 2)
            for angle in self.rope(grid)
        )
        ones = torch.ones(1, extras, 1, cos.shape[-1], dtype=cos.dtype, device=cos.device)
        return torch.cat([ones, cos], dim=1).float(), torch.cat([ones * 0, sin], dim=1).float()

    def layout(
        self,
        height: int,
        width: int,
        extras: int,
        frames: int,
        masks: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> ViewLayout:
        """Regrouping and cross-view rotations for sequences of `extras` + frames x patches tokens.

        Args:
            masks: (B, frames, V*P, V*P), 1 where two patches may attend to each other, else 0 (sight cones or
                frustums, `wallwm_model.geometry`); the extra tokens attend to everything.
            valid: (B, V, frames, P) bool, False for padding, which nothing may attend to (`valid_tokens`).
        """
        first = self._view_rotary(height, width, extras)
        later = self._view_rotary(height, width, 0) if frames > 1 else first
        p_h, p_w = self.config.patch_size[1:]
        patches = (height // p_h) * (width // p_w)
        biases = (None, None) if masks is None else sight_biases(masks, self.views, extras)
        within = None
        if valid is not None:
            *borders, within = border_biases(valid, extras)
            biases = tuple(border if seen is None else seen + border for seen, border in zip(biases, borders))
        return ViewLayout(self.views, extras + patches, patches, (first, later), biases, within)

    def _view_rotary(self, height: int, width: int, extras: int) -> Rotary:
        cos, sin = self.rotary([0], height, width, extras)
        band = self.rope.t_dim
        angles = self.view_angles.repeat_interleave(2, dim=1)  # (V, t_dim), as diffusers lays pairs out

        def place(spatial: Tensor, view: Tensor) -> Tensor:
            spatial = spatial.expand(self.views, -1, -1, -1)
            view = view[:, None, None].expand(-1, spatial.shape[1], -1, -1)
            return rearrange(torch.cat([view, spatial[..., band:]], dim=-1), "v s h d -> 1 (v s) h d")

        return place(cos, angles.cos()), place(sin, angles.sin())

    def embed_time(self, timestep: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of noise levels and words.

        Args:
            timestep: (N,), or one per token (N, S).
            text: (N, L, T).

        Returns:
            temb (N, D) or (N, S, D), modulation (N, 6, D) or (N, S, 6, D), text tokens (N, L, D).
        """
        length = timestep.shape[1] if timestep.ndim == 2 else None
        temb, modulation, text, _ = self.condition_embedder(timestep.flatten(), text, timestep_seq_len=length)
        return temb, modulation.unflatten(-1, (6, -1)), text

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

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        *,
        masks: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Velocity of all views.

        Args:
            latents: (B, V, C, F, h, w).
            timestep: (B,), or one per token (B, S), S = F * patches, as Wan2.2 conditions on clean frames.
            text: (B, L, T).
            masks, valid: see `layout`.

        Returns:
            (B, V, C, F, h, w); zero where `valid` says that there is only padding.

        Raises:
            SpecError: shapes that do not fit the model or each other.
        """
        check_inputs(self.config, self.views, latents, timestep, text, masks, valid)
        batch, views, _, frames, height, width = latents.shape
        shown = None if valid is None else self._spread(valid, height, width)
        flat = (latents if shown is None else latents.masked_fill(~shown, 0.0)).flatten(0, 1)
        temb, modulation, words = self.embed_time(
            timestep.repeat_interleave(views, 0), text.repeat_interleave(views, 0)
        )
        states = self.run(
            self.embed_patches(flat),
            words,
            modulation,
            self.rotary(range(frames), height, width, 0),
            self.layout(height, width, 0, frames, masks, valid),
        )
        out = self.velocity(states[-1], temb, frames, height, width).unflatten(0, (batch, views))
        return out if shown is None else out.masked_fill(~shown, 0.0)

    def _spread(self, valid: Tensor, height: int, width: int) -> Tensor:
        """Valid tokens (B, V, F, P) -> valid latents (B, V, 1, F, h, w)."""
        p_h, p_w = self.config.patch_size[1:]
        grid = valid.unflatten(-1, (height // p_h, width // p_w))
        return grid.repeat_interleave(p_h, -2).repeat_interleave(p_w, -1)[:, :, None]
