"""``bridge-stg calibrate``: how sure a checkpoint may be of its answers, by questions with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge_stg.cli.prepare import check_writable, progress_bar, quiet_libraries, quiet_threads

if TYPE_CHECKING:
    from bridge_stg.evaluation.calibrate import LineFit, Shares, StyleFit


# Answers from which on a line says something: a hundred have an error of about 0.1 by chance alone.
ENOUGH = 100
MOST_REFUSED = 0.05


def calibrate(
    data: Annotated[
        Path, typer.Option(help="Validation clips: truth.jsonl and its videos, some of its events absent.")
    ],
    checkpoint: Annotated[str, typer.Option(help="A checkpoint's folder, or its name.")] = "shapes",
    answer: Annotated[
        list[str] | None,
        typer.Option(
            help="direct or scan; may be repeated. Default: all that the checkpoint was trained for.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="stvg (in all styles), vot, rec or vqa; may be repeated. Default: stvg.", show_default=False
        ),
    ] = None,
    most_refused: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the present stvg events that may be refused. Default: 0.05.",
            show_default=False,
        ),
    ] = None,
    keep_thresholds: Annotated[
        bool,
        typer.Option("--keep-thresholds", help="Fit at the refusal thresholds that the configuration has."),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put what is found into config.json of the checkpoint's folder.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many videos.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Fit the confidence of answers, and when to refuse, to questions whose answers are known."""
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.task_scores import rule_of, score_queries
    from bridge_stg.files.shipped import SHIPPED
    from bridge_stg.prompting.given_box import read_given
    from bridge_stg.records.open import truth_in
    from bridge_stg.records.part import clip_span, group_questions, of_first_videos
    from bridge_stg.records.record import read_truth
    from bridge_stg.types import Task, parse_answer_style, parse_task

    # What can be wrong, before a model is loaded.
    folder = Path(checkpoint).expanduser()
    if write and checkpoint in SHIPPED:
        # A folder that is called so is another checkpoint than the one that would be asked.
        raise InputError(
            f"--write does not change {checkpoint}, which is shipped; give a folder: ./{checkpoint}"
        )
    if write and not (folder / "config.json").is_file():
        raise InputError(f"{checkpoint}: holds no config.json; --write needs the folder of a checkpoint")
    if write:
        check_writable(folder, "give a copy of this checkpoint that can be written, or leave out --write")
    # A style that is named twice is asked once.
    styles = list(dict.fromkeys(parse_answer_style(name) for name in answer or []))
    tasks = list(dict.fromkeys(parse_task(name) for name in task or ["stvg"]))
    if "vtg" in tasks:
        raise InputError("vtg has the calibration of stvg, by style; give --task stvg")
    if styles and "stvg" not in tasks:
        raise InputError("--answer is for stvg, which has styles; leave it out, or add --task stvg")
    if most_refused is not None and "stvg" not in tasks:
        raise InputError("--most-refused is for stvg, whose answers refuse; leave it out, or add --task stvg")
    if most_refused is not None and keep_thresholds:
        raise InputError("--most-refused chooses thresholds, --keep-thresholds keeps them; give one of the two")
    # Only windows are refused; score judges other tasks by what is there, too.
    records = [one for one in read_truth(truth_in(data)) if one.task == "stvg" or not one.absent]
    clips = {one: of_first_videos(group_questions(records, one), limit) for one in tasks}
    for one, found in clips.items():
        if not found:
            raise InputError(f"{data}: holds no {one} question to calibrate on")
        if one != "stvg":
            # What has no truth that can be scored, or cannot be asked, is named before anything is asked.
            asked = [record for clip in found for record in clip.records]
            score_queries(rule_of(one, None), asked, [None] * len(asked))
        if one == "vot":
            for clip in found:
                for record, query in zip(clip.records, clip.queries, strict=True):
                    read_given(query, clip_span(record).length)

    quiet_threads()
    quiet_libraries(checkpoint)
    from bridge_stg.evaluation.calibrate import calibrate_style, fit_task, write_fits
    from bridge_stg.inference.grounder import VideoGrounder

    grounder = VideoGrounder.from_pretrained(checkpoint, device=device, threads=threads)
    known = [parse_answer_style(name) for name in grounder.processor.config.answer_styles]
    if unknown := [style for style in styles if style not in known]:
        raise InputError(
            f"{checkpoint}: was not trained to answer in the style {unknown[0]}; it knows {', '.join(known)}"
        )

    # One style after the other, then the tasks without styles, and what was found.
    fits = []
    for style in (styles or known) if "stvg" in clips else []:
        with _counting(f"clips, {style}", len(clips["stvg"])) as done:
            share = None if keep_thresholds else MOST_REFUSED if most_refused is None else most_refused
            fits.append(calibrate_style(grounder, data, clips["stvg"], style, share, done))
        _print_fit(fits[-1])
    of_tasks: dict[Task, LineFit | None] = {}
    for one, found in clips.items():
        if one != "stvg":
            with _counting(f"clips, {one}", len(found)) as done:
                of_tasks[one] = fit_task(grounder, data, found, done)
            _print_line(one, of_tasks[one])
    if write:
        write_fits(folder, fits, of_tasks)
        print(f"wrote {folder / 'config.json'}")


@contextmanager
def _counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar, and what moves it to a number."""
    with progress_bar() as progress:
        bar = progress.add_task(name, total=total)
        yield lambda number: progress.update(bar, completed=number)


def _print_fit(fit: StyleFit) -> None:
    print(f"{fit.style}: refuses {_words(fit.greedy)} by the likelier word")
    if fit.threshold is not None:
        print(f"  refusal_threshold {fit.threshold:.4g}: {_words(fit.chosen)}")
    _print_line(fit.style, fit.windows)
    if fit.refusals is not None:
        _print_line(f"{fit.style} absent", fit.refusals)


def _print_line(name: str, fit: LineFit | None) -> None:
    words = (
        "too few answers, it needs some about either half of the videos" if fit is None else _line_words(fit)
    )
    kept = "; what the checkpoint has stays" if fit is None or fit.line is None else ""
    print(f"  calibration {name!r}: {words}{kept}")


def _words(shares: Shares) -> str:
    parts = ((shares.absent, "absent"), (shares.present, "present"))
    return ", ".join(f"{100 * share:.1f}% of {name} events" for share, name in parts if share is not None)


def _line_words(fit: LineFit) -> str:
    few = "" if fit.n >= ENOUGH else f"; {fit.n} answers are few, a few hundred say more"
    if fit.line is None:
        why = (
            "right answers are no surer than wrong ones"
            if 0 < fit.right < 1
            else "a line needs right and wrong ones"
        )
        return f"no line fits to {fit.n} answers, {100 * fit.right:.1f}% right: {why}{few}"
    slope, offset = fit.line
    error = "not known, no line fits to one half" if fit.error is None else f"{fit.error:.3f}"
    area = "" if fit.area is None else f", a right one is surer than a wrong one in {fit.area:.3f} of the pairs"
    return (
        f"[{slope:.3f}, {offset:.3f}] from {fit.n} answers, {100 * fit.right:.1f}% right; expected calibration "
        f"error on the other half {error}{area}{few}"
    )
