"""Which things the words name: "the red cube" is looked up among the things that the key points have found.

One pointer per role chooses a thing by what the text says of it alone, and gives that thing's token, with its
place. So words that were never heard together still name what each of them names by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallwm_model.network.checks import expect

ROLES = ("cube", "pad", "gripper")  # what a caption or an instruction may name


class Pointers(nn.Module):
    """Text features and the tokens of all things -> the things named.

    Args:
        text_width: of both.
        slots: how many things there are.
        out: width of the summary of all that is named.
    """

    def __init__(self, text_width: int, slots: int, out: int):
        super().__init__()
        self.slots = slots
        self.role_embed = nn.Parameter(torch.randn(len(ROLES), text_width) * text_width**-0.5)
        self.choice = nn.Linear(text_width, slots + 1)  # the last one: no such thing is named
        self.hidden = nn.Linear(len(ROLES) * text_width, 256)
        self.out = nn.Linear(256, out)

    def choose(self, text: Tensor) -> Tensor:
        """Text features (B, L, text_width) -> logits (B, roles, slots + 1)."""
        expect("text", text, ("B", "words", self.role_embed.shape[1]))
        attention = (text @ self.role_embed.T).softmax(dim=1)
        return self.choice(attention.transpose(1, 2) @ text)

    def forward(self, text: Tensor, things: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Text (B, L, text_width), things (B, slots, text_width) -> logits, tokens of the things named
        (B, roles, text_width), and their summary (B, out)."""
        logits = self.choose(text)
        tokens = logits.softmax(dim=-1)[..., : self.slots] @ things
        return logits, tokens, self.out(nn.functional.silu(self.hidden(tokens.flatten(1))))
