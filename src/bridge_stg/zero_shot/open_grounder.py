"""The one place where the name of a method becomes a loaded grounder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast, get_args

from bridge_stg.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from bridge_stg.inference.door import Grounder

GrounderName = Literal["bridge-stg", "qwen3-vl", "compose"]


def parse_method(name: str) -> GrounderName:
    """``name`` as a method; InputError naming the known ones otherwise."""
    if name not in get_args(GrounderName):
        raise InputError(f"no method {name!r}; there are: {', '.join(get_args(GrounderName))}")
    return cast("GrounderName", name)


def check_detector(method: str, detector: str | None) -> None:
    """Raise InputError for a detector that ``method`` would never ask; None is its own."""
    if detector is not None and method != "compose":
        raise InputError(f"--detector is for --method compose, not for {method}; leave it out")


def open_grounder(
    method: GrounderName,
    checkpoint: str,
    device: str | None = None,
    threads: int | None = None,
    detector: str | None = None,
) -> Grounder:
    """Load the checkpoint that ``method`` answers with.

    Args:
        detector: of "compose", a folder or hub id; None is the method's own.

    Raises:
        CheckpointError: missing, truncated, or made for another method.
        InputError: torch cannot use that device, or the method has no detector.
    """
    check_detector(method, detector)
    if method == "qwen3-vl":
        from bridge_stg.zero_shot.grounder import ZeroShotGrounder

        return ZeroShotGrounder.from_pretrained(checkpoint, device=device, threads=threads)

    if method == "compose":
        from bridge_stg.zero_shot.compose import DEFAULT_DETECTOR, ComposeGrounder

        return ComposeGrounder.from_pretrained(
            checkpoint, detector or DEFAULT_DETECTOR, device=device, threads=threads
        )

    from bridge_stg.inference.grounder import VideoGrounder
    from bridge_stg.weights.locate import checkpoint_folder
    from bridge_stg.weights.qwen3_vl import MODEL_TYPE, model_type

    try:
        return VideoGrounder.from_pretrained(checkpoint, device=device, threads=threads)
    except CheckpointError as problem:
        # Only a checkpoint that is refused is looked at again: is it one for the other method?
        try:
            kind = model_type(checkpoint_folder(checkpoint))
        except CheckpointError:
            kind = ""
        if kind == MODEL_TYPE:
            raise CheckpointError(
                f"{checkpoint}: is a stock Qwen3-VL, not a Bridge-STG checkpoint; add --method qwen3-vl"
            ) from problem
        raise
