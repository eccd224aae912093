"""What can be asked: the five tasks, the styles of an answer, and how an answer can end."""

from __future__ import annotations

from typing import Literal, cast, get_args

from bridge_stg.errors import InputError

Task = Literal["stvg", "vtg", "vot", "rec", "vqa"]
# Tasks whose answer names a window.
WINDOW_TASKS: tuple[Task, ...] = ("stvg", "vtg")
# Tasks whose answer has boxes.
LOCATED_TASKS: tuple[Task, ...] = ("stvg", "vot", "rec")
# Tasks whose window is all of the clip, whatever the model says.
WHOLE_CLIP_TASKS: tuple[Task, ...] = ("vot", "rec")
Box = tuple[float, float, float, float]
# How an answer is worded: the window alone (the paper's), or second by second first.
AnswerStyle = Literal["direct", "scan"]
Status = Literal["ok", "no_window", "empty_window", "absent"]


def parse_task(name: str) -> Task:
    """``name`` as a task; InputError naming the known ones otherwise."""
    for known in get_args(Task):
        if name == known:
            return cast("Task", known)
    raise InputError(f"no task {name!r}; there are: {', '.join(get_args(Task))}")


def parse_answer_style(name: str) -> AnswerStyle:
    """``name`` as an answer style; InputError naming the known ones otherwise."""
    for known in get_args(AnswerStyle):
        if name == known:
            return cast("AnswerStyle", known)
    raise InputError(f"no answer style {name!r}; there are: {', '.join(get_args(AnswerStyle))}")
