"""LoRA on the language tower (section 4.1: r = 8, alpha = 32), and the one new token row.

PEFT belongs to the extra ``train``: it is imported where adapters are added or merged, not with this file.
"""

from __future__ import annotations

import torch

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, adapter_parameters

# A pattern, not leaf names: "all linear layers" would reach the vision tower and its mergers.
ATTENTION_PROJECTIONS = r".*language_model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj"
DEFAULT_RANK = 8
DEFAULT_ALPHA = 32


def add_lora(model: BridgeSTGForVideoGrounding, rank: int = DEFAULT_RANK, alpha: int = DEFAULT_ALPHA) -> None:
    """Freeze Qwen3-VL, add adapters to the language tower's attention, and free the row of ``<det>`` (App.
    B.4).

    QGSL and the bridge stay trainable. Of a tied embedding the row is one parameter, of an untied one two: the
    input row and the output row. At the start the model computes what it did without adapters.

    Raises:
        ValueError: the model already has adapters.
    """
    if adapter_parameters(model):
        raise ValueError("the model already has adapters; merge_lora(model) first")

    from peft import LoraConfig, inject_adapter_in_model

    token = model.config.det_token_id
    modules = ["embed_tokens"] if model.config.mllm.tie_word_embeddings else ["embed_tokens", "lm_head"]
    model.mllm.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=ATTENTION_PROJECTIONS,
        trainable_token_indices={name: [token] for name in modules},
    )
    inject_adapter_in_model(config, model.mllm)


@torch.no_grad()
def merge_lora(model: BridgeSTGForVideoGrounding) -> None:
    """Add the adapters to the weights they adapt and remove them: same outputs, plain keys, ready to be saved.

    A model without adapters stays as it is. Every parameter of Qwen3-VL is frozen afterwards.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    # Listed first: the tree changes while it is walked.
    for name, module in list(model.mllm.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if isinstance(module, AuxiliaryTrainingWrapper):
            module.token_adapter.merge()
            setattr(model.mllm.get_submodule(parent), leaf, module.token_adapter.get_base_layer())
        elif isinstance(module, BaseTunerLayer) and "token_adapter" not in name:
            module.merge()
            setattr(model.mllm.get_submodule(parent), leaf, module.get_base_layer())
    # Left by PEFT; a second round of adapters would take it for the first.
    model.mllm.__dict__.pop("peft_config", None)
    if model.config.mllm.tie_word_embeddings:
        # While wrapped the two were kept in step by PEFT; now they are one tensor again.
        model.mllm.lm_head.weight = model.mllm.get_input_embeddings().weight
    model.mllm.requires_grad_(False)


def lora_size(model: BridgeSTGForVideoGrounding) -> tuple[int, int]:
    """Rank and alpha of the adapters of a model."""
    config = model.mllm.peft_config["default"]
    return int(config.r), int(config.lora_alpha)
