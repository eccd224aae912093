"""From a sampled video and sentences to the tensors the model reads.

Everything numeric follows from the model's configuration, so a checkpoint folder holds the tokenizer and one
``config.json``, and the two cannot disagree.

Shapes: F sampled frames of H x W pixels, h x w at the size that QGSL reads; P = ceil(F / 2) frame pairs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, BatchFeature, PreTrainedTokenizerBase

from bridge_stg.errors import CheckpointError, InputError, one_line
from bridge_stg.files.shipped import unless_shipped
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.frames import fit_frame_size, normalise_frames, patchify, resize_frames
from bridge_stg.model.small_tokenizer import DET_TOKEN
from bridge_stg.model.special_tokens import VIDEO_TOKENS, check_special_tokens
from bridge_stg.model.temporal_alignment import ClipLayout, FramingTokenIds, layout_clip, text_positions
from bridge_stg.model.token_tree import IGNORE, Branch, build_tree, collate_trees
from bridge_stg.prompting.templates import check_query, prompt_text
from bridge_stg.prompting.timestamps import pair_timestamps
from bridge_stg.types import LOCATED_TASKS, AnswerStyle, SampledVideo, parse_answer_style

CONFIG_NAME = "config.json"
MAX_QUERY_TOKENS = 512


class BridgeSTGProcessor:
    """Tokenizer, ETA layout and frame preprocessing of one checkpoint.

    ``VideoGrounder`` does all of this; by hand, with a ``model``, a ``processor`` and a sampled ``video``:

    >>> from bridge_stg.inference.answering import answer, bridge_answers, read_clip
    >>> query = "the red circle that moves left"
    >>> inputs = processor(video, [query])
    >>> grid = tuple(inputs["video_grid_thw"][0].tolist())
    >>> with torch.inference_mode():
    ...     hidden = model(**inputs).last_hidden_state
    ...     vision = model.encode_video(inputs["pixel_values_videos"], inputs["video_grid_thw"])
    ...     clip = read_clip(model, processor.clip(grid, video.times), vision)
    ...     answers = answer(model, clip, [processor.question_ids("stvg", query)], processor.turn_end)
    ...     bridge = bridge_answers(model, clip, answers)  # (1, M, D)
    ...     frames = inputs["spatial_pixel_values"]
    ...     each = bridge.expand(len(frames), -1, -1)
    ...     boxes, scores = model.localizer(frames, None, torch.arange(len(frames)), each).best()
    >>> when = processor.tokenizer.decode(answers.ids[0])
    >>> tuple(boxes.shape) == (len(video.frames), 4)
    True
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: BridgeSTGConfig) -> None:
        if tokenizer.convert_tokens_to_ids(DET_TOKEN) != config.det_token_id:
            raise CheckpointError(
                f"the tokenizer gives {DET_TOKEN} the id {tokenizer.convert_tokens_to_ids(DET_TOKEN)}, the "
                f"configuration says {config.det_token_id}: they are not of the same checkpoint"
            )
        self.tokenizer = tokenizer
        self.config = config
        check_special_tokens(tokenizer, config.mllm, VIDEO_TOKENS, "checkpoint")

        # What stands around every clip and every question.
        self.clip_tokens = FramingTokenIds(
            config.mllm.vision_start_token_id, config.mllm.vision_end_token_id, config.mllm.video_token_id
        )
        self.turn_start = self._id("<|im_start|>")
        self.turn_end = self._id("<|im_end|>")
        self._opening = (self.turn_start, *self.plain_ids("user\n"))
        self.reply_start = (
            self.turn_end,
            *self.plain_ids("\n"),
            self.turn_start,
            *self.plain_ids("assistant\n"),
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, **kwargs: Any) -> BridgeSTGProcessor:
        """Load the tokenizer and configuration of a shipped name, a checkpoint folder or a hub id.

        Args:
            kwargs: ``config`` if it is loaded already; the rest (``revision``, ``token``, ``cache_dir``, ...)
                says where on the hub to look.
        """
        name = unless_shipped(name)
        try:
            config = kwargs.pop("config", None) or AutoConfig.from_pretrained(name, **kwargs)
            if not isinstance(config, BridgeSTGConfig):
                raise CheckpointError(f"{name}: holds a {config.model_type} model, not a Bridge-STG checkpoint")
            return cls(AutoTokenizer.from_pretrained(name, **kwargs), config)
        except CheckpointError:
            raise
        except Exception as problem:  # a damaged file can fail in any part of the libraries that read it
            line = one_line(f"{type(problem).__name__}: {problem}")
            raise CheckpointError(f"{name}: tokenizer or configuration cannot be loaded: {line}") from problem

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer, and the configuration unless the model has written its own there already."""
        self.tokenizer.save_pretrained(folder)
        if not _is_of_a_model(Path(folder) / CONFIG_NAME):
            self.config.save_pretrained(folder)

    # --- text ---

    def plain_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of text from outside; ``<det>`` or ``<|video_pad|>`` in it is not a special token."""
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(encoded["input_ids"])

    def question_ids(
        self,
        task: str,
        query: str,
        style: AnswerStyle | None = None,
        max_tokens: int = MAX_QUERY_TOKENS,
    ) -> tuple[int, ...]:
        """The rest of the user's turn and the opening of the answer.

        Args:
            style: of the answer; None is the first one that the checkpoint knows. One that knows a single
                style is asked plainly.

        Raises:
            InputError: the query is empty, longer than ``max_tokens``, or no valid text.
        """
        check_query(query)
        text = self.plain_ids(prompt_text(task, query, self._asked_style(style)))
        if len(text) > max_tokens:
            raise InputError(
                f"the query is {len(text)} tokens long, the limit is {max_tokens}; describe one event briefly"
            )
        return (*text, *self.reply_start)

    def branch(
        self,
        task: str,
        query: str,
        answer: str,
        locates: bool,
        style: AnswerStyle | None = None,
        frames: int = 0,
    ) -> Branch:
        """A question with its answer to learn from.

        Args:
            locates: the answer ends with <det> and the queries after it.
            frames: of the clip; a parallel model has a query for each of them.
        """
        question = self.question_ids(task, query, style)
        reply = (*self.plain_ids(answer), self.config.det_token_id if locates else self.turn_end)
        slots = self.config.slots_for(frames) if locates else 0
        return Branch(
            ids=(*question, *reply, *(self.config.det_token_id,) * slots),
            labels=(*(IGNORE,) * len(question), *reply, *(IGNORE,) * slots),
            bridge_slots=slots,
            reads_bridge=locates,
        )

    def _asked_style(self, style: AnswerStyle | None) -> AnswerStyle:
        """The style that the prompt asks for in words: a checkpoint with one style needs no words for it."""
        known = self.config.answer_styles
        if style is not None and style not in known:
            raise InputError(f"the checkpoint answers in the style {' or '.join(known)}, not {style!r}")
        return "direct" if len(known) == 1 else style or parse_answer_style(known[0])

    def caption_branch(self, caption: str, clip: ClipLayout, pair: int) -> Branch:
        """Text about one frame pair, attached right after it, so that it sees nothing later."""
        ids = (self.turn_start, *self.plain_ids(caption), self.turn_end)
        end = clip.pair_ends[pair]
        return Branch(
            ids=ids,
            labels=(IGNORE, *ids[1:]),
            attach=end,
            position=int(clip.positions[:, :end].max()) + 1,
        )

    # --- video ---

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) at which a source of that size is read."""
        return fit_frame_size(
            width, height, self.config.pixels_per_token_side, self.config.max_tokens_per_frame
        )

    def patches(self, frames: NDArray[np.uint8] | Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Patches and patch grid of frames (F, H, W, 3) that have a size given by ``frame_size``."""
        vision = self.config.mllm.vision_config
        return patchify(frames, int(vision.patch_size), int(vision.spatial_merge_size))

    def patch_grid(self, frames: NDArray[np.uint8] | Tensor) -> tuple[int, int, int]:
        """The grid (P, H, W) of the patches of frames (F, H, W, 3), without making them."""
        side = int(self.config.mllm.vision_config.patch_size)
        return -(-len(frames) // 2), frames.shape[1] // side, frames.shape[2] // side

    def merged_grid(self, grid: tuple[int, int, int]) -> tuple[int, int, int]:
        """A patch grid (P, H, W) as visual tokens after the patch merger."""
        merge = int(self.config.mllm.vision_config.spatial_merge_size)
        return grid[0], grid[1] // merge, grid[2] // merge

    def spatial_frames(self, frames: NDArray[np.uint8]) -> Tensor:
        """QGSL's input (F, 3, h, w) of frames (F, H, W, 3)."""
        return self.normalise(self.resize(frames))

    def resize(self, frames: NDArray[np.uint8]) -> Tensor:
        """Frames (F, H, W, 3) at the size that QGSL reads, (F, 3, h, w) uint8."""
        return resize_frames(frames, self.config.spatial_short_side)

    def normalise(self, images: Tensor) -> Tensor:
        """What ``resize`` returns as QGSL's input, on the device where it is."""
        spatial = self.config.spatial
        return normalise_frames(images, tuple(spatial.pixel_mean), tuple(spatial.pixel_std))

    def clip(self, grid: tuple[int, int, int], times: NDArray[np.float64] | None) -> ClipLayout:
        """The opening of the user's turn and the clip; ``times`` (F,) seconds, None for an image.

        Args:
            grid: (P, H, W) in patches, as ``patches`` returns it.
        """
        # ETA: the frame pairs, each with its timestamp.
        stamps = None
        if times is not None:
            stamps = [list(self.plain_ids(text)) for text in pair_timestamps(times)]
        layout = layout_clip(
            self.merged_grid(grid),
            stamps,
            self.config.eta_mode,
            len(self._opening),
            self.clip_tokens,
        )

        # The opening of the turn stands before it.
        opening = torch.tensor(self._opening)
        return ClipLayout(
            input_ids=torch.cat([opening, layout.input_ids]),
            positions=torch.cat([text_positions(0, len(opening)), layout.positions], dim=1),
            pair_ends=tuple(end + len(opening) for end in layout.pair_ends),
            next_position=layout.next_position,
        )

    def __call__(
        self,
        video: SampledVideo,
        queries: Sequence[str],
        answers: Sequence[str] | None = None,
        task: str = "stvg",
    ) -> BatchFeature:
        """Everything ``BridgeSTGForVideoGrounding.forward`` needs to ground sentences in one video.

        Every sentence is a branch of one token tree over the clip. Without ``answers`` the branches end where
        the answer begins, and the model gives their hidden states; with them (and for tasks that locate) they
        end with <det> and the bridging queries, and labels and QGSL's rows (every sentence on every frame) are
        added. The task "rec" is asked about an image, which has no timestamps.
        """
        frames = video.frames
        width, height = self.frame_size(video.info.width, video.info.height)
        if frames.shape[1:3] != (height, width):
            raise InputError(
                f"frames are {frames.shape[2]}x{frames.shape[1]}, the "
                f"model reads this video at {width}x{height}; sample it with frame_size=processor.frame_size"
            )

        # One clip, and a branch of the tree for each sentence.
        patches, grid = self.patches(frames)
        clip = self.clip(grid, None if task == "rec" else video.times)

        locates = task in LOCATED_TASKS
        if answers is None:
            branches = [
                Branch(ids, (IGNORE,) * len(ids)) for ids in (self.question_ids(task, q) for q in queries)
            ]
        else:
            branches = [self.branch(task, q, a, locates) for q, a in zip(queries, answers, strict=True)]

        trees = [build_tree(clip.input_ids, clip.positions, clip.next_position, branches)]
        batch = collate_trees(trees, self.pad_id)

        # What the model reads.
        features = {
            "input_ids": batch.input_ids,
            "position_ids": batch.position_ids,
            "pixel_values_videos": patches,
            "video_grid_thw": torch.tensor([grid]),
            "spatial_pixel_values": self.spatial_frames(frames),
        }
        if not trees[0].is_sequence:
            features["tree"] = batch.tree

        # What it is taught by: labels, and a row of QGSL for every sentence on every frame.
        if answers is not None:
            features["labels"] = batch.labels
            if locates:
                count = len(frames)
                features |= {
                    "slot_mask": batch.slot_mask,
                    "bridge_mask": batch.bridge_mask,
                    "row_frame": torch.arange(count).repeat(len(queries)),
                    "row_sentence": torch.arange(len(queries)).repeat_interleave(count),
                }

        return BatchFeature(features)

    @property
    def pad_id(self) -> int:
        """The id that fills up the shorter sequences of a batch; no token attends to it."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else self.turn_end

    def _id(self, token: str) -> int:
        value = self.tokenizer.convert_tokens_to_ids(token)
        if not isinstance(value, int) or value == self.tokenizer.unk_token_id:
            raise CheckpointError(f"the tokenizer has no {token} token; a Qwen3-VL tokenizer is needed")
        return value


def _is_of_a_model(file: Path) -> bool:
    """Whether a Bridge-STG model wrote this configuration: it names its class, a processor does not."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return about.get("model_type") == BridgeSTGConfig.model_type and bool(about.get("architectures"))


AutoProcessor.register(BridgeSTGConfig, BridgeSTGProcessor)
