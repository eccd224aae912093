"""The one model, in a process of its own.

A video that brings a decoder down, or an answer that never ends, costs one job and a reload, not the service;
and the server's event loop never waits for arithmetic.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bridge_stg.errors import BridgeSTGError, InputError, one_line
from bridge_stg.inference.options import GroundOptions
from bridge_stg.serve.settings import ModelChoice

# How long a stopped job may need to come to the end of its stage before its process is ended.
STOP_GRACE = 20.0
_POLL = 0.1


class ModelError(BridgeSTGError):
    """A job ended without an answer; ``code`` says why in one word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StoppedError(BridgeSTGError):
    """The job is no longer wanted."""


@dataclass(frozen=True)
class ModelRequest:
    """What the model is asked at once: sentences about one file."""

    video: Path
    queries: tuple[str, ...]
    options: GroundOptions


@dataclass(frozen=True)
class ModelFacts:
    """What the loaded model says of itself.

    ``limits`` are the notes that all of its answers carry, and then the limits in its model card.
    """

    checkpoint: str
    device: str
    limits: tuple[str, ...]


class ModelProcess:
    """Loads the model when started, answers one request at a time, and starts again after it was ended."""

    def __init__(self, choice: ModelChoice) -> None:
        self.choice = choice
        self.facts: ModelFacts | None = None
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> ModelFacts:
        """Load the model.

        Raises:
            BridgeSTGError: it cannot be loaded.
        """
        # A fresh process: a copy of one that runs threads can hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer_requests, args=(self.choice, theirs), daemon=True)
        self._process.start()
        theirs.close()

        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise BridgeSTGError("the process that loads the model died; is there enough memory?") from None
        if kind == "bad":
            raise InputError(value)
        if kind == "failed":
            raise BridgeSTGError(value)
        self.facts = value
        return self.facts

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def ground(
        self,
        request: ModelRequest,
        timeout: float,
        on_stage: Callable[[str], None],
        wanted: Callable[[], bool],
    ) -> list[dict[str, Any]]:
        """One tube/1 object per sentence.

        Args:
            timeout: seconds until the process is ended and the job has failed.
            on_stage: told the name of each stage.
            wanted: asked all the time; once it says False, the work ends after its stage.

        Raises:
            InputError: the video or a sentence cannot be used.
            ModelError: no answer in time, out of memory, or the process died.
            StoppedError: not wanted any more.
        """
        if self._pipe is None:
            self.start()
        pipe = self._pipe
        assert pipe is not None
        deadline = time.monotonic() + timeout
        told_to_stop = False
        try:
            pipe.send(request)
            while True:
                if not pipe.poll(_POLL):
                    # A stage cannot be interrupted, its process can.
                    if time.monotonic() > deadline:
                        self.stop()
                        if told_to_stop:
                            raise StoppedError("the job was cancelled")
                        raise ModelError("timeout", f"no answer within {timeout:.0f} s; ask less at a time")
                    if not told_to_stop and not wanted():
                        pipe.send("stop")
                        told_to_stop = True
                        deadline = min(deadline, time.monotonic() + STOP_GRACE)
                    continue

                kind, value = pipe.recv()
                if kind == "stage":
                    on_stage(value)
                elif kind == "done":
                    return list(value)
                elif kind == "bad":
                    raise InputError(value)
                elif kind == "stopped":
                    raise StoppedError("the job was cancelled")
                else:
                    raise ModelError(kind, value)
        except (EOFError, BrokenPipeError, ConnectionResetError) as problem:
            self.stop()
            raise ModelError(
                "died", "the process that read this video died; re-encode the video as H.264 mp4"
            ) from problem


def _answer_requests(choice: ModelChoice, pipe: Connection) -> None:
    """The body of the process: load, say so, answer until the pipe is closed."""
    # Ctrl-C goes to every process of a terminal; the server decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        grounder, facts = _load(choice)
    except InputError as problem:
        pipe.send(("bad", str(problem)))
        return
    except Exception as problem:
        pipe.send(("failed", one_line(problem)))
        return
    pipe.send(("ready", facts))

    while True:
        try:
            message = pipe.recv()
            # A "stop" that came too late is for a job that has ended.
            if isinstance(message, ModelRequest):
                pipe.send(_answer(grounder, message, pipe))
        except (EOFError, OSError):
            return


def _load(choice: ModelChoice) -> tuple[Any, ModelFacts]:
    from transformers.utils.logging import disable_progress_bar

    from bridge_stg.zero_shot.open_grounder import open_grounder

    disable_progress_bar()
    grounder: Any = open_grounder(
        choice.method, choice.checkpoint, choice.device, choice.threads, choice.detector
    )
    limits = (*grounder.notes, *limits_in_card(choice.checkpoint))
    return grounder, ModelFacts(grounder.name, str(grounder.model.device), limits)


def _answer(grounder: Any, request: ModelRequest, pipe: Connection) -> tuple[str, Any]:
    from torch import OutOfMemoryError

    def tell(stage: str) -> None:
        pipe.send(("stage", stage))
        if pipe.poll() and pipe.recv() == "stop":
            raise StoppedError("stop")

    try:
        results = grounder.ground_with(request.video, list(request.queries), request.options, progress=tell)
    except StoppedError:
        return "stopped", None
    except InputError as problem:
        return "bad", str(problem)
    except (OutOfMemoryError, MemoryError) as problem:
        return "out_of_memory", f"out of memory: {one_line(problem, 200)}"
    except Exception as problem:
        return "failed", f"{type(problem).__name__}: {one_line(problem)}"
    return "done", [result.to_json() for result in results]


def limits_in_card(checkpoint: str) -> list[str]:
    """The points under "Limits" in a checkpoint's model card; empty where there is none."""
    from bridge_stg.weights.locate import checkpoint_folder

    card = Path(checkpoint_folder(checkpoint)) / "README.md"
    if not card.is_file():
        return []
    _, _, after = card.read_text(encoding="utf-8").partition("\n## Limits\n")
    section = after.partition("\n## ")[0]
    points = " ".join(section.split()).split("- ")
    return [point.strip().replace("*", "").replace("`", "") for point in points if point.strip()]
