"""Where the time of grounding goes: milliseconds per stage, tokens, frames, memory, on a generated clip.

    python benchmarks/grounding.py                               # the shipped checkpoint
    python benchmarks/grounding.py --checkpoint FOLDER
    python benchmarks/grounding.py --scale 8b --random           # any size, random weights, the same cost
    python benchmarks/grounding.py --scale shapes --random --command-line

The first call in the process is "first", the median of the others "warm". Random weights never end an answer:
it is cut at --answer-tokens, and the window is given: the middle half of the clip.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge_stg.inference.grounder import VideoGrounder

STAGES = ("decode", "preprocess", "vision", "prefill", "answer", "bridge", "spatial")
BRIDGE_STG = Path(sys.executable).with_name("bridge-stg")


@dataclass(frozen=True)
class Job:
    """A clip and what is asked about it."""

    video: Path
    queries: tuple[str, ...]
    seconds: float


def main() -> None:
    arguments = parse_arguments()
    # Before torch is loaded, as the command line does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        import torch

        from bridge_stg.cli.prepare import quiet_libraries
        from bridge_stg.inference.device import choose_threads
        from bridge_stg.inference.grounder import VideoGrounder

        quiet_libraries()
        imported = time.perf_counter() - started
        job = make_job(Path(folder), arguments.seconds, arguments.queries, arguments.width, arguments.height)

        started = time.perf_counter()
        device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if arguments.random:
            if device == "cpu":
                torch.set_num_threads(choose_threads())
            grounder = random_grounder(arguments.scale, device)
        else:
            grounder = VideoGrounder.from_pretrained(arguments.checkpoint, device=device)
        loaded = time.perf_counter() - started
        report = measure(grounder, job, arguments.repeats, arguments.random, arguments.answer_tokens)
        report["ms"]["import"], report["ms"]["load"] = 1000 * imported, 1000 * loaded
        if arguments.command_line:
            report["command_line"] = time_command_line(grounder, job, Path(folder))
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="shapes", help="'shapes' (shipped) or a folder")
    parser.add_argument("--random", action="store_true", help="random weights of --scale instead")
    parser.add_argument("--scale", choices=("shapes", "2b", "4b", "8b"), default="shapes")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clip")
    parser.add_argument("--queries", type=int, default=3, help="sentences asked together")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=5, help="warm calls")
    parser.add_argument("--answer-tokens", type=int, default=32, help="cut answers there (random weights)")
    parser.add_argument("--device", help="cpu, cuda; default: a GPU if there is one")
    parser.add_argument("--command-line", action="store_true", help="also time whole bridge-stg processes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def make_job(folder: Path, seconds: float, queries: int, width: int, height: int) -> Job:
    """Draw a scene of moving shapes as an mp4, and take its own questions."""
    import numpy as np

    from bridge_stg.shapes.world.objects import SceneSettings
    from bridge_stg.shapes.world.questions import questions
    from bridge_stg.shapes.world.render import render
    from bridge_stg.shapes.world.scene import make_scene
    from bridge_stg.video.write import VideoWriter

    settings = SceneSettings(min_duration=seconds, max_duration=seconds, width=width, height=height)
    scene = make_scene(7, settings)
    video = folder / "clip.mp4"
    with VideoWriter(video, width, height, scene.fps) as writer:
        for number in range(scene.frame_count):
            writer.write(render(scene, np.array([number / float(scene.fps)]), width, height)[0])
    asked = [item.query for item in questions(scene, np.random.default_rng(0)) if item.task == "stvg"]
    # A scene may hold fewer different questions than were asked for; a repeated one costs the same.
    texts = (asked * queries)[:queries]
    return Job(video, tuple(texts), scene.duration)


def random_grounder(scale: str, device: str) -> VideoGrounder:
    """The architecture of a published size, or of the shipped checkpoint, with random weights."""
    import torch

    from bridge_stg.inference.grounder import VideoGrounder
    from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
    from bridge_stg.model.presets import qwen3_vl_config
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.model.small_tokenizer import DET_TOKEN
    from bridge_stg.shapes.model import small_config, small_tokenizer

    # The published tokenizer is not part of this package. Ours has other ids for its special tokens; the
    # vocabulary stays as it is, so that matrices have their published sizes.
    tokenizer = small_tokenizer()
    if scale == "shapes":
        config = small_config(tokenizer)
    else:
        mllm = qwen3_vl_config(scale)
        for field in ("image", "video", "vision_start", "vision_end"):
            token = f"<|{field}_pad|>" if field in ("image", "video") else f"<|{field}|>"
            setattr(mllm, f"{field}_token_id", tokenizer.convert_tokens_to_ids(token))
        config = BridgeSTGConfig(
            mllm=mllm, spatial=SpatialConfig(), det_token_id=tokenizer.convert_tokens_to_ids(DET_TOKEN)
        )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if scale == "shapes" else torch.bfloat16)
    try:
        with torch.device(device):
            model = BridgeSTGForVideoGrounding(config)
    finally:
        torch.set_default_dtype(before)
    return VideoGrounder(model, BridgeSTGProcessor(tokenizer, config), f"random {scale}")


def measure(
    grounder: VideoGrounder, job: Job, repeats: int, random: bool, answer_tokens: int
) -> dict[str, Any]:
    """One first call and ``repeats`` warm ones."""
    import torch

    from bridge_stg.types import TimeSpan

    options: dict[str, Any] = {"timing": True}
    if random:
        options |= {
            "window": TimeSpan(job.seconds / 4, 3 * job.seconds / 4),
            "max_answer_tokens": answer_tokens,
        }
    steps = 0

    def count_step(*_: Any) -> None:
        nonlocal steps
        steps += 1

    if grounder.model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    calls: list[dict[str, float]] = []
    hook = grounder.model.mllm.lm_head.register_forward_hook(count_step)
    for _ in range(1 + repeats):
        steps = 0
        started = time.perf_counter()
        results = grounder.ground(job.video, job.queries, **options)
        total = 1000 * (time.perf_counter() - started)
        calls.append({**results[0].timing_ms, "total": total})
    hook.remove()

    sampled = grounder.sample(job.video)
    _, grid = grounder.processor.patches(sampled.frames)
    layout = grounder.processor.clip(grid, sampled.times)
    visual = int((layout.input_ids == grounder.processor.clip_tokens.video_pad).sum())
    longest = max(len(grounder.processor.question_ids("stvg", query)) for query in job.queries)
    located = [len(result.tube) for result in results if result.tube is not None]
    memory = {"peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if grounder.model.device.type == "cuda":
        memory["peak_cuda_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return {
        "checkpoint": grounder.name,
        "parameters": sum(p.numel() for p in grounder.model.parameters()),
        "device": str(grounder.model.device),
        "dtype": str(grounder.model.dtype),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "clip": {
            "seconds": job.seconds,
            "size": f"{sampled.info.width}x{sampled.info.height}",
            "read_at": f"{sampled.frames.shape[2]}x{sampled.frames.shape[1]}",
            "source_frames": sampled.info.frames,
            "sampled_frames": len(sampled),
            "located_frames": sum(located),
        },
        "sentences": len(job.queries),
        "statuses": [result.status for result in results],
        "tokens": {"visual": visual, "clip": len(layout.input_ids), "question": longest, "answer_steps": steps},
        "ms": {
            "first": {name: calls[0].get(name, 0.0) for name in (*STAGES, "total")},
            "warm": {
                name: statistics.median(call.get(name, 0.0) for call in calls[1:] or calls)
                for name in (*STAGES, "total")
            },
        },
        "memory": memory,
    }


def time_command_line(grounder: VideoGrounder, job: Job, folder: Path) -> dict[str, float]:
    """Seconds of whole processes: the help, one ``ground``, and two of them at once."""
    checkpoint = folder / "checkpoint"
    grounder.model.save_pretrained(checkpoint)
    grounder.processor.save_pretrained(checkpoint)
    ground = [BRIDGE_STG, "ground", job.video, *job.queries, "--checkpoint", checkpoint, "--json"]
    found = {"help_min_of_5": min(_seconds([[BRIDGE_STG, "--help"]]) for _ in range(5))}
    found["ground_min_of_3"] = min(_seconds([ground]) for _ in range(3))
    found["two_at_once_min_of_3"] = min(_seconds([ground, ground]) for _ in range(3))
    return found


def _seconds(commands: list[list[Any]]) -> float:
    """Wall time until all of the processes, started together, have ended well."""
    started = time.perf_counter()
    running = [subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"failed: {commands[0]}")
    return time.perf_counter() - started


def print_report(report: dict[str, Any]) -> None:
    clip, tokens, milliseconds = report["clip"], report["tokens"], report["ms"]
    print(
        f"{report['checkpoint']}: {report['parameters']:,} parameters, {report['dtype']} on "
        f"{report['device']}, {report['threads']} thread(s), load average {report['load_average']:.1f}"
    )
    print(
        f"clip: {clip['seconds']:.1f} s of {clip['size']}, {clip['source_frames']} frames; "
        f"{clip['sampled_frames']} sampled at {clip['read_at']}; {report['sentences']} sentence(s), "
        f"{clip['located_frames']} boxes ({', '.join(report['statuses'])})"
    )
    print(
        f"tokens: {tokens['visual']} visual, {tokens['clip']} in the clip with its timestamps, up to "
        f"{tokens['question']} per question, {tokens['answer_steps']} answer steps"
    )
    print(f"{'stage':<12}{'first ms':>10}{'warm ms':>10}")
    for name in (*STAGES, "total"):
        print(f"{name:<12}{milliseconds['first'][name]:>10.1f}{milliseconds['warm'][name]:>10.1f}")
    print(f"import {milliseconds['import']:.0f} ms, load {milliseconds['load']:.0f} ms")
    print(", ".join(f"{name} {value:,.0f}" for name, value in report["memory"].items()))
    for name, value in report.get("command_line", {}).items():
        print(f"{name}: {value:.2f} s")


if __name__ == "__main__":
    main()
