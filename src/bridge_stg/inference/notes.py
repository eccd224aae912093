"""What a person should know about an answer: what its checkpoint cannot know, and what was cut."""

from __future__ import annotations

import re

from bridge_stg.model.configuration import BridgeSTGConfig

NO_BOXES = "the model ended its answer without asking where, so there are no boxes"
TAKEN_BACK = "at first the model took it for something that does not happen; a second look found it"
# Beyond this many times the longest training clip an answer is a guess.
FAR = 1.5
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_MOST_WORDS = 8


def domain_note(config: BridgeSTGConfig) -> tuple[str, ...]:
    """What the checkpoint was trained on, where it says so."""
    if config.domain is None:
        return ()
    return (f"the checkpoint knows only what it was trained on: {config.domain}",)


def words_note(query: str, config: BridgeSTGConfig) -> tuple[str, ...]:
    """The words of a sentence that the checkpoint cannot know, where it says which ones it knows."""
    unknown = unknown_words(query, config)
    if not unknown:
        return ()
    more = ", ..." if len(unknown) > _MOST_WORDS else ""
    listed = ", ".join(map(repr, unknown[:_MOST_WORDS]))
    return (
        f"the checkpoint cannot know {'this word' if len(unknown) == 1 else 'these words'}: {listed}{more}",
    )


def unknown_words(query: str, config: BridgeSTGConfig) -> list[str]:
    """Each once, in the order of the sentence; single letters name choices and are no words."""
    if config.domain_words is None:
        return []
    known = {word.lower() for word in config.domain_words}
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query) if len(word) > 1)
    return [word for word in words if word not in known]


def length_note(seconds: float, config: BridgeSTGConfig) -> tuple[str, ...]:
    """A clip that is far longer than the checkpoint knows."""
    if config.longest_clip is None or seconds <= FAR * config.longest_clip:
        return ()
    return (
        f"the clip lasts {seconds:.1f} s, more than {FAR} times the longest that the checkpoint was trained on "
        f"({config.longest_clip:g} s)",
    )


def cut_note(cut: bool, limit: int) -> tuple[str, ...]:
    """An answer that did not end by itself."""
    return (f"the answer was cut at {limit} tokens",) if cut else ()


def scan_note(seconds: float, longest: float, limit: int) -> tuple[str, ...]:
    """A clip whose scan is longer than an answer may be."""
    if seconds <= longest:
        return ()
    return (
        f"a scan can answer clips of up to about {longest:.0f} s within {limit} tokens; this one lasts "
        f"{seconds:.1f} s: read it in pieces (chunk), or allow more tokens (max_answer_tokens)",
    )
