"""LoRA on the language tower (section 4.1: r = 8, alpha = 32), and the one new token row."""

from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding

# A pattern, not leaf names: "all linear layers" would reach the vision tower and its mergers.
ATTENTION_PROJECTIONS = r".*language_model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj"


def add_lora(model: BridgeSTGForVideoGrounding, rank: int = 8, alpha: int = 32) -> None:
    """Freeze Qwen3-VL, add adapters to the language tower's attention, and free the row of ``<det>`` (App. B.4).

    QGSL and the bridge stay trainable.
    """
    model.mllm.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=ATTENTION_PROJECTIONS,
        trainable_token_indices={"embed_tokens": [model.config.det_token_id], "lm_head": [model.config.det_token_id]}
        if not model.config.mllm.tie_word_embeddings
        else [model.config.det_token_id],
    )
    inject_adapter_in_model(config, model.mllm)
