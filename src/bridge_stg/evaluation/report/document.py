"""What a report is made of, whatever it is written as: headings, paragraphs, tables, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RowKind = Literal["plain", "group", "strong", "faint"]


@dataclass(frozen=True)
class Heading:
    """``level`` 1 is the title of the page; those of level 2 are its table of contents."""

    level: Literal[1, 2, 3]
    text: str


@dataclass(frozen=True)
class Paragraph:
    """``kind`` "quote" is text of others, such as a query; "note" is small print."""

    text: str
    kind: Literal["plain", "note", "quote"] = "plain"


@dataclass(frozen=True)
class Items:
    """A list of short lines."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One figure to see first: ``value`` large, what it means small."""

    label: str
    value: str
    small: str = ""


@dataclass(frozen=True)
class Facts:
    """The figures on top of the page."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Cell:
    """A value, and a smaller line under it, such as its interval."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table; a "group" row has one cell and heads the rows after it."""

    cells: tuple[Cell, ...]
    kind: RowKind = "plain"


@dataclass(frozen=True)
class Table:
    """The first column is text; all others are numbers unless ``text_columns`` says how many are text."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    text_columns: int = 1


@dataclass(frozen=True)
class Picture:
    """An image file of the report. ``alt`` says in words what it shows."""

    name: str
    content: bytes
    alt: str
    wide: bool = False

    @property
    def mime(self) -> str:
        return "image/png" if self.name.endswith(".png") else "image/jpeg"


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side where there is room."""

    pictures: tuple[Picture, ...]


Block = Heading | Paragraph | Items | Facts | Table | Picture | Gallery


@dataclass(frozen=True)
class Document:
    """The whole report, top to bottom; the first block is the title."""

    blocks: tuple[Block, ...]

    @property
    def title(self) -> str:
        first = self.blocks[0]
        assert isinstance(first, Heading)
        return first.text

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every picture, in order."""
        found: list[Picture] = []
        for block in self.blocks:
            if isinstance(block, Picture):
                found.append(block)
            elif isinstance(block, Gallery):
                found.extend(block.pictures)
        return tuple(found)


def row(*cells: str | Cell, kind: RowKind = "plain") -> Row:
    """A row of plain values and cells."""
    return Row(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells), kind)
