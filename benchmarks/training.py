"""How fast training is: samples, tokens, MFU and peak memory of one configuration with random weights.

    python benchmarks/training.py                                  # the shipped size, on what there is
    python benchmarks/training.py --scale 8b --precision bf16 --gradient-checkpointing
    python benchmarks/training.py --scale 8b --count               # no weights: parameters and operations only

A sample is a generated clip of --seconds with --located sentences that ask when and where, --positive and
--negative frames each. The steps are those of the training loop: forward, backward, clipping, AdamW. LoRA on
the language tower, bridge and spatial decoder in full (--full trains the language tower too). MFU is defined in
bridge_stg.training.throughput.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from typing import Any


def main() -> None:
    arguments = parse_arguments()
    report = count(arguments) if arguments.count else measure(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        print(f"{name:24} {value:,.4g}" if isinstance(value, float) else f"{name:24} {value}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("shapes", "2b", "4b", "8b"), default="shapes")
    parser.add_argument("--clips", type=int, default=2, help="per step and process")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a clip")
    parser.add_argument("--located", type=int, default=1, help="sentences per clip that ask when and where")
    parser.add_argument("--positive", type=int, default=8, help="frames inside the window per sentence")
    parser.add_argument("--negative", type=int, default=2, help="frames outside the window per sentence")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="steps before the clock starts")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--full", action="store_true", help="train the language tower in full")
    parser.add_argument("--count", action="store_true", help="count only, on no device")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def make(arguments: argparse.Namespace, device: str) -> tuple[Any, Any, Any]:
    """Model, processor and configuration of a run; no weight is made on the device "meta"."""
    import torch

    from bridge_stg.cli.runs import recipe
    from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
    from bridge_stg.model.lora import add_lora
    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
    from bridge_stg.model.presets import qwen3_vl_config
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.model.small_tokenizer import DET_TOKEN
    from bridge_stg.shapes.model import small_config, small_tokenizer
    from bridge_stg.training.settings import override

    # The published tokenizer is not part of this package. Ours has other ids for its special tokens; the
    # vocabulary stays as it is, so that matrices have their published sizes.
    tokenizer = small_tokenizer()
    if arguments.scale == "shapes":
        model_config = small_config(tokenizer)
    else:
        mllm = qwen3_vl_config(arguments.scale)
        for field, token in (
            ("image_token_id", "<|image_pad|>"),
            ("video_token_id", "<|video_pad|>"),
            ("vision_start_token_id", "<|vision_start|>"),
            ("vision_end_token_id", "<|vision_end|>"),
        ):
            setattr(mllm, field, tokenizer.convert_tokens_to_ids(token))
        det = tokenizer.convert_tokens_to_ids(DET_TOKEN)
        model_config = BridgeSTGConfig(mllm=mllm, spatial=SpatialConfig(), det_token_id=det)
    torch.manual_seed(0)
    with torch.device(device):
        model = BridgeSTGForVideoGrounding(model_config)
    model.train()
    model.mllm.requires_grad_(False)
    if arguments.full:
        model.mllm.model.language_model.requires_grad_(True)
        model.mllm.lm_head.requires_grad_(True)
    elif device != "meta":
        add_lora(model)
    if arguments.precision == "bf16":
        # As a published base is loaded: what is frozen in bfloat16, what learns in float32.
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
    processor = BridgeSTGProcessor(tokenizer, model_config)
    seconds = arguments.seconds
    settings = [
        f"data.clips_per_step={arguments.clips}",
        f"data.num_positive={arguments.positive}",
        f"data.num_negative={arguments.negative}",
        "data.image_share=0",
        f"optim.steps={arguments.steps + arguments.warm_up}",
        f"optim.accumulate={arguments.accumulate}",
    ]
    values = override(recipe("shapes"), settings).model_dump()
    values["data"]["min_duration"] = seconds
    values["data"]["curriculum"] = [
        {"until": 1.0, "min_objects": 3, "max_objects": 4, "max_duration": seconds + 1e-3}
    ]
    values["data"]["mix"] = {"located": arguments.located}
    values["tune"] = "full" if arguments.full else "lora"
    return model, processor, type(override(recipe("shapes"), [])).model_validate(values)


def count(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters, tokens and operations of a sample, on the meta device."""
    from bridge_stg.cli.runs import open_stage
    from bridge_stg.training.throughput import StepOperations

    model, processor, config = make(arguments, "meta")
    work = open_stage(config).source(processor, 1, None).batch(0, slice(None)).work(processor)
    return {
        "scale": arguments.scale,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens_per_sample": work.tokens / arguments.clips,
        "operations_per_sample": StepOperations(model)(work) / arguments.clips,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The median step of a few."""
    import statistics

    import torch
    from accelerate import Accelerator

    from bridge_stg.cli.runs import open_stage
    from bridge_stg.training.data.step_data import StepData
    from bridge_stg.training.log import RunLog
    from bridge_stg.training.optimization import enable_checkpointing, parameter_groups, set_rates, take_step
    from bridge_stg.training.step import StepRunner
    from bridge_stg.training.throughput import peak_memory_gb, peak_operations
    from bridge_stg.training.token_accuracy import TokenGroups

    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=arguments.precision)
    device = accelerator.device
    model, processor, config = make(arguments, str(device))
    if arguments.gradient_checkpointing:
        enable_checkpointing(model)
    stage = open_stage(config)
    # The stage did not build this model, but it logs the accuracy of its tokens.
    stage.groups = TokenGroups(processor.tokenizer, stage.word_groups)
    optimizer = torch.optim.AdamW(parameter_groups(model, config))
    model, optimizer = accelerator.prepare(model, optimizer)
    runner = StepRunner(accelerator, stage, model, processor)
    data = StepData(
        stage.source(processor, arguments.accumulate, None), config.optim.steps, arguments.accumulate
    )

    seconds, log = [], RunLog(None)
    for step in range(config.optim.steps):
        batches = data[step]
        if step == arguments.warm_up:
            log = RunLog(None)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
        started = time.perf_counter()
        set_rates(optimizer, config.optim, step)
        losses, _ = runner.compute(batches, log)
        # Reads the loss, and so waits for the device.
        outcome = take_step(accelerator, optimizer, torch.stack(losses).sum())
        if step >= arguments.warm_up:
            seconds.append(time.perf_counter() - started)
        assert outcome.finite, outcome.faults()

    each = statistics.median(seconds)
    rate = {name: amount / arguments.steps / each for name, amount in log.amounts.items()}
    samples = log.amounts["samples"]
    return {
        "scale": arguments.scale,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "seconds_per_step": each,
        "samples_per_second": rate["samples"],
        "tokens_per_second": rate["tokens"],
        "tokens_per_sample": log.amounts["tokens"] / samples,
        "operations_per_sample": log.amounts["flops"] / samples,
        "mfu": rate["flops"] / peak_operations(device, arguments.precision),
        "peak_memory_gb": peak_memory_gb(device),
    }


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
