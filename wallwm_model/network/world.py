"""The world half of WALL-WM: what the cameras show, what the caption asks, what will be seen next.

`VideoTower` wraps the multi-view Wan DiT with the keyframe stem and with query tokens whose outputs are
grounded in space. It is trained on video and grounding alone; action gradients never enter it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.checks import expect, expect_batches
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.grounding import Grounding, GroundingHead, Objects, Sight
from wallwm_model.network.pointing import Pointers
from wallwm_model.network.stem import Stem
from wallwm_model.network.umt5 import build_text
from wallwm_model.network.vae import build_codec
from wallwm_model.network.video import MultiViewWan
from wallwm_model.network.views import valid_tokens

TIME_SCALE = 1000.0  # Wan's timesteps run from 0 (clean) to 1000 (noise)


@dataclass
class World:
    """One look at the world.

    Attributes:
        states: per layer, (B, V*S, D): tokens of all views, per view the keyframe's, then those of every other
            latent frame that the action tower may read.
        tau: (V*S,) int64, the latent frame of each of those tokens: 0 the keyframe, negative the past.
        sight: what the key points alone say, before any word was read.
        named: (B, roles, slots + 1) logits, which things the text names; see `pointing.Pointers`.
        groundings: from every layer but the first; the last is the best.
        remaining: (B,) remaining length of the event / horizon.
        velocity: (B, V, C, F, h, w) for the future latents, or None without them.
    """

    states: list[Tensor]
    tau: Tensor
    sight: Sight
    named: Tensor
    groundings: list[Grounding]
    remaining: Tensor
    velocity: Tensor | None = None


class VideoTower(nn.Module):
    """Keyframes and a caption in, features for the action tower and predicted video out.

    Args:
        words, caption_length: of the vocabulary and of a caption, see `ModelSpec`.
        slots, cubes: things whose places are learnt, and how many of them are cubes.
        awaiting: leave text encoder, codec and DiT on the meta device, for a public checkpoint to fill.
    """

    def __init__(
        self, config: NetworkConfig, words: int, caption_length: int, slots: int, cubes: int,
        *, awaiting: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.config = config
        place = partial(torch.device, "meta") if awaiting else nullcontext
        with place():
            self.captions = build_text(config, words, caption_length)
            self.codec = build_codec(config)
        self.stems = nn.ModuleList(
            Stem(config.image, config.width, config.keypoints, config.token_stride)
            for _ in ("fixed", "arm-mounted")
        )
        self.objects = Objects(6 * config.keypoints * config.views, slots, cubes, config.text_width)
        self.pointers = Pointers(config.text_width, slots, config.queries * config.width)
        self.queries = nn.Parameter(torch.randn(config.views, config.queries, config.width) * 0.02)
        with place():
            self.dit = MultiViewWan(views=config.views, **config.wan)
        query_width = config.views * config.queries * config.width
        self.grounding = nn.ModuleList(
            GroundingHead(query_width, slots, cubes) for _ in range(config.layers - 1)
        )
        self.remaining = nn.Sequential(
            nn.LayerNorm(query_width), nn.Linear(query_width, 128), nn.SiLU(), nn.Linear(128, 1)
        )

    def look(self, keyframes: Tensor, text: Tensor) -> tuple[Sight, Tensor]:
        """Where things are, by the key points alone, and which of them the words name.

        Args:
            keyframes: (B, V, 3, H, W) in [-1, 1].
            text: (B, L, text_width).
        """
        self._check(keyframes, text)
        points = torch.cat([points for *_, points in self._stems(keyframes)], dim=1)
        return self.objects(points)[0], self.pointers.choose(text)

    def forward(
        self,
        keyframes: Tensor,
        text: Tensor,
        *,
        history: Tensor | None = None,
        noisy: Tensor | None = None,
        t: Tensor | None = None,
        masks: Tensor | None = None,
        lengths: Tensor | None = None,
        read_future: bool = False,
    ) -> World:
        """One pass.

        Args:
            keyframes: (B, V, 3, H, W) in [-1, 1].
            text: (B, L, text_width) features of the caption or instruction, from any source.
            history: (B, V, C, M, h, w) clean latents of the M latent frames before the keyframe, oldest first.
            noisy: (B, V, C, F, h, w) noisy future latents; None looks at the keyframes only.
            t: (B,) their noise level in (0, 1].
            masks: (B, M + 1 + F, V*P, V*P), 1 where patches may attend across views: the keyframe's, then those
                of the history and of the future; None lets all attend.
            lengths: (B, V) int64, latent frames of the future that each view really has; what is beyond is padding:
                nothing attends to it, and its velocity is zero. None: all.
            read_future: also give the future tokens to the action tower.

        Raises:
            SpecError: inputs that do not fit the tower or each other.
        """
        self._check(keyframes, text, history, noisy, t, masks, lengths)
        batch, views = keyframes.shape[:2]
        past = 0 if history is None else history.shape[3]
        later = 0 if noisy is None else noisy.shape[3]
        hidden, size, points = self._embed(keyframes, [x for x in (history, noisy) if x is not None])
        sight, things = self.objects(points)
        named, meant, summary = self.pointers(text, things)
        hidden = self._ask(hidden, summary)
        text = repeat(torch.cat([text, things, meant], dim=1), "b l d -> (b v) l d", v=views)
        clean = self.config.extras + (1 + past) * self.config.patches
        temb, modulation, words = self._times(text, t, clean, hidden.shape[1])
        order = [0, *range(-past, 0), *range(1, later + 1)]
        extras = self.config.extras
        shown = None if lengths is None else self._shown(lengths, later)
        valid = None if shown is None else F.pad(shown, (0, 0, 1 + past, 0), value=True)
        states = self.dit.run(
            hidden,
            words,
            modulation,
            self.dit.rotary([self.config.history + frame for frame in order], size, size, extras),
            self.dit.layout(size, size, extras, len(order), masks, valid),
        )
        velocity = None
        if noisy is not None:
            temb = temb[:, extras:] if temb.ndim == 3 else temb
            velocity = self.dit.velocity(states[-1][:, extras:], temb, len(order), size, size)
            velocity = velocity.unflatten(0, (batch, views))[:, :, :, 1 + past :]
            if shown is not None:
                velocity = velocity * shown[:, :, None, :, :1, None]
        readable = order if read_future else order[: 1 + past]
        return self._read(states, views, readable, sight, named, velocity)

    def _shown(self, lengths: Tensor, frames: int) -> Tensor | None:
        """(B, V) lengths -> (B, V, F, P) bool, which future tokens are no padding; None if none is."""
        shown = valid_tokens(lengths, frames, self.config.grid)
        return None if bool(shown.all()) else shown

    def _check(self, keyframes, text=None, history=None, noisy=None, t=None, masks=None, lengths=None) -> None:
        """Raises SpecError for inputs that do not fit the tower or each other."""
        config = self.config
        views = config.views
        latents = ("B", views, config.latent[0], "frames", *config.latent[1:])
        expect("keyframes", keyframes, ("B", views, 3, config.image, config.image))
        if (noisy is None) != (t is None):
            found = "noisy" if t is None else "t"
            raise SpecError(f"noisy latents and their noise level t go together; found only {found}")
        frames = 1
        for name, tensor in (("history", history), ("noisy", noisy)):
            if tensor is not None:
                expect(name, tensor, latents)
                frames += tensor.shape[3]
        if history is not None and history.shape[3] > config.history:
            most, found = config.history, history.shape[3]
            raise SpecError(f"history must have at most {most} latent frames; found {found}")
        if text is not None:
            expect("text", text, ("B", "words", config.text_width))
        if t is not None:
            expect("t", t, ("B",), low=0, high=1)
        if masks is not None:
            size = views * config.patches
            expect("masks", masks, ("B", frames, size, size), low=0, high=1)
        if lengths is not None:
            expect("lengths", lengths, ("B", views), "int64", low=0, high=0 if noisy is None else noisy.shape[3])
        expect_batches(
            keyframes=keyframes, text=text, history=history, noisy=noisy, t=t, masks=masks, lengths=lengths
        )

    def _stems(self, keyframes: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per view: patch features (B, P, D), key-point token (B, 1, D), key points (B, 6 * keypoints)."""
        mounted = self.stems[1](keyframes[:, 1:].flatten(0, 1))
        others = keyframes.shape[1] - 1
        by_view = zip(*(part.unflatten(0, (-1, others)).unbind(1) for part in mounted))
        return [self.stems[0](keyframes[:, 0]), *by_view]

    def _embed(self, keyframes: Tensor, frames: list[Tensor]) -> tuple[Tensor, int, Tensor]:
        """Tokens (B*V, extras + (1 + frames)*P, D), the latent's side, key points (B, V * 6 * keypoints)."""
        batch = keyframes.shape[0]
        stems = self._stems(keyframes)
        patches, keypoint = (torch.stack(part, dim=1).flatten(0, 1) for part in list(zip(*stems))[:2])
        latents = self.codec.encode(keyframes.flatten(0, 1)[:, :, None])
        latents = torch.cat([latents, *(x.flatten(0, 1) for x in frames)], dim=2)
        embedded = self.dit.embed_patches(latents)
        first = embedded[:, : self.config.patches] + patches
        queries = repeat(self.queries, "v q d -> (b v) q d", b=batch)
        hidden = torch.cat([keypoint, queries, first, embedded[:, self.config.patches :]], dim=1)
        return hidden, latents.shape[-1], torch.cat([points for *_, points in stems], dim=1)

    def _ask(self, hidden: Tensor, summary: Tensor) -> Tensor:
        """Let the query tokens of every view know from the beginning what the words name."""
        extras, views = self.config.extras, self.config.views
        asked = repeat(summary, "b (q d) -> (b v) q d", q=self.config.queries, v=views)
        return torch.cat([hidden[:, :1], hidden[:, 1:extras] + asked, hidden[:, extras:]], dim=1)

    def _times(
        self, text: Tensor, t: Tensor | None, clean: int, length: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first `clean` tokens have timestep 0, future tokens their own (first-frame conditioning)."""
        rows = text.shape[0]
        temb, modulation, words = self.dit.embed_time(torch.zeros(rows, device=text.device), text)
        if t is None:
            return temb, modulation, words
        level = (t * TIME_SCALE).repeat_interleave(rows // t.shape[0])
        temb_later, modulation_later, _ = self.dit.embed_time(level, text)

        def per_token(now: Tensor, later: Tensor) -> Tensor:
            first = now[:, None].expand(-1, clean, *now.shape[1:])
            return torch.cat([first, later[:, None].expand(-1, length - clean, *later.shape[1:])], dim=1)

        return per_token(temb, temb_later), per_token(modulation, modulation_later), words

    def _read(
        self,
        states: list[Tensor],
        views: int,
        frames: list[int],
        sight: Sight,
        named: Tensor,
        velocity: Tensor | None,
    ) -> World:
        extras, patches = self.config.extras, self.config.patches
        length = extras + len(frames) * patches
        tau = torch.tensor([0] * extras + [frame for frame in frames for _ in range(patches)]).repeat(views)
        kept = [rearrange(s[:, :length], "(b v) s d -> b (v s) d", v=views) for s in states]
        queries = [rearrange(s[:, 1:extras], "(b v) q d -> b (v q d)", v=views) for s in states]
        groundings = [head(q) for head, q in zip(self.grounding, queries[1:])]
        remaining = self.remaining(queries[-1]).squeeze(-1)
        return World(kept, tau.to(named.device), sight, named, groundings, remaining, velocity)
