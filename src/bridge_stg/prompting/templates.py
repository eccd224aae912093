"""The words around a question and its answer, per task.

The window is always answered in seconds with one decimal (on VidSTG's test set that text can reach an m_tIoU of
98.3, the 2 fps frame indices only 82.1); frame indices, where a wording has them, are a cross-check.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge_stg.errors import InputError
from bridge_stg.types import WINDOW_TASKS, AnswerStyle, TimeSpan

STVG_PROMPT = "When and where does this happen? {query}"
VTG_PROMPT = "When does this happen? {query}"
VOT_PROMPT = "Track this object. {query}"
REC_PROMPT = "Where is this? {query}"
VQA_PROMPT = "{query}"

PROMPTS = {
    "stvg": STVG_PROMPT,
    "vtg": VTG_PROMPT,
    "vot": VOT_PROMPT,
    "rec": REC_PROMPT,
    "vqa": VQA_PROMPT,
}

# Asks a checkpoint that knows both styles of answer to go through the clip before it answers.
SCAN_HINT = "Track the seconds. "

# Several wordings, as in Figs. 6-9 of the paper; training draws one, so that no phrase is special.
WINDOW_WORDINGS: tuple[str, ...] = (
    "The event starts at {start:.1f} seconds and ends at {end:.1f} seconds.",
    "It starts at {start:.1f} seconds and ends at {end:.1f} seconds.",
)
WINDOW_WORDINGS_WITH_FRAMES: tuple[str, ...] = (
    "The event starts at {start:.1f} seconds and ends at {end:.1f} seconds. "
    "The start and end frames are: [{first}, {last}].",
    "The action happens somewhere between {start:.1f} seconds and {end:.1f} seconds. "
    "The start and end frames are: [{first}, {last}].",
    "The event begins just after {start:.1f} seconds and finishes before {end:.1f} seconds. "
    "The start and end frames are: [{first}, {last}].",
)
# How the paper's answer begins: given to a checkpoint that was not trained to answer so.
DIRECT_OPENING = "The event starts at"
# What a scan says of a second at which the event is not seen.
BEFORE, AFTER = "before", "after"
LOCATED = "Here it is."
ABSENT = "This does not happen."
# <|im_start|>, "user" and a line break before the clip, <|vision_start|> and <|vision_end|> around it.
FRAMING_TOKENS = 5
# Boxes in text are whole numbers from 0 to this over the width and height of the frame, as Qwen3-VL has them.
GRID = 1000


def check_query(query: str) -> None:
    """Raise InputError when a query says nothing or is no text that can be written down."""
    if not query.strip():
        raise InputError("the query is empty; say in a few words what to look for")
    try:
        query.encode()
    except UnicodeEncodeError as problem:
        raise InputError(f"the query {query!r} is not valid UTF-8 text; write it anew") from problem


def check_queries(queries: Sequence[str]) -> None:
    """Raise InputError when there is no query, or what should be a list of them is something else."""
    if isinstance(queries, str) or not isinstance(queries, Sequence):
        raise InputError(f"the queries must be a list of sentences, got {queries!r}")
    if not queries:
        raise InputError("no query given; say in a few words what to look for")
    for query in queries:
        if not isinstance(query, str):
            raise InputError(f"a query must be a sentence, got {query!r}")


def prompt_text(task: str, query: str, style: AnswerStyle = "direct") -> str:
    """The user's turn for a task: "stvg", "vtg", "vot", "rec" or "vqa".

    >>> prompt_text("vtg", "the star that spins", "scan")
    'Track the seconds. When does this happen? the star that spins'
    """
    hint = SCAN_HINT if style == "scan" and task in WINDOW_TASKS else ""
    return hint + PROMPTS[task].format(query=query.strip())


def window_text(span: TimeSpan, wording: str, first: int = 0, last: int = 0) -> str:
    """The answer of a temporal task; ``first`` and ``last`` are sampled frame indices, both inside the window.

    >>> window_text(TimeSpan(12.2, 14.7), WINDOW_WORDINGS[0])
    'The event starts at 12.2 seconds and ends at 14.7 seconds.'
    """
    return wording.format(start=span.start, end=span.end, first=first, last=last)


def windows_text(spans: Sequence[TimeSpan]) -> str:
    """The answer about an event that happens once or several times, in order of time.

    >>> windows_text([TimeSpan(7.0, 8.0), TimeSpan(1.0, 2.5)])
    'The event starts at 1.0 seconds and ends at 2.5 seconds. It starts at 7.0 seconds and ends at 8.0 seconds.'
    """
    in_order = sorted(spans, key=lambda span: span.start)
    wordings = [WINDOW_WORDINGS[0], *[WINDOW_WORDINGS[1]] * (len(spans) - 1)]
    return " ".join(window_text(span, wording) for span, wording in zip(in_order, wordings, strict=True))


def scan_text(name: str, kind: str, seconds: list[tuple[int, str]]) -> str:
    """Who is meant, what for, and second by second whether that is to be seen: said before the window.

    >>> scan_text("red circle", "moves left", [(0, "before"), (1, "left"), (2, "after")])
    'The red circle moves left: 0 before 1 left 2 after.'
    """
    return f"The {name} {kind}: " + " ".join(f"{second} {word}" for second, word in seconds) + "."


def seen_text(first: int, last: int) -> str:
    """The first and the last second of a scan at which the event is seen.

    >>> seen_text(3, 5)
    'It happens from 3 to 5.'
    """
    return f"It happens from {first} to {last}."


def choices_text(question: str, choices: tuple[str, ...]) -> str:
    """A multiple-choice question on one line.

    >>> choices_text("What spins?", ("a star", "a square"))
    'What spins? (A) a star (B) a square'
    """
    options = " ".join(f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(choices))
    return f"{question} {options}"


def box_text(box: tuple[float, float, float, float]) -> str:
    """A normalised xyxy box in the grid of written boxes.

    >>> box_text((0.1, 0.25, 0.5, 1.0))
    '[100, 250, 500, 1000]'
    """
    return "[" + ", ".join(str(round(value * GRID)) for value in box) + "]"
