"""``bridge-stg calibrate``: how sure a checkpoint may be of its answers, by questions with a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge_stg.cli.prepare import check_writable, progress_bar, quiet_libraries, quiet_threads

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bridge_stg.evaluation.calibrate import LineFit, Shares, StyleFit


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
    most_refused: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the present events that may be refused.")
    ] = 0.05,
    write: Annotated[
        bool, typer.Option("--write", help="Put what is found into config.json of the checkpoint's folder.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many videos.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Fit the confidence of answers, and when to refuse, to questions whose answers are known."""
    from bridge_stg.errors import InputError
    from bridge_stg.files.shipped import SHIPPED
    from bridge_stg.records.open import truth_in
    from bridge_stg.records.part import group_questions, of_first_videos
    from bridge_stg.records.record import read_truth
    from bridge_stg.types import parse_answer_style

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
    clips = of_first_videos(group_questions(read_truth(truth_in(data)), "stvg"), limit)
    if not clips:
        raise InputError(f"{data}: holds no stvg question to calibrate on")

    quiet_threads()
    quiet_libraries(checkpoint)
    from bridge_stg.evaluation.calibrate import calibrate_style, write_fits
    from bridge_stg.inference.grounder import VideoGrounder

    grounder = VideoGrounder.from_pretrained(checkpoint, device=device, threads=threads)
    known = [parse_answer_style(name) for name in grounder.processor.config.answer_styles]
    if unknown := [style for style in styles if style not in known]:
        raise InputError(
            f"{checkpoint}: was not trained to answer in the style {unknown[0]}; it knows {', '.join(known)}"
        )

    # One style after the other, and what was found.
    fits = []
    for style in styles or known:
        with progress_bar() as progress:
            bar = progress.add_task(f"clips, {style}", total=len(clips))

            def done(number: int, bar: TaskID = bar, progress: Progress = progress) -> None:
                progress.update(bar, completed=number)

            fits.append(calibrate_style(grounder, data, clips, style, most_refused, done))
        _print_fit(fits[-1])
    if write:
        write_fits(folder, fits)
        print(f"wrote {folder / 'config.json'}")


def _print_fit(fit: StyleFit) -> None:
    print(f"{fit.style}: refuses {_words(fit.greedy)} by the likelier word")
    if fit.threshold is not None:
        print(f"  refusal_threshold {fit.threshold:.4g}: {_words(fit.chosen)}")
    for name, line in ((fit.style, fit.windows), (f"{fit.style} absent", fit.refusals)):
        if line is not None:
            print(f"  calibration {name!r}: {_line_words(line)}")


def _words(shares: Shares) -> str:
    parts = ((shares.absent, "absent"), (shares.present, "present"))
    return ", ".join(f"{100 * share:.1f}% of {name} events" for share, name in parts if share is not None)


def _line_words(fit: LineFit) -> str:
    slope, offset = fit.line
    area = "" if fit.area is None else f", a right one is surer than a wrong one in {fit.area:.3f} of the pairs"
    return (
        f"[{slope:.3f}, {offset:.3f}] from {fit.n} answers, {100 * fit.right:.1f}% right; expected calibration "
        f"error on the other half {fit.error:.3f}{area}"
    )
