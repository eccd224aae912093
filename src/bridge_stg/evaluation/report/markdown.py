"""A document as Markdown, its pictures as files in a folder beside it."""

from __future__ import annotations

import re

from bridge_stg.evaluation.report.document import (
    Block,
    Cell,
    Document,
    Facts,
    Gallery,
    Heading,
    Items,
    Paragraph,
    Picture,
    Row,
    Table,
)
from bridge_stg.evaluation.report.page import clean

IMAGES = "images"

# Everything that starts or ends markup inside a line, and what makes a list or a rule at the start of one.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#&~$])")
_START = re.compile(r"^(\d+)([.)])|^([-+=])")


def to_markdown(document: Document) -> str:
    """The report as text; it names the pictures as ``images/<name>``."""
    return "\n\n".join(_block(block) for block in document.blocks) + "\n"


def text(value: str) -> str:
    """Plain text inside a line, with everything escaped that Markdown or HTML would act on."""
    line = _MARKUP.sub(r"\\\1", " ".join(clean(value).split()))
    # A reader that is not strict may take an escaped bracket for a tag; the entity is text everywhere.
    return line.replace("\\<", "&lt;")


def _line(value: str) -> str:
    """Plain text that is a line of its own."""
    return _START.sub(lambda found: (found[1] + "\\" + found[2]) if found[1] else "\\" + found[3], text(value))


def _block(block: Block) -> str:
    match block:
        case Heading():
            return "#" * block.level + " " + text(block.text)
        case Paragraph():
            return ("> " if block.kind == "quote" else "") + _line(block.text)
        case Items():
            return "\n".join(f"- {_line(line)}" for line in block.lines)
        case Facts():
            return "\n".join(
                f"- {text(fact.label)}: **{text(fact.value)}**{f' ({text(fact.small)})' if fact.small else ''}"
                for fact in block.facts
            )
        case Table():
            return _table(block)
        case Picture():
            return _picture(block)
        case Gallery():
            return "\n\n".join(map(_picture, block.pictures))


def _table(table: Table) -> str:
    rule = ["---" if number < table.text_columns else "---:" for number in range(len(table.columns))]
    lines = [[text(name) for name in table.columns], rule]
    lines += [_row(row, len(table.columns)) for row in table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _row(row: Row, width: int) -> list[str]:
    cells = [_cell(cell) for cell in row.cells]
    if row.kind in ("group", "strong"):
        cells[0] = f"**{cells[0]}**"
    return cells + [""] * (width - len(cells))


def _cell(cell: Cell) -> str:
    return text(cell.text) + (f" ({text(cell.small)})" if cell.small else "")


def _picture(picture: Picture) -> str:
    return f"![{text(picture.alt)}]({IMAGES}/{picture.name})"
