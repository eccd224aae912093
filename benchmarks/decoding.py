"""What it takes to answer several sentences about one clip: with copies of its cache, or over one.

    OMP_NUM_THREADS=1 python benchmarks/decoding.py
    OMP_NUM_THREADS=1 python benchmarks/decoding.py --clips 2400 --sentences 1 8 --ways stock engine --json

A model of about 50 million parameters with random weights reads a clip and answers greedily, without drafts:

    stock    transformers' ``generate`` of Qwen3-VL on the same weights, ids and positions; a copy of the
             clip's cache for each sentence is made beforehand
    plain    the model's layers by the library, a copy of the cache for each sentence, one token each per pass
    engine   ``bridge_stg.inference.answering``: one cache for all

All must say the same. Each measurement is a process of its own, forked after the clip was read. Milliseconds
are processor time, the least of the rounds; "step" is the median pass after the question's. Memory is the peak
of the process above what it had when it started.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, Qwen3VLForConditionalGeneration

from bridge_stg.inference.answering import ReadClip, answer
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, EncodedVideo
from bridge_stg.model.row_tower import RowTower, join_projections
from bridge_stg.model.shared_keys import SharedKeys
from bridge_stg.model.temporal_alignment import ClipLayout, FramingTokenIds, layout_clip
from bridge_stg.shapes.model import small_config, small_tokenizer

GRID = (8, 12)
QUESTION_TOKENS = 24
MIB = 2**20


@dataclass(frozen=True)
class Scene:
    """A model of each kind with the same weights, and a clip that both have read."""

    model: BridgeSTGForVideoGrounding
    stock: Qwen3VLForConditionalGeneration
    clip_ids: Tensor
    cache: DynamicCache
    clip: ReadClip
    questions: list[list[int]]


@dataclass(frozen=True)
class Measurement:
    """One way with one number of sentences."""

    ids: list[list[int]]
    question_ms: float
    step_ms: float
    total_ms: float
    forwards: int
    peak_mib: float
    own_mib: float | None = None


class EveryCopy:
    """Every sentence sees its own copy of the clip and its earlier tokens."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        queries, keys = query.shape[2], key.shape[2]
        mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        groups = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[2400, 4500], help="tokens of each, about")
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--copies", type=float, default=1.5, help="GiB of cache copies that may be made")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"threads": torch.get_num_threads(), "tokens": arguments.tokens, "clips": []}
    with torch.inference_mode():
        for length in arguments.clips:
            scene = make_scene(length, arguments.layers, max(arguments.sentences))
            tower = scene.model.mllm.model.language_model
            report["parameters"] = sum(p.numel() for p in tower.parameters())
            report["clips"].append(measure_clip(scene, arguments))
            if not arguments.json:
                print_clip(report["parameters"], report["clips"][-1])
    if arguments.json:
        print(json.dumps(report, indent=2))


def make_scene(length: int, layers: int, sentences: int) -> Scene:
    """Random weights, a clip of noise, and random questions of one length."""
    torch.manual_seed(0)
    config = small_config(small_tokenizer())
    text = config.mllm.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 512, 1536, layers
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 8, 4, 64
    text.rope_parameters = dict(text.rope_parameters) | {"mrope_section": [12, 10, 10]}
    config.mllm.vision_config.out_hidden_size = text.hidden_size
    model = BridgeSTGForVideoGrounding(config).eval()
    stock = Qwen3VLForConditionalGeneration(config.mllm).eval()
    stock.load_state_dict(model.mllm.state_dict())
    join_projections(model.mllm.model.language_model)

    # One prefill for all ways; the engine lays its keys out otherwise, so that the others keep a copy.
    mllm = config.mllm
    tokens = FramingTokenIds(mllm.vision_start_token_id, mllm.vision_end_token_id, mllm.video_token_id)
    pairs = round(length / (GRID[0] * GRID[1] + 3))
    layout = layout_clip((pairs, *GRID), [[40, 41, 42]] * pairs, "virtual", 0, tokens)
    cache = prefill(model, layout, (pairs, *GRID))
    tower = RowTower.of(model.mllm.model.language_model)
    clip = ReadClip(SharedKeys(copy.deepcopy(cache)), len(layout.input_ids), layout.next_position, tower)
    stock.model.rope_deltas = torch.tensor([[clip.next_position - clip.length]])

    generator = torch.Generator().manual_seed(1)
    asked = torch.randint(0, 256, (sentences, QUESTION_TOKENS), generator=generator).tolist()
    return Scene(model, stock, layout.input_ids, cache, clip, asked)


def prefill(model: BridgeSTGForVideoGrounding, layout: ClipLayout, grid: tuple[int, int, int]) -> DynamicCache:
    """The cache of a clip of noise."""
    text = model.config.mllm.text_config
    count = grid[0] * grid[1] * grid[2]
    vision = EncodedVideo(torch.randn(count, text.hidden_size) / 50, (), (grid,))
    index = torch.arange(len(layout.input_ids))[None]
    positions = torch.cat([index, layout.positions])[:, None]
    cache = DynamicCache(config=text)
    model.read(layout.input_ids[None], positions, vision=vision, cache=cache)
    return cache


def measure_clip(scene: Scene, arguments: argparse.Namespace) -> dict[str, Any]:
    """All ways with all numbers of sentences on one clip."""
    rows: list[dict[str, Any]] = []
    said: dict[int, list[list[int]]] = {}
    for count in arguments.sentences:
        for way in arguments.ways:
            copies_mib = count * scene.clip.keys.nbytes / MIB
            row: dict[str, Any] = {"way": way, "sentences": count, "copies_mib": copies_mib}
            rows.append(row)
            if way != "engine" and copies_mib > 1024 * arguments.copies:
                row["skipped"] = "the copies of the cache would be too large"
                continue
            rounds = [in_a_process(scene, way, count, arguments.tokens) for _ in range(arguments.rounds)]
            best = min(rounds, key=lambda one: one.total_ms)
            row |= asdict(best) | {"step_ms": min(one.step_ms for one in rounds)}
            del row["ids"]
            if best.ids != said.setdefault(count, best.ids):
                raise SystemExit(f"{way}: says other things about {count} sentences; this compares nothing")
    return {
        "clip_tokens": scene.clip.length,
        "clip_mib": scene.clip.keys.nbytes / MIB,
        "rows": rows,
        "ratios": ratios(rows),
    }


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that the engine is built for."""
    at = {(row["way"], row["sentences"]): row for row in rows if "step_ms" in row}
    found = {}
    for (way, count), row in at.items():
        if way == "engine":
            for kind in ("step_ms", "total_ms"):
                if ("engine", 1) in at and count > 1:
                    found[f"engine of {count} / engine of 1, {kind}"] = row[kind] / at["engine", 1][kind]
                for other in ("stock", "plain"):
                    if (other, count) in at:
                        found[f"{other} / engine of {count}, {kind}"] = at[other, count][kind] / row[kind]
    return found


def in_a_process(scene: Scene, way: str, count: int, tokens: int) -> Measurement:
    """Run one way in a fork of this process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(there, scene, way, count, tokens))
    worker.start()
    there.close()
    try:
        found: Measurement = here.recv()
    except EOFError as problem:
        raise SystemExit(f"{way} with {count} sentences ended without a result") from problem
    finally:
        worker.join()
    return found


def _work(pipe: Any, scene: Scene, way: str, count: int, tokens: int) -> None:
    with torch.inference_mode():
        pipe.send(measure(scene, way, count, tokens))


def measure(scene: Scene, way: str, count: int, tokens: int) -> Measurement:
    """Time and memory of one way, in this process."""
    run = WAYS[way](scene, scene.questions[:count], tokens)
    marks: list[float] = []
    hooks = [
        model.lm_head.register_forward_hook(lambda *_: marks.append(time.process_time()))
        for model in (scene.model.mllm, scene.stock)
    ]
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    memory, started = _status("VmRSS"), time.process_time()
    ids, own = run()
    ended, peak = time.process_time(), _status("VmHWM")
    for hook in hooks:
        hook.remove()
    steps = [1000 * (later - earlier) for earlier, later in pairwise(marks)]
    return Measurement(
        ids=ids,
        question_ms=1000 * (marks[0] - started),
        step_ms=statistics.median(steps),
        total_ms=1000 * (ended - started),
        forwards=len(marks),
        peak_mib=(peak - memory) / MIB,
        own_mib=own,
    )


def _status(name: str) -> int:
    """Bytes by a name of Linux's process status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"this system does not tell {name} of a process")


def engine(scene: Scene, questions: list[list[int]], tokens: int) -> Any:
    def run() -> tuple[list[list[int]], float | None]:
        answers = answer(scene.model, scene.clip, questions, turn_end=-1, max_new_tokens=tokens)
        return answers.ids, answers.branches.nbytes / MIB

    return run


def plain(scene: Scene, questions: list[list[int]], tokens: int) -> Any:
    def run() -> tuple[list[list[int]], float | None]:
        cache = copy.deepcopy(scene.cache)
        cache.batch_repeat_interleave(len(questions))
        ids, begin = torch.tensor(questions), 0
        said: list[Tensor] = []
        for _ in range(tokens):
            steps = torch.arange(begin, begin + ids.shape[1]).expand(len(questions), -1)
            text = steps + scene.clip.next_position
            positions = torch.stack([steps + scene.clip.length, text, text, text])
            hidden = scene.model.read(ids, positions, pattern=EveryCopy(), cache=cache)
            begin += ids.shape[1]
            ids = scene.model.mllm.lm_head(hidden[:, -1:]).argmax(-1)
            said.append(ids)
        return torch.cat(said, dim=1).tolist(), None

    return run


def stock(scene: Scene, questions: list[list[int]], tokens: int) -> Any:
    cache = copy.deepcopy(scene.cache)
    cache.batch_repeat_interleave(len(questions))
    ids = torch.cat([scene.clip_ids.expand(len(questions), -1), torch.tensor(questions)], dim=1)

    def run() -> tuple[list[list[int]], float | None]:
        found = scene.stock.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        return found[:, ids.shape[1] :].tolist(), None

    return run


WAYS = {"stock": stock, "plain": plain, "engine": engine}


def print_clip(parameters: int, clip: dict[str, Any]) -> None:
    print(f"{parameters:,} parameters, a clip of {clip['clip_tokens']} tokens ({clip['clip_mib']:.0f} MiB)")
    print(
        f"{'way':<8}{'sentences':>9}{'question ms':>13}{'step ms':>9}{'total ms':>10}{'forwards':>9}"
        f"{'peak MiB':>10}{'own MiB':>9}"
    )
    for row in clip["rows"]:
        if "skipped" in row:
            print(f"{row['way']:<8}{row['sentences']:>9}   {row['skipped']} ({row['copies_mib']:.0f} MiB)")
            continue
        own = "" if row["own_mib"] is None else f"{row['own_mib']:.1f}"
        print(
            f"{row['way']:<8}{row['sentences']:>9}{row['question_ms']:>13.0f}{row['step_ms']:>9.1f}"
            f"{row['total_ms']:>10.0f}{row['forwards']:>9}{row['peak_mib']:>10.1f}{own:>9}"
        )
    for name, value in clip["ratios"].items():
        print(f"  {name}: {value:.2f}")


if __name__ == "__main__":
    main()
