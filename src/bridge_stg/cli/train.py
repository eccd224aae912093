"""``bridge-stg train``: a recipe by name or a configuration file."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.records.prediction import PredictionRecord
    from bridge_stg.training.configuration import TrainConfig

SHOWN_LOSSES = ("video/token", "image/token", "probe")


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, or a configuration in a .yaml or .json file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default: runs/<name>.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The folder of the annotated data sets: data.records.root.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: --set optim.lr=5e-5; may be repeated.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="Say which recipes there are.")] = False,
    print_configuration: Annotated[
        bool, typer.Option("--print", help="Print the whole configuration as YAML and train nothing.")
    ] = False,
) -> None:
    """Train a model; run the same command again to go on after an interruption.

    Several processes: accelerate launch --num_processes 8 -m bridge_stg.cli.main train RECIPE
    """
    with _loading():
        # Configurations name classes of the model, so that torch comes with them.
        from bridge_stg.cli.runs import SERIES, as_yaml, describe_recipes, named_or_read
        from bridge_stg.errors import InputError
        from bridge_stg.training.settings import override

    if list_recipes:
        for name, line in describe_recipes():
            print(f"{name:16} {line}")
        return

    if recipe is None:
        raise InputError("give a recipe or a configuration file; bridge-stg train --list names the recipes")
    if recipe in SERIES:
        if settings or data is not None or print_configuration:
            raise InputError(
                f"{recipe}: a series of runs that takes no settings; leave out --set, --data and --print"
            )
        folder = out or Path("runs") / recipe
        for one in SERIES[recipe](folder):
            _run(one, folder / one.name, threads, f"{one.name}: {one.optim.steps} steps")
        return
    config = named_or_read(recipe, settings or [])

    if data is not None:
        if config.data.records is None:
            raise InputError(f"{recipe}: trains on generated clips; leave out --data")
        config = override(config, [f"data.records.root={data}"])

    if print_configuration:
        print(as_yaml(config), end="")
        return
    _run(config, out or Path("runs") / config.name, threads)


def _loading() -> AbstractContextManager[object]:
    """What a person at a terminal sees in the seconds before the progress bar, of one process alone."""
    from rich.console import Console

    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    return Console(stderr=True).status("loading")


def _run(config: TrainConfig, folder: Path, threads: int | None, heading: str | None = None) -> None:
    """Train in this process, with a progress bar; what to do after Ctrl-C is said.

    ``heading`` comes before the first line of the log.
    """
    from bridge_stg.cli.prepare import check_writable, quiet_libraries, quiet_threads

    check_writable(folder)
    quiet_threads()
    quiet_libraries()

    if config.from_hub and os.environ.get("LOCAL_RANK", "0") == "0":
        # Gigabytes are seen to come, once for all processes of a machine, and not for data that are not there.
        from transformers.utils.logging import enable_progress_bar

        from bridge_stg.training.data.record_source import refuse_missing

        refuse_missing(config)
        names = " and ".join(config.from_hub)
        print(f"downloading {names} from the hub, unless the cache has them", file=sys.stderr)
        enable_progress_bar()

    import torch

    from bridge_stg.cli.runs import open_stage
    from bridge_stg.inference.device import choose_threads
    from bridge_stg.training.loop import train as run

    torch.set_num_threads(threads or choose_threads())
    with only_run(folder), _Progress(config, heading) as progress:
        try:
            run(open_stage(config), folder, progress.say, judge=HeldOutJudge, on_step=progress.update)
        except KeyboardInterrupt:
            print(
                f"{folder}: the same command goes on from the last state; one is saved every "
                f"{config.save_minutes:g} minutes",
                file=sys.stderr,
            )
            raise


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """No second run on this machine may write ``folder`` meanwhile; processes of one run are not counted.

    The lock lies with the temporary files, so that nothing is written where a run is refused; the system
    releases it when a process dies, whatever the cause.

    Raises:
        InputError: another run is writing it.
    """
    from bridge_stg.files.one_writer import only_writer

    if os.environ.get("RANK", "0") != "0":
        yield
        return
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"bridge-stg-train-{name}.lock"
    # The lock of another user is none of ours.
    with only_writer(folder, place, must_lock=False):
        yield


class HeldOutJudge:
    """Validation during training: predict and score, as the commands of these names do.

    Args:
        folder: truth.jsonl and its videos.
        videos: at most this many of them; None takes all.

    Raises:
        InputError: the truth cannot be read or asks nothing about when and where.
    """

    def __init__(self, folder: Path, videos: int | None) -> None:
        from bridge_stg.errors import InputError
        from bridge_stg.records.open import truth_in
        from bridge_stg.records.part import group_questions, of_first_videos
        from bridge_stg.records.record import read_truth

        truth = truth_in(folder)
        records = [record for record in read_truth(truth) if record.task == "stvg"]
        if not records:
            raise InputError(f"{truth}: holds no stvg question to validate on")
        self.folder = folder
        self.truth = of_first_videos(records, videos)
        self.clips = group_questions(self.truth, "stvg")

    def answer(
        self, model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, rank: int, processes: int
    ) -> list[PredictionRecord]:
        """The answers to the clips of one process, dealt out with a stride."""
        from bridge_stg.evaluation.methods import GrounderMethod, ask
        from bridge_stg.inference.grounder import VideoGrounder

        method = GrounderMethod(VideoGrounder(model, processor, "in training"))
        found = [ask(method, self.folder, clip)[0] for clip in self.clips[rank::processes]]
        return [answer for answers in found for answer in answers]

    def score(self, answers: list[PredictionRecord]) -> dict[str, float]:
        """The metrics of stvg in percent, and how many questions could not be answered."""
        from bridge_stg.evaluation.score import score
        from bridge_stg.metrics.stvg import METRICS

        scores = score(self.truth, {answer.id: answer for answer in answers}, task="stvg", resamples=1)
        shown = {name: round(scores.metrics[name], 4) for name in METRICS}
        return {**shown, "n": scores.n, "failed": scores.failed}


class _Progress:
    """Steps done, the loss, samples per second and the time left, on stderr for a person at a terminal; the
    log's lines on stdout.
    """

    def __init__(self, config: TrainConfig, heading: str | None = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        main = os.environ.get("RANK", "0") == "0"
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            # The average of a few minutes: steps differ in length.
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (main and console.is_terminal),
            # What goes to a file or a pipe has to get there; a line on the same terminal goes above the bar.
            redirect_stdout=sys.stdout.isatty(),
            speed_estimate_period=300,
        )
        self.steps, self.heading = config.optim.steps, heading

    def __enter__(self) -> _Progress:
        self.bar.start()
        self.task = self.bar.add_task("preparing", total=None, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        if self.heading is not None:
            print(self.heading, flush=True)
            self.heading = None
        print(line, flush=True)

    def update(self, done: int, said: dict[str, float]) -> None:
        """Called when the first step begins and after each step; ``said`` is the last line of the log."""
        losses = [f"{name} {value:.3g}" for name, value in said.items() if name in SHOWN_LOSSES]
        rate = said.get("samples_per_second")
        shown = [*losses[:1], *([f"{rate:.3g} samples/s"] if rate is not None else [])]
        if self.bar.tasks[self.task].total is None:
            # The clock of the steps starts here.
            self.bar.reset(self.task, total=self.steps, completed=done, description="steps")
        self.bar.update(self.task, completed=done, said=", ".join(shown))
