"""Staircase decoding: K_c latent reasoning states in one parallel pass over a backbone cut at the relay
depth.

        position 0    1    2  ...  K_c-1
    upper layers  |    |    |        |     side by side; each looks at the observation and at itself
                  +----+----+--------+     the relay state, shared
    lower layers  |                        run once

The observation is read once by the frozen backbone; every position of every layer looks back at that cache.
The branch's upper layers begin as copies of the backbone's and its steps as zeros, so that at first one
position is exactly the backbone's own reading of one more token.

What the video tower reads are the latents projected out. The report leaves open how a frozen tower comes to
understand them; here the projection is aligned to the T5 path's features of the next event's caption, word k
from latent k, so that the tower needs no adaptation.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.language.backbone import Backbone, Prefix
from wallwm_model.network.language.config import LanguageConfig
from wallwm_model.network.language.layers import run_layer, side_by_side


class Staircase(nn.Module):
    """The trained branch.

    Attributes:
        start: (1, D) what the first position puts into the lower layers.
        steps: (most_latents, D) what tells the positions apart above the relay.
        layers, norm: upper layers.
        text, norm_text: project a latent out to a text feature; keep: how much of it there is, 0 beyond the
            last word, as padding is in the T5 path.
    """

    def __init__(self, config: LanguageConfig, backbone: Backbone):
        super().__init__()
        width = config.backbone.width
        self.config = config
        self.start = nn.Parameter(torch.randn(1, width) * 0.02)
        self.steps = nn.Parameter(torch.zeros(config.most_latents, width))
        self.layers = copy.deepcopy(backbone.layers[config.relay :])
        self.norm = copy.deepcopy(backbone.qwen.language_model.norm)
        self.text, self.keep = nn.Linear(width, config.text_width), nn.Linear(width, 1)
        self.norm_text = nn.LayerNorm(config.text_width)

    @torch.no_grad()
    def start_from(self, backbone: Backbone) -> None:
        """Take over the weights of a backbone that was trained or loaded after this branch was made."""
        self.layers.load_state_dict(backbone.layers[self.config.relay :].state_dict())
        self.norm.load_state_dict(backbone.qwen.language_model.norm.state_dict())
        self.start.copy_(backbone.embed(torch.tensor([self.config.think], device=self.start.device)))

    def forward(self, backbone: Backbone, prefix: Prefix, count: int) -> Tensor:
        """(B, count, D): `count` reasoning latents.

        Raises:
            SpecError: more latents than there may be.
        """
        if not 1 <= count <= self.config.most_latents:
            raise SpecError(f"reasoning latents must be 1 to {self.config.most_latents}; found {count}")
        hidden = self.relay(backbone, prefix) + self.steps[:count]
        rotary = backbone.rotary(self.config.prefix, count)
        apart = side_by_side(count, self.config.prefix, hidden.device)
        bias = apart + nn.functional.pad(prefix.bias, (0, count))
        for layer, past in zip(self.layers, prefix.caches[self.config.relay :]):
            hidden, _ = run_layer(layer, hidden, rotary, bias, past)
        return self.norm(hidden)

    def features(self, latents: Tensor) -> Tensor:
        """Latents (B, K, D) -> text features for the video tower (B, K, text_width)."""
        return self.norm_text(self.text(latents)) * torch.sigmoid(self.keep(latents))

    def relay(self, backbone: Backbone, prefix: Prefix) -> Tensor:
        """(B, 1, D): the first position after the lower layers; the only one that runs them."""
        hidden = self.start.expand(len(prefix.last), 1, -1)
        rotary = backbone.rotary(self.config.prefix, 1)
        bias = nn.functional.pad(prefix.bias, (0, 1))
        for layer, past in zip(backbone.layers[: self.config.relay], prefix.caches):
            hidden, _ = run_layer(layer, hidden, rotary, bias, past)
        return hidden
