"""The big recipe at its real size on a CPU: train, go on, merge, ground; seconds and peak memory of each.

    python benchmarks/real_size.py                   # 2B and Swin-L: about 20 minutes of two cores, 17 GB
    python benchmarks/real_size.py --scale tiny      # the same commands on a few million parameters

A Qwen3-VL of the 2B's shape with random weights and the real vocabulary of Qwen3 (extra ``vocabulary``), a
random spatial decoder of the paper's shape, and the recipe ``lora-2b-1x24gb`` on two generated clips: three
steps of two clips in bfloat16, of which the third is another command that goes on from the second. Nothing is
learned; what is shown is that every command works on matrices of the published sizes, and what it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where the builder of the real tokenizer lies, which tests share.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SCALES = ("2b", "tiny")
CLIPS = 2
SENTENCE = "the red circle moves to the left"


@dataclass(frozen=True)
class Spent:
    """What a command took: wall seconds, processor seconds, and the most memory of its largest process."""

    seconds: float
    processor_seconds: float
    peak_gb: float


# Runs a command of bridge-stg, given as its words.
Run = Callable[[Sequence[str]], Spent]


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="real-size-", dir=arguments.work) as folder:
        table = walk(Path(folder), arguments.scale, in_a_process)
        cost = boxes_cost(Path(folder))

    if arguments.json:
        print(json.dumps({name: vars(spent) for name, spent in table.items()} | {"cost": cost}, indent=2))
        return
    print(f"{'command':12} {'seconds':>9} {'processor':>10} {'peak, GB':>9}")
    for name, spent in table.items():
        print(f"{name:12} {spent.seconds:9.1f} {spent.processor_seconds:10.1f} {spent.peak_gb:9.2f}")

    print("\nboxes, a clip and its questions (beside: bridge-stg cost --scale 2b --device cpu):")
    print(json.dumps(cost, indent=2))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="2b")
    parser.add_argument("--work", type=Path, help="a folder with 25 GB to spare; default: the temporary one")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def walk(folder: Path, scale: str, run: Run) -> dict[str, Spent]:
    """The whole way in ``folder``, one command after the other; what each took by its name."""
    base, data, out = folder / "base", folder / "data", folder / "run"
    parameters = make_base(base, scale)
    print(f"base: {parameters:,} parameters, random", file=sys.stderr)

    drawn = ("data", "shapes", "--out", str(data), "--videos", str(CLIPS), "--workers", "1", "--questions", "2")
    length = ("--min-duration", "8", "--max-duration", "10") if scale == "2b" else ("--max-duration", "5")
    size = ("--width", "512", "--height", "384") if scale == "2b" else ("--width", "96", "--height", "72")
    train = ("train", "lora-2b-1x24gb", "--data", str(data), "--out", str(out))
    settings = (
        f"base={base}",
        "detector=null",
        f"spatial={'paper' if scale == '2b' else 'small'}",
        'data.records.sources=[{"name": "shapes", "path": "."}]',
        f"data.records.clips_per_step={CLIPS}",
        f"optim.accumulate={CLIPS}",
        f"data.workers={1 if scale == '2b' else 0}",
        "log_every=1",
    )
    chosen = [word for setting in settings for word in ("--set", setting)]
    merged = folder / "merged"
    commands: dict[str, tuple[str, ...]] = {
        "data": (*drawn, *length, *size),
        "two steps": (*train, *chosen, "--set", "optim.steps=2"),
        "one more": (*train, *chosen, "--set", "optim.steps=3"),
        "merge": ("merge", str(out), "--out", str(merged)),
        "ground": (
            *("ground", str(data / "videos" / "000000.mp4"), SENTENCE, "--checkpoint", str(merged)),
            *("--out", str(folder / "found"), "--json", "--timing"),
        ),
        # What random weights say holds no window: the spatial decoder is given the true ones.
        "boxes": (
            *("predict", "--data", str(data), "--task", "stvg", "--checkpoint", str(merged)),
            *("--oracle-window", "--limit", "1", "--out", str(folder / "boxes.jsonl")),
        ),
    }

    table = {}
    for name, words in commands.items():
        print(f"{name}: bridge-stg {' '.join(words)}", file=sys.stderr)
        table[name] = run(words)

    return table


def boxes_cost(folder: Path) -> dict[str, Any]:
    """What the clip of the last command held, and its milliseconds by stage."""
    content = json.loads((folder / "boxes.jsonl.cost.json").read_text(encoding="utf-8"))
    return {"queries": content["queries"], **content["mean_per_clip"], **content["runs"][0]["totals"]}


def make_base(folder: Path, scale: str) -> int:
    """Write a random Qwen3-VL with the real vocabulary, as the hub has it, in bfloat16; its parameters."""
    import torch
    from support.qwen3_vocabulary import qwen3_tokenizer, vocabulary_file
    from transformers import Qwen3VLForConditionalGeneration

    file = vocabulary_file()
    if file is None:
        sys.exit("the real vocabulary is missing: pip install 'bridge-stg[vocabulary]'")

    torch.manual_seed(0)
    kept = torch.get_default_dtype()
    # Made in the precision it is written in: in float32 it would be there twice.
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Qwen3VLForConditionalGeneration(mllm_config(scale))
    finally:
        torch.set_default_dtype(kept)

    model.save_pretrained(folder)
    qwen3_tokenizer(file).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def mllm_config(scale: str) -> Any:
    """The published shape of the 2B, or one of a few million parameters, most of them in the vocabulary."""
    from transformers import Qwen3VLConfig

    from bridge_stg.model.presets import qwen3_vl_config

    if scale == "2b":
        return qwen3_vl_config("2b")

    sizes = qwen3_vl_config("2b").to_dict()
    rope = sizes["text_config"]["rope_parameters"] | {"mrope_section": [8, 4, 4]}
    sizes["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes["text_config"] |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    sizes["text_config"] |= {"rope_parameters": rope}
    sizes["vision_config"] |= {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    sizes["vision_config"] |= {"num_position_embeddings": 16, "out_hidden_size": 32}
    sizes["vision_config"] |= {"deepstack_visual_indexes": [0]}
    return Qwen3VLConfig(**sizes)


def in_a_process(words: Sequence[str]) -> Spent:
    """Run a command in a process of its own, whose words go to stderr."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "bridge_stg.cli.main", *words], stdout=sys.stderr, stdin=subprocess.DEVNULL
    )

    # Waited for by hand: this call alone says what the child took.
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bridge-stg {words[0]} ended with code {child.returncode}")

    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    seconds = time.perf_counter() - started
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e9)


if __name__ == "__main__":
    main()
