"""Assemble a first Bridge-STG checkpoint from a Qwen3-VL and a detector, and say what came from where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration

from bridge_stg.errors import CheckpointError
from bridge_stg.model.bridging import bridge_of
from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN
from bridge_stg.model.spatial.localizer import SpatialLocalizer, localizer_of
from bridge_stg.weights.detector import DetectorWeights, map_tensors, read_detector, spatial_config
from bridge_stg.weights.qwen3_vl import load_stock_checkpoint

_EXAMPLES = 2


@dataclass(frozen=True)
class KeyReport:
    """Which keys came from where: ``loaded`` from a source and ``new`` (random) are keys of the model,
    ``left_out`` of their source, written as ``detector: key`` or ``mllm: key``.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]

    def text(self) -> str:
        """For people: a line per group of keys with its count and the first names."""
        lines = []
        for title, keys in (("loaded", self.loaded), ("new", self.new), ("left out", self.left_out)):
            lines.append(f"{title}: {len(keys)} keys")
            groups: dict[str, list[str]] = {}
            for key in keys:
                groups.setdefault(_group(key), []).append(key)
            for group, members in groups.items():
                more = ", ..." if len(members) > _EXAMPLES else ""
                first = ", ".join(key.removeprefix(f"{group}.") for key in members[:_EXAMPLES])
                lines.append(f"  {group} ({len(members)}): {first}{more}")
        return "\n".join(lines)


def _group(key: str) -> str:
    """The module a key belongs to, coarse enough to be read: at most three names, before the first number."""
    names = key.split(".")[:-1][:3]
    number = next((place for place, name in enumerate(names) if name.isdigit()), len(names))
    return ".".join(names[:number]) or key


def assemble(
    mllm: str | Path,
    detector: str | Path | None = None,
    spatial: SpatialConfig | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    mllm_dtype: torch.dtype | None = None,
    **changes: Any,
) -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor, KeyReport]:
    """A Bridge-STG model whose language model is ``mllm`` and whose spatial decoder starts from ``detector``.

    Args:
        mllm: Qwen3-VL, a folder or hub id with safetensors.
        detector: MM-Grounding-DINO, Grounding-DINO or Swin in transformers format, a folder or hub id; None for
            random weights.
        spatial: QGSL's shape; by default the one that fits the detector.
        dtype: of all weights. mllm_dtype: of Qwen3-VL's, if that is to be another.
        changes: fields of BridgeSTGConfig.

    Raises:
        CheckpointError: a source that cannot be read or does not fit, or a vocabulary without a free row.
    """
    stock = load_stock_checkpoint(str(mllm), mllm_dtype or dtype)
    language, tokenizer = stock.model, stock.tokenizer
    det_token_id, is_new_token = _det_token(tokenizer, language, str(mllm))
    source = read_detector(detector, spatial) if detector is not None else None
    if spatial is None and source is not None:
        spatial = spatial_config(source)
    # The precision that the published file was in says nothing of this model's.
    for part in (language.config, language.config.text_config, language.config.vision_config):
        part.dtype = None
    config = BridgeSTGConfig(mllm=language.config, spatial=spatial, det_token_id=det_token_id, **changes)

    # The skeleton costs nothing; the language model is the loaded one, not a copy.
    with torch.device("meta"):
        model = BridgeSTGForVideoGrounding(config)
    model.mllm = language
    model.bridge = bridge_of(config)
    model.localizer = localizer_of(config)
    model.adapt_parts()
    parts = [(name, part) for name, part in (("bridge", model.bridge), ("localizer", model.localizer)) if part]

    new = [f"bridge.{name}" for name, _ in model.bridge.named_parameters()] if model.bridge else []
    left_out = [f"mllm: {key}" for key in stock.unused]
    loaded = [f"mllm.{name}" for name, _ in model.mllm.named_parameters()]
    if is_new_token:
        new += [f"mllm.{name}[{det_token_id}] ({DET_TOKEN})" for name in _fill_new_row(language, det_token_id)]
    found, unused = _copy_detector(model.localizer, source) if source and model.localizer else (set(), [])
    for name, _ in model.localizer.named_parameters() if model.localizer else ():
        (loaded if name in found else new).append(f"localizer.{name}")
    left_out += [f"detector: {key}" for key in unused]
    for _, part in parts:
        part.to(dtype)
    model.eval()
    return model, BridgeSTGProcessor(tokenizer, config), KeyReport(tuple(loaded), tuple(new), tuple(left_out))


def _det_token(
    tokenizer: PreTrainedTokenizerBase, language: Qwen3VLForConditionalGeneration, name: str
) -> tuple[int, bool]:
    """The id of ``<det>`` and whether it is new. The embedding is never resized: its spare rows are used."""
    rows = language.config.text_config.vocab_size
    is_new = DET_TOKEN not in tokenizer.get_vocab()
    if is_new:
        tokenizer.add_tokens([AddedToken(DET_TOKEN, special=True, normalized=False)], special_tokens=True)
    token = tokenizer.get_vocab()[DET_TOKEN]
    if token >= rows:
        raise CheckpointError(
            f"{name}: {DET_TOKEN} would be id {token}, but the embedding has {rows} rows and none to spare; "
            "use a Qwen3-VL with spare rows or resize its embedding first"
        )
    return token, is_new


@torch.no_grad()
def _fill_new_row(language: Qwen3VLForConditionalGeneration, token: int) -> list[str]:
    """Start a new token at the mean of the used ones; a spare row was never trained. Returns the weights'
    names.
    """
    names = ["model.language_model.embed_tokens.weight"]
    if not language.config.tie_word_embeddings:
        names.append("lm_head.weight")
    for name in names:
        weight = language.get_parameter(name)
        weight[token] = weight[:token].float().mean(0).to(weight.dtype)
    return names


@torch.no_grad()
def _copy_detector(localizer: SpatialLocalizer, detector: DetectorWeights) -> tuple[set[str], list[str]]:
    """Fill ``localizer``; returns its keys that were filled and the detector's keys that were not used."""
    state = localizer.state_dict()
    mapped = {
        target: pair for target, pair in map_tensors(detector, localizer.config).items() if target in state
    }
    wrong = [
        f"{target} is {tuple(state[target].shape)} but {source} gives {tuple(tensor.shape)}"
        for target, (source, tensor) in mapped.items()
        if state[target].shape != tensor.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{detector.name}: {len(wrong)} tensors do not fit the spatial configuration (first: {wrong[0]}); "
            "leave `spatial` out to get the one that fits"
        )
    for target, (_, tensor) in mapped.items():
        state[target].copy_(tensor)
    used = {source for source, _ in mapped.values()}
    return set(mapped), [key for key in detector.tensors if key not in used]
