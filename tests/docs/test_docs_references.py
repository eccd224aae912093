"""What the documents name exists: local links, files, tests, and symbols (found by importing them)."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:|#)([^)#\s]+)[^)]*\)")
ANCHOR = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]*#[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
# <name> in a path is a blank for the reader to fill in, not a file.
FILE = re.compile(r"(?:src|tests|docs|benchmarks|examples)/[\w./-]+(?:::\w+)?")
SYMBOL = re.compile(r"bridge_stg(?:\.\w+)+")


def _references() -> list[Any]:
    """(document, kind, target) of everything named; a fenced block is an example, not a claim."""
    found = []
    for document in DOCUMENTS:
        text = _prose(document)
        for kind, pattern in (("link", LINK), ("anchor", ANCHOR)):
            found += [(document, kind, target) for target in pattern.findall(text)]
        for code in CODE.findall(text):
            for kind, pattern in (("file", FILE), ("symbol", SYMBOL)):
                if pattern.fullmatch(code):
                    found.append((document, kind, code))
    return [pytest.param(*one, id=f"{one[0].name}-{one[2]}") for one in dict.fromkeys(found)]


def _prose(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(document: Path) -> set[str]:
    """What a link can name in a document: its headings, as the sites that show it write them."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(_prose(document)))
    return {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize(("document", "kind", "target"), _references())
def test_what_is_named_exists(document: Path, kind: str, target: str) -> None:
    if kind == "link":
        assert (document.parent / target).exists()
    elif kind == "anchor":
        page, _, anchor = target.partition("#")
        assert anchor in _anchors(document.parent / page if page else document)
    elif kind == "file":
        path, _, test = target.partition("::")
        assert (ROOT / path).exists()
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")
    else:
        _resolve(target)


def _resolve(name: str) -> Any:
    """The longest prefix that imports is the module; the rest are attributes."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        module_name = ".".join(parts[:size])
        try:
            value: Any = import_module(module_name)
        except ModuleNotFoundError as problem:
            # A part of this very name that is no module is an attribute; any other missing module is a defect.
            if not module_name.startswith(str(problem.name)):
                raise
            continue
        for attribute in parts[size:]:
            value = getattr(value, attribute)
        return value
    raise AssertionError(name)


def test_every_equation_and_table_of_the_paper_has_a_row() -> None:
    text = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    rows = {part.split("\n")[0]: re.findall(r"^\| ([^|]+?) \|", part, flags=re.MULTILINE) for part in parts}
    assert [row for row in rows["Equations"] if row.isdigit()] == [str(number) for number in range(1, 13)]
    assert {int(row.split(",")[0]) for row in rows["Tables"] if row[0].isdigit()} == set(range(1, 17))
    last = {"A": 3, "B": 5, "C": 4, "D": 6, "E": 1, "G": 2}
    paragraphs = {f"{letter}.{number + 1}" for letter, count in last.items() for number in range(count)}
    assert paragraphs | {"F", "H", "I"} <= set(rows["Appendix"])


def test_the_search_sees_what_it_should() -> None:
    """The patterns above find references of every kind, so that an empty list cannot pass for a clean one."""
    kinds = {one.values[1] for one in _references()}
    assert kinds == {"link", "anchor", "file", "symbol"}
    assert "measure-it" in _anchors(ROOT / "README.md")
    assert "no-such-heading" not in _anchors(ROOT / "README.md")
    with pytest.raises(AttributeError):
        _resolve("bridge_stg.errors.NoSuchError")
