"""The page as a file: well formed, complete in itself, and nothing that a user wrote is taken for markup."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.evaluation.report.document import (
    Cell,
    Document,
    Fact,
    Facts,
    Gallery,
    Heading,
    Items,
    Paragraph,
    Picture,
    Table,
    row,
)
from bridge_stg.evaluation.report.render import to_html, to_markdown

XHTML = "{http://www.w3.org/1999/xhtml}"
PICTURE = Picture("plot-a.png", b"\x89PNG bytes", "what it shows")


def everything(text: str) -> Document:
    """``text`` in every place that can hold any."""
    table = Table((text, text), (row(text, kind="group"), row(Cell(text, text), text, kind="strong")))
    return Document(
        (
            Heading(1, text),
            Heading(2, text),
            Heading(3, text),
            Paragraph(text),
            Paragraph(text, "note"),
            Paragraph(text, "quote"),
            Items((text,)),
            Facts((Fact(text, text, text),)),
            table,
            Picture("plot-b.png", b"", text),
            Gallery((PICTURE,)),
        )
    )


def parse(document: Document) -> ElementTree.Element:
    return ElementTree.fromstring(to_html(document).removeprefix("<!DOCTYPE html>\n"))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onload='alert(1)",
        "</style></title><b>",
        "&lt;b&gt; &amp; ]]>",
        "a \x00 zero, a \x1b escape, half a pair \ud800, \ufffe",
        "# - 1. | a | b |\n\n---\n[x](javascript:alert(1)) ![y](z) `c` **d** <http://e>",
    ],
)
def test_text_of_users_stays_text(text: str) -> None:
    root = parse(everything(text))
    plain = parse(everything("plain"))
    # The same elements with the same attributes, whatever the text is.
    assert [(e.tag, sorted(e.attrib)) for e in root.iter()] == [(e.tag, sorted(e.attrib)) for e in plain.iter()]
    shown = re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]", "\ufffd", text)
    quote = root.find(f".//{XHTML}blockquote")
    assert quote is not None
    assert quote.text == shown
    to_html(everything(text)).encode()
    to_markdown(everything(text)).encode()


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_text_gives_a_well_formed_page(text: str) -> None:
    parse(everything(text))
    assert len(to_markdown(everything(text)).splitlines()) == len(to_markdown(everything("a")).splitlines())


def test_markdown_escapes_what_would_be_markup() -> None:
    document = Document(
        (Heading(1, "t"), Paragraph("<b>*a*|[c](d)</b>"), Paragraph("1. no list"), Items(("- x",)))
    )
    assert to_markdown(document) == (
        "# t\n\n&lt;b\\>\\*a\\*\\|\\[c\\](d)&lt;/b\\>\n\n1\\. no list\n\n- \\- x\n"
    )


def test_tables_in_markdown() -> None:
    table = Table(("name", "value"), (row("all", kind="group"), row("a", Cell("1.0", "0.5-1.5"))))
    assert to_markdown(Document((Heading(1, "t"), table))).splitlines()[2:] == [
        "| name | value |",
        "| --- | ---: |",
        "| **all** |  |",
        "| a | 1.0 (0.5-1.5) |",
    ]


def test_the_page_needs_no_other_file_and_no_script() -> None:
    root = parse(everything("a"))
    tags = {element.tag.removeprefix(XHTML) for element in root.iter()}
    assert not tags & {"script", "link", "iframe", "object"}
    for element in root.iter():
        assert not set(element.attrib) & {"onload", "onerror", "onclick"}
        assert element.get("href", "#").startswith("#")
    sources = [element.attrib["src"] for element in root.iter(f"{XHTML}img")]
    assert sources[-1] == "data:image/png;base64," + base64.b64encode(PICTURE.content).decode()
    assert "url(" not in to_html(everything("a"))
    assert "@import" not in to_html(everything("a"))


def test_the_table_of_contents_leads_to_its_parts() -> None:
    root = parse(Document((Heading(1, "t"), Heading(2, "one"), Heading(3, "in one"), Heading(2, "two"))))
    links = {element.text: element.attrib["href"][1:] for element in root.iter(f"{XHTML}a")}
    places = {element.text: element.attrib["id"] for element in root.iter(f"{XHTML}h2")}
    assert links == places
    assert list(links) == ["one", "two"]


def test_phones_and_dark_screens_are_thought_of() -> None:
    page = to_html(everything("a"))
    assert 'name="viewport"' in page
    assert "prefers-color-scheme:dark" in page
    assert "overflow-x:auto" in page
