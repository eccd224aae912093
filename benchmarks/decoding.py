"""What it takes to answer several sentences about one clip: a copy of its cache for each, or one cache for all.

    OMP_NUM_THREADS=1 python benchmarks/decoding.py
    OMP_NUM_THREADS=1 python benchmarks/decoding.py --pairs 90 --sentences 1 8 32 --json

A model of about 40 million parameters with random weights reads a clip and answers greedily, without drafts.
The plain way repeats the cache of the clip for each sentence and concatenates it again in each step, as a stock
model does; both ways must say the same. Times are processor seconds of this process, the least of the rounds.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from bridge_stg.inference.answering import ReadClip, answer, read_clip
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, EncodedVideo
from bridge_stg.model.temporal_alignment import ClipTokens, layout_clip
from bridge_stg.shapes.model import small_config, small_tokenizer

GRID = (8, 12)
QUESTION_TOKENS = 24


class EveryCopy:
    """Every sentence sees its own copy of the clip and its earlier tokens."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        queries, keys = query.shape[2], key.shape[2]
        mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        groups = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24, help="frame pairs of 96 tokens each")
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with torch.inference_mode():
        report = measure(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['parameters']:,} parameters, {report['clip_tokens']} tokens in the clip")
    print(
        f"{'sentences':>9} {'plain s':>9} {'engine s':>9} {'ratio':>6} {'engine/one':>10} "
        f"{'own MiB':>8} {'copies MiB':>10}"
    )
    for row in report["rows"]:
        print(
            f"{row['sentences']:>9} {row['plain_s']:>9.2f} {row['engine_s']:>9.2f} {row['ratio']:>6.2f} "
            f"{row['engine_of_one']:>10.2f} {row['own_mib']:>8.1f} {row['copies_mib']:>10.1f}"
        )


def measure(arguments: argparse.Namespace) -> dict:
    """Both ways in turns, for each number of sentences."""
    torch.manual_seed(0)
    model = mid_size_model(arguments.layers)
    clip = random_clip(model, arguments.pairs)
    text = model.config.mllm.text_config
    generator = torch.Generator().manual_seed(1)
    asked = torch.randint(0, 256, (max(arguments.sentences), QUESTION_TOKENS), generator=generator).tolist()
    rows: list[dict] = []
    for count in arguments.sentences:
        questions = asked[:count]
        answers = answer(model, clip, questions, turn_end=-1, max_new_tokens=arguments.tokens)
        if answers.ids != plain_answers(model, clip, questions, arguments.tokens):
            raise SystemExit("the two ways say different things; this compares nothing")
        seconds: dict[str, float] = {"plain": float("inf"), "engine": float("inf")}
        for _ in range(arguments.rounds):
            for name, way in (("plain", plain_answers), ("engine", engine_answers)):
                seconds[name] = min(seconds[name], timed(way, model, clip, questions, arguments.tokens))
        copies = 2 * 4 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * clip.length * count
        rows.append(
            {
                "sentences": count,
                "plain_s": seconds["plain"],
                "engine_s": seconds["engine"],
                "ratio": seconds["plain"] / seconds["engine"],
                "engine_of_one": seconds["engine"] / (rows[0]["engine_s"] if rows else seconds["engine"]),
                "engine_ms_a_step": 1000 * seconds["engine"] / arguments.tokens,
                "passes": max(answers.passes),
                "own_mib": answers.branches.nbytes / 2**20,
                "copies_mib": copies / 2**20,
            }
        )
    parameters = sum(p.numel() for p in model.mllm.model.language_model.parameters())
    return {
        "parameters": parameters,
        "clip_tokens": clip.length,
        "threads": torch.get_num_threads(),
        "rows": rows,
    }


def mid_size_model(layers: int) -> BridgeSTGForVideoGrounding:
    """The small model with a language tower of published proportions."""
    config = small_config(small_tokenizer())
    text = config.mllm.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 512, 1536, layers
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 8, 4, 64
    text.rope_parameters = dict(text.rope_parameters) | {"mrope_section": [12, 10, 10]}
    config.mllm.vision_config.out_hidden_size = text.hidden_size
    return BridgeSTGForVideoGrounding(config).eval()


def random_clip(model: BridgeSTGForVideoGrounding, pairs: int) -> ReadClip:
    """A clip of noise, prefilled."""
    mllm, width = model.config.mllm, model.config.mllm.text_config.hidden_size
    tokens = ClipTokens(mllm.vision_start_token_id, mllm.vision_end_token_id, mllm.video_token_id)
    grid = (pairs, *GRID)
    layout = layout_clip(grid, [[40, 41, 42]] * pairs, "virtual", 0, tokens)
    count = pairs * GRID[0] * GRID[1]
    vision = EncodedVideo(torch.randn(count, width) / 50, (), (grid,))
    return read_clip(model, layout, vision)


def engine_answers(
    model: BridgeSTGForVideoGrounding, clip: ReadClip, questions: list[list[int]], tokens: int
) -> list[list[int]]:
    return answer(model, clip, questions, turn_end=-1, max_new_tokens=tokens).ids


def plain_answers(
    model: BridgeSTGForVideoGrounding, clip: ReadClip, questions: list[list[int]], tokens: int
) -> list[list[int]]:
    """Greedy answers to questions of one length, each on a copy of the clip's cache."""
    cache = copy.deepcopy(clip.cache)
    cache.batch_repeat_interleave(len(questions))
    ids, begin = torch.tensor(questions), 0
    said: list[Tensor] = []
    for _ in range(tokens):
        steps = torch.arange(begin, begin + ids.shape[1]).expand(len(questions), -1)
        text = steps + clip.next_position
        positions = torch.stack([steps + clip.length, text, text, text])
        hidden = model.read(ids, positions, pattern=EveryCopy(), cache=cache)
        begin += ids.shape[1]
        ids = model.mllm.lm_head(hidden[:, -1:]).argmax(-1)
        said.append(ids)
    return torch.cat(said, dim=1).tolist()


def timed(way: Callable[..., object], *arguments: object) -> float:
    started = time.process_time()
    way(*arguments)
    return time.process_time() - started


if __name__ == "__main__":
    main()
