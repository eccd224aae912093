"""Bridge-STG (Fig. 2): Qwen3-VL answers when, bridging queries carry its reasoning over, QGSL answers where.

Shape letters: B trees, L tokens, S sentences that ask where, M bridging queries, D language width, U unique
frames, R (frame, sentence) rows, N labelled tokens.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, Qwen3VLForConditionalGeneration
from transformers.utils import ModelOutput

from bridge_stg.errors import CheckpointError, one_line
from bridge_stg.files.shipped import unless_shipped
from bridge_stg.losses.frame_boxes import frame_box_loss
from bridge_stg.losses.objective import SpatialLosses, spatial_loss
from bridge_stg.losses.outputs import SpatialOutput
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.bridging import bridge_of
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.cpu_linear import use_onednn_products
from bridge_stg.model.spatial.localizer import localizer_of
from bridge_stg.model.stored_weights import cast_parameters, check_finite, check_stored_kinds
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.model.tree_attention import Pattern, TreePattern, use_tree_attention
from bridge_stg.model.vision_attention import batch_equal_pairs
from bridge_stg.model.visual_places import check_places


@dataclass
class BridgeSTGOutput(ModelOutput):
    """What one forward pass gives.

    ``loss`` Eq. 7 (None without labels and targets); ``token_loss`` the mean cross-entropy; ``logits`` (N, V)
    of the labelled tokens only; ``bridge`` (S, M, D) Q_bridge; ``spatial`` the decoder's output;
    ``spatial_losses`` its terms by name; ``last_hidden_state`` (B, L, D) only without labels, since training
    reads it nowhere.
    """

    loss: Tensor | None = None
    token_loss: Tensor | None = None
    logits: Tensor | None = None
    bridge: Tensor | None = None
    spatial: SpatialOutput | None = None
    spatial_losses: SpatialLosses | None = None
    last_hidden_state: Tensor | None = None


@dataclass(frozen=True)
class EncodedVideo:
    """Visual tokens (N, D) of all clips in a row, and the DeepStack features (N, D) of each level.

    ``grids`` has for each clip its frame pairs, and the rows and columns of visual tokens of one pair.
    """

    tokens: Tensor
    deepstack: tuple[Tensor, ...]
    grids: tuple[tuple[int, int, int], ...]


class BridgeSTGForVideoGrounding(PreTrainedModel):
    """The whole model; see ``forward``. Load with ``from_pretrained`` (strict, safetensors only)."""

    config_class = BridgeSTGConfig
    base_model_prefix = "bridge_stg"
    _tied_weights_keys: dict[str, str] = {}  # noqa: RUF012 - a transformers hook
    _supports_sdpa = True
    _no_split_modules = ("Qwen3VLTextDecoderLayer", "Qwen3VLVisionBlock")

    def __init__(self, config: BridgeSTGConfig) -> None:
        super().__init__(config)
        self.mllm = Qwen3VLForConditionalGeneration(config.mllm)
        # Both are None in the baseline that writes its boxes as text (``objective`` of the configuration).
        self.bridge: Any = bridge_of(config)
        self.localizer: Any = localizer_of(config)
        self.adapt_parts()
        self.post_init()
        if self.bridge is not None:
            self.bridge.reset_parameters(config.initializer_range)

    def adapt_parts(self) -> None:
        """Give the parts faster ways to compute the same; call it again when a part was replaced."""
        batch_equal_pairs(self.mllm.model.visual)
        use_tree_attention(self.mllm.model.language_model)
        use_onednn_products(self)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        tree: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        slot_mask: Tensor | None = None,
        bridge_mask: Tensor | None = None,
        spatial_pixel_values: Tensor | None = None,
        spatial_pixel_mask: Tensor | None = None,
        row_frame: Tensor | None = None,
        row_sentence: Tensor | None = None,
        targets: Tensor | None = None,
        has_target: Tensor | None = None,
        weights: LossWeights | None = None,
        num_tokens: Tensor | float | None = None,
        num_targets: Tensor | float | None = None,
        num_rows: Tensor | float | None = None,
        every_module: bool = False,
    ) -> BridgeSTGOutput:
        """Answer when (tokens), bridge, answer where (boxes), and weigh the losses.

        Args:
            input_ids: (B, L); ``position_ids`` (4, B, L), row 0 the text index, rows 1-3 t, h, w (ETA, Eq. 1).
            tree: (2, B, L) the branch of each token and how many tokens of the clip it sees (TreeBatch);
                without it every token sees all before it. Padding stands on the right.
            labels: (B, L), ``labels[b, i]`` is what token i predicts, -100 where nothing is learned.
            pixel_values_videos, video_grid_thw: patches of the frame pairs, and (T, H, W) per clip.
            slot_mask, bridge_mask: (B, L) tokens that are learned queries, and whose hidden states are
                Q_bridge.
            spatial_pixel_values: (U, 3, H, W) frames for QGSL, ``spatial_pixel_mask`` (U, H, W) False on
                padding.
            row_frame, row_sentence: (R,) which frame and which sentence each row joins.
            targets: (R, 4) cxcywh boxes in [0, 1]; ``has_target`` (R,) False on negative frames.
            weights: of Eq. 7-9; num_tokens, num_targets, num_rows: what the sums are divided by, by default the
                counts of this batch; an accumulated or distributed batch gives its own.
            every_module: give the bridge and QGSL a gradient of zeros where nothing is located; processes that
                train together wait for one another's gradients of every parameter.
        """
        # Section 3.2: the language model reads the clip, the timestamps and the query.
        vision = None
        if pixel_values_videos is not None and video_grid_thw is not None:
            vision = self.encode_video(pixel_values_videos, video_grid_thw)
        pattern = None if tree is None else TreePattern(tree)
        hidden = self.read(input_ids, position_ids, vision, slot_mask, pattern)  # (B, L, D)

        # L_token: cross-entropy on the labelled tokens only; full-sequence logits are never made.
        token_loss, logits = None, None
        if labels is not None:
            labelled = labels != IGNORE
            logits = self.mllm.lm_head(hidden[labelled])
            total = nn.functional.cross_entropy(logits.float(), labels[labelled], reduction="sum")
            # Not below 1: a batch without any labelled token has a sum of 0.
            count = num_tokens if num_tokens is not None else labelled.sum()
            token_loss = total / torch.as_tensor(count).clamp(min=1)

        # Eq. 3: hidden states of the queries -> Q_bridge; in the parallel baseline the boxes themselves.
        bridge, spatial, spatial_losses = None, None, None
        if bridge_mask is not None and self.localizer is None:
            bridge = self.bridge(hidden[bridge_mask])
        elif bridge_mask is not None:
            bridge = self.bridge(hidden[bridge_mask].unflatten(0, (-1, self.bridge.tokens_per_sentence)))

        # Section 3.3: QGSL on the sampled frames.
        if spatial_pixel_values is not None and bridge is not None and row_frame is not None:
            spatial = self.localizer(
                spatial_pixel_values.to(bridge.dtype),
                spatial_pixel_mask,
                row_frame,
                bridge[row_sentence],
                targets,
                has_target,
            )

        # Eq. 7: lambda1 L_token + lambda2 L_spatial.
        weights = weights or LossWeights()
        loss = weights.token * token_loss if token_loss is not None else None
        if bridge is not None and targets is not None and has_target is not None:
            # Not clamped: a batch without any target divides its objectness by num_rows.
            found = num_targets if num_targets is not None else has_target.sum()
            rows = num_rows if num_rows is not None else len(targets)
            if spatial is not None:
                spatial_losses = spatial_loss(spatial, targets, has_target, weights, found, rows)
            else:
                spatial_losses = frame_box_loss(bridge[row_frame], targets, has_target, weights, found)
            spatial_term = weights.spatial * spatial_losses.total
            loss = spatial_term if loss is None else loss + spatial_term
        elif every_module:
            loss = self._zero_of_spatial() if loss is None else loss + self._zero_of_spatial()

        kept = hidden if labels is None else None
        return BridgeSTGOutput(loss, token_loss, logits, bridge, spatial, spatial_losses, kept)

    def _zero_of_spatial(self) -> Tensor:
        """0 with a gradient of zeros for each parameter of the bridge and QGSL, which see a blank frame."""
        if self.localizer is None:
            zero = torch.zeros((), device=self.device)
            parameters = () if self.bridge is None else self.bridge.parameters()
            return sum((0.0 * parameter.sum() for parameter in parameters), zero)

        queries = self.bridge.queries
        states = torch.zeros(1, self.config.mllm.text_config.hidden_size, device=self.device)
        bridge = self.bridge((states if queries is None else queries)[None])  # (1, M, D)
        side = 2 * max(self.localizer.backbone.strides)
        frame = bridge.new_zeros(1, 3, side, side)
        target, present = frame.new_full((1, 4), 0.5), torch.ones(1, dtype=torch.bool, device=frame.device)
        row = torch.zeros(1, dtype=torch.long, device=frame.device)
        output = self.localizer(frame, None, row, bridge, target, present)
        return 0.0 * spatial_loss(output, target, present, LossWeights(), 1, 1).total

    def read(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        vision: EncodedVideo | None = None,
        slot_mask: Tensor | None = None,
        pattern: Pattern | None = None,
        cache: Any = None,
    ) -> Tensor:
        """Last-layer hidden states (B, L, D) of the language model.

        Qwen3-VL is composed, not forked: it is given positions in the 4-row form, which bypasses its own.

        Args:
            vision: what stands at the video tokens of ``input_ids``, clip by clip.
            slot_mask: (B, L) places of learned queries.
            pattern: who sees whom; without it every token sees all before it.
            cache: transformers' ``Cache`` or anything with its ``update``; it is extended in place.

        Raises:
            ValueError: positions of another shape, or a clip that is not the one its row has places for.
        """
        if position_ids.ndim != 3 or position_ids.shape[0] != 4:
            raise ValueError(f"position_ids must be (4, B, L), got {tuple(position_ids.shape)}")

        embeds = self.embed(input_ids, slot_mask)
        visual_mask, deepstack = None, None
        if vision is not None:
            visual_mask = input_ids == self.config.mllm.video_token_id
            check_places(visual_mask, position_ids, vision.grids)
            embeds = embeds.masked_scatter(visual_mask[..., None], vision.tokens.to(embeds.dtype))
            deepstack = list(vision.deepstack)

        return self.mllm.model.language_model(
            inputs_embeds=embeds,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
            visual_pos_masks=visual_mask,
            deepstack_visual_embeds=deepstack,
            pattern=pattern,
        ).last_hidden_state

    def embed(self, input_ids: Tensor, slot_mask: Tensor | None = None) -> Tensor:
        """Embeddings (B, L, D) of tokens, of learned queries where ``slot_mask`` (B, L) says so."""
        embeds: Tensor = self.mllm.get_input_embeddings()(input_ids)
        if slot_mask is None:
            return embeds
        inserted: Tensor = self.bridge.insert_queries(embeds, slot_mask)
        return inserted

    def encode_video(self, pixel_values_videos: Tensor, video_grid_thw: Tensor) -> EncodedVideo:
        """The vision tower on frame pairs: merged tokens and DeepStack features."""
        output = self.mllm.model.get_video_features(pixel_values_videos, video_grid_thw)
        merge = int(self.config.mllm.vision_config.spatial_merge_size)
        grids = tuple((t, h // merge, w // merge) for t, h, w in video_grid_thw.tolist())
        # Some releases of transformers split features by clip and some do not.
        deepstack = tuple(map(joined_features, output.deepstack_features))
        return EncodedVideo(joined_features(output.pooler_output), deepstack, grids)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: Qwen3-VL, the bridge and the localizer initialise themselves when they are built."""

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Write the configuration and the weights as safetensors.

        Raises:
            CheckpointError: the model has adapters that are not merged; their keys would not load again.
        """
        adapters = adapter_parameters(self)
        if adapters:
            raise CheckpointError(
                f"the model has {len(adapters)} adapter tensors that are not merged (first: {adapters[0]}); "
                "call merge_lora(model) before save_pretrained"
            )
        super().save_pretrained(save_directory, **kwargs)
        open_to_readers(save_directory)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a shipped name, a folder or a hub id; safetensors only, and every key must match.

        Args:
            kwargs: those of transformers; ``dtype`` (or its name) is that of all parameters.

        Raises:
            CheckpointError: the folder or a file is missing or truncated, keys or shapes differ, or weights are
                no numbers.
        """
        name = unless_shipped(pretrained_model_name_or_path)
        check_stored_kinds(name)
        wants_info = kwargs.pop("output_loading_info", False)
        strict = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}

        # The library would log a table of what does not match; here that is one error, below.
        log = logging.getLogger("transformers.modeling_utils")
        was_disabled, log.disabled = log.disabled, True
        try:
            model, info = super().from_pretrained(name, *args, **kwargs | strict)
        except CheckpointError:
            raise
        except Exception as problem:
            line = one_line(problem)
            raise CheckpointError(f"{name}: cannot be loaded as a checkpoint: {line}") from problem
        finally:
            log.disabled = was_disabled

        # Every weight must be there, in its shape, and a number.
        faults = [
            f"{len(info[kind])} {word} keys (first: {_describe(min(info[kind], key=str))})"
            for kind, word in (
                ("missing_keys", "missing"),
                ("unexpected_keys", "unexpected"),
                ("mismatched_keys", "wrong-shaped"),
            )
            if info.get(kind)
        ]
        if faults:
            raise CheckpointError(f"{name}: weights do not match the configuration: " + ", ".join(faults))
        check_finite(model, name)
        cast_parameters(model, kwargs.get("dtype", kwargs.get("torch_dtype")))
        return (model, info) if wants_info else model


def open_to_readers(folder: str | Path) -> None:
    """Give weights the permissions of the ``config.json`` beside them: safetensors lets only their owner in."""
    for file in Path(folder).glob("*.safetensors"):
        shutil.copymode(Path(folder) / "config.json", file)


def _describe(key: Any) -> str:
    """A key as it is; of a wrong-shaped one its name and both shapes."""
    if isinstance(key, str):
        return key
    name, found, wanted = key
    return f"{name}, {tuple(found)} in the file, {tuple(wanted)} in the configuration"


def adapter_parameters(model: nn.Module) -> list[str]:
    """Names of LoRA matrices and trainable token rows that are not merged."""
    return [name for name, _ in model.named_parameters() if ".lora_" in name or ".trainable_tokens_" in name]


AutoModel.register(BridgeSTGConfig, BridgeSTGForVideoGrounding)


def joined_features(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Features of all videos in a row, (tokens, width); transformers gives one tensor or one a video."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))
