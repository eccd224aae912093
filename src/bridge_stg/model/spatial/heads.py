"""Small networks: objectness and box heads, and the feed-forward block of the layers.

Shapes: R rows, each a (frame, sentence) pair; T queries or tokens of a row; C width. Dimensions before R, such
as layers, are passed through.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Probability of "target" that every query starts with (Lin et al. 2017).
PRIOR = 0.01


class SimilarityHead(nn.Module):
    """Objectness as similarity of a query to the mean bridging query, OV-DINO's text-conditioned form.

    logit = <h, W(a / 2)> / exp(s) + <a, v> + b with a the mean bridging query at unit length and v
    ``anchor_bias``; b starts at the prior.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.anchor_bias = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        nn.init.zeros_(self.log_scale)
        nn.init.zeros_(self.anchor_bias)
        nn.init.constant_(self.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, hidden_RTC: Tensor, mean_bridge_RC: Tensor) -> Tensor:
        """hidden (..., R, T, C), mean_bridge (R, C) -> (..., R, T) float32 logits."""
        unit_RC = F.normalize(mean_bridge_RC.float(), dim=-1, eps=1e-6)
        direction_RC = self.project((unit_RC / 2).to(hidden_RTC.dtype)).float()

        # The scale and the products overflow in half precision.
        with torch.autocast(hidden_RTC.device.type, enabled=False):
            similarity_RT = torch.matmul(hidden_RTC.float(), direction_RC[:, :, None]).squeeze(-1)
            offset_R = unit_RC @ self.anchor_bias.float() + self.bias.float()
            logits_RT = similarity_RT * torch.exp(-self.log_scale.float()) + offset_R[:, None]
            return logits_RT.clamp(-50.0, 50.0)


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        widths = [inputs] + [hidden] * (depth - 1) + [outputs]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class FeedForward(nn.Module):
    """The FFN of a transformer layer, without its residual."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))
