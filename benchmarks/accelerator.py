"""What to know about one accelerator, in one go: latency, memory, and rates of answering and training.

    python benchmarks/accelerator.py                  # the 8B, random weights, the workload of Table 9
    python benchmarks/accelerator.py --scale 2b --json
    python benchmarks/accelerator.py --scale tiny     # seconds, on any CPU: does the script work?

The workload of Table 9 is a clip of 46 frames and one sentence about it, of which about 21 frames are located.
Random weights never end an answer, and no draft of theirs is ever right: answers are cut after 14 and after 43
tokens, each of which is a pass. 43 is an answer word by word, as in the paper; 14 are the passes that a drafted
answer should need (``bridge-stg cost``). Decoding the video is not counted, as in Table 9.

The targets are stated for the 8B on one H100; each is printed with what was measured, met or missed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

# The other benchmarks, beside this file.
import grounding
import training

# Seconds of the clip, drawn size, warm calls, lengths of answers, training steps.
TABLE_9 = Namespace(seconds=23.0, width=640, height=480, repeats=3, passes=(14, 43), steps=5)
TINY = Namespace(seconds=5.0, width=160, height=120, repeats=1, passes=(4,), steps=1)

# Of the 8B on one H100: at most, at most, at least, at least.
TARGETS = {
    "ms_a_sentence": 300.0,
    "peak_memory_gb": 22.0,
    "sentences_per_second": 10.0,
    "training_samples_per_second": 1.75,
}
AT_MOST = ("ms_a_sentence", "peak_memory_gb")
SENTENCES_A_CLIP = 4


def main() -> None:
    arguments = parse_arguments()
    # Before torch is loaded, as the command line does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    workload = TINY if arguments.scale == "tiny" else TABLE_9
    scale = "shapes" if arguments.scale == "tiny" else arguments.scale
    report: dict[str, Any] = {"scale": arguments.scale, "seconds": workload.seconds, **about_the_device()}

    # Answering first: a peak of memory counts from its last reset.
    report["answering"] = measure_answering(scale, workload)
    if not arguments.no_training:
        report["training"] = measure_training(scale, workload)

    report["found"] = found_figures(report)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(lines(report)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("tiny", "shapes", "2b", "4b", "8b"), default="8b")
    parser.add_argument("--no-training", action="store_true", help="answering only")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def about_the_device() -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": name, "torch": torch.__version__}


def measure_answering(scale: str, workload: Namespace) -> list[dict[str, Any]]:
    """One sentence, and several about one clip; each with every length of answers."""
    import torch

    from bridge_stg.cli.prepare import quiet_libraries
    from bridge_stg.inference.device import choose_threads

    quiet_libraries()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(choose_threads())
    grounder = grounding.random_grounder(scale, device)

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for sentences in (1, SENTENCES_A_CLIP):
            job = grounding.make_job(Path(folder), workload.seconds, sentences, workload.width, workload.height)
            for passes in workload.passes:
                measured = grounding.measure(grounder, job, workload.repeats, True, passes)
                stages = measured["ms"]["warm"]
                # Table 9 starts with the frames.
                each = (stages["total"] - stages["decode"]) / sentences
                memory = measured["memory"]
                peak = memory.get("peak_cuda_mib", memory["peak_rss_mib"]) * 2**20 / 1e9
                rows.append(
                    {
                        "sentences": sentences,
                        "passes": passes,
                        "ms_a_sentence": each,
                        "sentences_per_second": 1000 / each,
                        "peak_memory_gb": peak,
                        "ms": stages,
                        "tokens": measured["tokens"],
                        "frames": measured["clip"]["sampled_frames"],
                    }
                )
    return rows


def measure_training(scale: str, workload: Namespace) -> dict[str, Any]:
    """LoRA tuning on one clip a step, with one sentence that is located on ten frames."""
    import torch

    cuda = torch.cuda.is_available()
    return training.measure(
        Namespace(
            scale=scale,
            clips=1,
            seconds=workload.seconds,
            located=1,
            positive=8,
            negative=2,
            accumulate=1,
            steps=workload.steps,
            warm_up=1,
            precision="bf16" if cuda else "no",
            gradient_checkpointing=False,
            full=False,
        )
    )


def found_figures(report: dict[str, Any]) -> dict[str, float]:
    """What the targets are about, of the shortest answers."""
    rows = report["answering"]
    shortest = min(row["passes"] for row in rows)
    one, several = (
        next(row for row in rows if (row["sentences"], row["passes"]) == (count, shortest))
        for count in (1, SENTENCES_A_CLIP)
    )
    figures = {
        "ms_a_sentence": one["ms_a_sentence"],
        "peak_memory_gb": max(row["peak_memory_gb"] for row in rows),
        "sentences_per_second": several["sentences_per_second"],
    }
    if "training" in report:
        figures["training_samples_per_second"] = report["training"]["samples_per_second"]
    return figures


def lines(report: dict[str, Any]) -> list[str]:
    """What a person reads."""
    text = [f"{report['scale']}, random weights, on {report['device']} (torch {report['torch']})", ""]
    text.append(f"{'sentences':>9}{'passes':>8}{'ms each':>10}{'per s':>8}{'peak GB':>9}  stages, ms")
    for row in report["answering"]:
        stages = "  ".join(f"{name} {value:.0f}" for name, value in row["ms"].items() if name != "total")
        text.append(
            f"{row['sentences']:9}{row['passes']:8}{row['ms_a_sentence']:10.1f}"
            f"{row['sentences_per_second']:8.2f}{row['peak_memory_gb']:9.2f}  {stages}"
        )
    if "training" in report:
        trained = report["training"]
        text.append(
            f"training: {trained['samples_per_second']:.3g} samples/s, "
            f"{trained['tokens_per_sample']:.0f} tokens each, peak {trained['peak_memory_gb']:.3g} GB, "
            f"{100 * trained['mfu']:.1f}% of the peak operations"
        )

    text += ["", "targets of the 8B on one H100"]
    for name, value in report["found"].items():
        target = TARGETS[name]
        met = value <= target if name in AT_MOST else value >= target
        bound = "at most" if name in AT_MOST else "at least"
        verdict = ("met" if met else "missed") if report["scale"] == "8b" else "of another scale"
        text.append(f"{name:28}{value:10.3g}   {bound} {target:g}: {verdict}")
    return text


if __name__ == "__main__":
    main()
