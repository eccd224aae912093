"""Stage 1: all of a small Qwen3-VL learns to read clips, on tokens alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.model.modeling import open_to_readers
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.bridge_stage import ShapesBridgeStage
from bridge_stg.shapes.model import new_model
from bridge_stg.training.base_model import read_vision_tower
from bridge_stg.training.stage import Counts, Report, Start
from bridge_stg.training.token_accuracy import TokenGroups


class PretrainStage(ShapesBridgeStage):
    """The vision tower of ``base`` and random weights; of Eq. 7 only the first term is left."""

    can_be_sharded = False

    def build(self, report: Report) -> Start:
        model, processor = new_model(**self.config.model.of_model)
        origin = read_vision_tower(model, self.config.base)
        model.requires_grad_(False)
        model.mllm.requires_grad_(True)

        # A vision tower that has learned to see stays as it is: the token loss would make it forget
        # (docs/log.md).
        model.mllm.model.visual.requires_grad_(self.config.base is None)
        self.groups = TokenGroups(processor.tokenizer, self.word_groups)
        return Start(model, processor, origin)

    def unreached(self, model: nn.Module, counts: Counts) -> Iterable[nn.Parameter]:
        return ()

    def options(self, processes: int) -> dict[str, object]:
        return {"weights": self.config.weights}

    def export(
        self, model: nn.Module, processor: BridgeSTGProcessor, folder: Path, state: dict[str, Tensor] | None
    ) -> None:
        """An ordinary Qwen3-VL folder."""
        write_qwen3_vl(self.whole(model).mllm, processor, folder)


def write_qwen3_vl(mllm: Qwen3VLForConditionalGeneration, processor: BridgeSTGProcessor, folder: Path) -> None:
    """A Qwen3-VL with its tokenizer, as transformers reads it."""
    mllm.save_pretrained(folder)
    open_to_readers(folder)
    processor.tokenizer.save_pretrained(folder)
