"""A document as a page: one HTML file that needs nothing else, or Markdown with its pictures beside it.

What they look like stands in ``templates/``; here is only how text becomes harmless in each of them.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bridge_stg.evaluation.report.document import Block, Document, Heading

IMAGES = "images"

# What XML, and so any strict reader of the page, does not allow in text.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Everything that starts or ends markup inside a line of Markdown, and what makes a list or a rule at its start.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#&~$])")
_START = re.compile(r"^(\d+)([.)])|^([-+=])")


def to_html(document: Document) -> str:
    """The page as text; well-formed XML as well."""
    parts = [block for block in document.blocks if isinstance(block, Heading) and block.level == 2]
    return _environment(escape=True).get_template("report.html").render(document=document, parts=parts)


def to_markdown(document: Document) -> str:
    """The report as text; it names the pictures as ``images/<name>``."""
    return _environment(escape=False).get_template("report.md").render(document=document, images=IMAGES)


def inline(value: str) -> str:
    """Plain text inside a line, with everything escaped that Markdown or HTML would act on."""
    line = _MARKUP.sub(r"\\\1", " ".join(clean(value).split()))
    # A reader that is not strict may take an escaped bracket for a tag; the entity is text everywhere.
    return line.replace("\\<", "&lt;")


def clean(value: str) -> str:
    """Without characters that no document may hold, such as control codes and half surrogates."""
    return _FORBIDDEN.sub("\ufffd", value)


def _environment(escape: bool) -> Environment:
    """``escape``: nothing that a user wrote becomes a tag or an attribute."""
    environment = Environment(
        loader=PackageLoader("bridge_stg.evaluation.report"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    environment.filters |= {"kind": _kind, "base64": _base64, "inline": inline, "line": _line}
    return environment


def _finalize(value: Any) -> Any:
    # Markup that a macro made is a subclass of str, and is clean already.
    return clean(value) if type(value) is str else value


def _kind(block: Block) -> str:
    return type(block).__name__


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _line(value: str) -> str:
    """Plain text that is a line of its own."""

    def escaped(found: re.Match[str]) -> str:
        return found[1] + "\\" + found[2] if found[1] else "\\" + found[3]

    return _START.sub(escaped, inline(value))
