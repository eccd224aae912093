"""Bridge-STG whose attention is taught beside its answers: a training aid; what it teaches is the model inside.

Shape letters: B trees, L tokens, D width, H heads, R queries with evidence, T visual tokens that are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput
from bridge_stg.model.token_tree import CLIP
from bridge_stg.shapes.evidence import LEADS, PHASES, REST, Lead
from bridge_stg.shapes.world.objects import COLOURS, SHAPES

# Which layer, counted from the last one, and which heads are led to what. The first of the two layers finds the
# object, the second its time; the heads that are not named are free.
PLACES: dict[Lead, tuple[int, tuple[int, ...]]] = {
    "place": (-2, (0, 1)),
    "letter": (-2, (3,)),
    "choice": (-1, (2, 3)),
    "found": (-2, (2, 3)),
    "where": (-2, (2, 3)),
    "edge": (-2, (0,)),
    "beside": (-2, (1,)),
    "event": (-2, (2,)),
    "edge_time": (-1, (0,)),
    "beside_time": (-1, (1,)),
}
PROBED_SECONDS = 61  # seconds that the probe tells apart
SIZES = {
    "second": PROBED_SECONDS,
    "phase": len(PHASES),
    "action": REST + 1,
    "colour": len(COLOURS),
    "shape": len(SHAPES),
}


@dataclass
class LedOutput(BridgeSTGOutput):
    """``correct``: per lead and per question of the probe, how many were right out of how many."""

    correct: dict[str, tuple[Tensor, int]] | None = None


class TokenProbe(nn.Module):
    """What a visual token knows of the object on it, by linear maps of its hidden state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in SIZES.items()})

    def forward(self, hidden_TD: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """The mean cross-entropy over the questions; ``wanted`` (T, 5) in the order of SIZES."""
        states_TD = self.norm(hidden_TD.float())
        losses, correct = [], {}
        for column, (name, head) in enumerate(self.heads.items()):
            logits, true_T = head(states_TD), wanted[:, column]
            losses.append(F.cross_entropy(logits, true_T))
            correct[f"probe_{name}"] = ((logits.argmax(-1) == true_T).sum(), len(true_T))
        return torch.stack(losses).mean(), correct


class LedModel(nn.Module):
    """A Bridge-STG in its field ``model``, with the probe and the cross-entropy of led heads.

    Args:
        lead: weight of the mean cross-entropy of the led heads' attention.
        probe: weight of the probe's loss.
    """

    def __init__(self, model: BridgeSTGForVideoGrounding, lead: float, probe: float) -> None:
        super().__init__()
        self.model = model
        self.lead, self.probe_weight = lead, probe
        self.token_probe = TokenProbe(model.config.mllm.text_config.hidden_size)
        self._seen: dict[int, dict[str, Any]] = {}
        layers = model.mllm.model.language_model.layers
        for place in sorted({layer for layer, _ in PLACES.values()}):
            layers[place].self_attn.register_forward_pre_hook(self._keeper(place), with_kwargs=True)

    def forward(
        self,
        evidence: Tensor,
        shown: Tensor,
        tree: Tensor | None = None,
        weights: LossWeights | None = None,
        **inputs: Any,
    ) -> LedOutput:
        """As the model's own.

        Args:
            evidence: (E, 4) row of the batch, query token, key token, index of the lead.
            shown: (T, 7) row of the batch, visual token, and what is on it (``SIZES``).
            tree: (2, B, L) the branch of each token, and how many tokens of the clip it sees; None for plain
                sequences.
        """
        output = self.model(**inputs, tree=tree, weights=weights)
        correct: dict[str, tuple[Tensor, int]] = {}
        loss = output.loss
        if len(evidence):
            led, right = self._led_loss(evidence, tree)
            loss, correct = loss + self.lead * led, correct | right
        if len(shown):
            hidden = self._seen[-2]["hidden_states"]
            found, right = self.token_probe(hidden[shown[:, 0], shown[:, 1]], shown[:, 2:])
            loss, correct = loss + self.probe_weight * found, correct | right
        self._seen.clear()
        return LedOutput(**{**output, "loss": loss}, correct=correct)

    def _keeper(self, place: int) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._seen[place] = {"attention": module, **kwargs}

        return keep

    def _led_loss(self, evidence: Tensor, tree: Tensor | None) -> tuple[Tensor, dict[str, tuple[Tensor, int]]]:
        """The mean negative log of the attention that the led heads give to the evidence."""
        losses, correct = [], {}
        for number, lead in enumerate(LEADS):
            rows = evidence[evidence[:, 3] == number]
            if not len(rows):
                continue
            layer, heads = PLACES[lead]
            queries_R2, query_of = torch.unique(rows[:, :2], dim=0, return_inverse=True)
            scores_RHL = self._scores(layer, heads, queries_R2)
            scores_RHL = scores_RHL.masked_fill(
                ~_sees(tree, queries_R2, scores_RHL.shape[-1])[:, None], -torch.inf
            )
            wanted_RL = torch.zeros(len(queries_R2), scores_RHL.shape[-1], dtype=torch.bool)
            wanted_RL = wanted_RL.to(scores_RHL.device)
            wanted_RL[query_of, rows[:, 2]] = True
            log_attention = scores_RHL.log_softmax(-1)
            hidden = log_attention.masked_fill(~wanted_RL[:, None], -torch.inf)
            losses.append(-hidden.logsumexp(-1).mean(1))
            best_RH = scores_RHL.argmax(-1)
            hits = wanted_RL.gather(1, best_RH).float().mean(1).sum()
            correct[f"lead_{lead}"] = (hits, len(queries_R2))
        return torch.cat(losses).mean(), correct

    def _scores(self, layer: int, heads: tuple[int, ...], queries_R2: Tensor) -> Tensor:
        """(R, H, L): the scores that the given heads of a layer give each token."""
        kept = self._seen[layer]
        attention, hidden_BLD = kept["attention"], kept["hidden_states"]
        cos, sin = kept["position_embeddings"]
        shape = (*hidden_BLD.shape[:-1], -1, attention.head_dim)
        query = attention.q_norm(attention.q_proj(hidden_BLD).view(shape)).transpose(1, 2)
        key = attention.k_norm(attention.k_proj(hidden_BLD).view(shape)).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        row, place = queries_R2.T
        query_RHC = query[:, list(heads)].float()[row, :, place]
        key_RHLC = key[:, list(heads)].float()[row]
        scores: Tensor = torch.einsum("rhc,rhlc->rhl", query_RHC, key_RHLC) * float(attention.scaling)
        return scores


def _sees(tree: Tensor | None, queries_R2: Tensor, length: int) -> Tensor:
    """(R, L): which tokens each query (row, place) may look at."""
    row, place = queries_R2.T
    index_L = torch.arange(length, device=place.device)
    earlier_RL: Tensor = index_L[None] <= place[:, None]
    if tree is None:
        return earlier_RL
    branch_BL, attach_BL = tree
    own_RL = branch_BL[row] == branch_BL[row, place][:, None]
    clip_RL = (branch_BL[row] == CLIP) & (index_L[None] < attach_BL[row, place][:, None])
    seen: Tensor = earlier_RL & (own_RL | clip_RL)
    return seen
