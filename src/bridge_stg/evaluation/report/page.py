"""A document as one HTML file that needs nothing else: no scripts, no fonts, pictures inside of it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable

from bridge_stg.evaluation.report.document import (
    Block,
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

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1c1f24;--soft:#5d646e;--line:#dfe3e8;
--card:#f5f6f8;--accent:#a86400}
@media (prefers-color-scheme:dark){:root{--back:#14161a;--text:#e6e8eb;--soft:#9aa2ad;
--line:#2c3038;--card:#1d2026;--accent:#ffb000}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.6rem 0 .3rem}
p{margin:.5rem 0;max-width:46rem}
.note{color:var(--soft);font-size:.875rem}
blockquote{margin:.4rem 0;padding:.15rem .8rem;border-left:3px solid var(--accent);max-width:46rem}
nav{font-size:.9rem;margin:.8rem 0}
nav a{margin-right:.9rem;white-space:nowrap}
a{color:var(--accent)}
ul{padding-left:1.2rem;margin:.5rem 0;max-width:46rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
.fact{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}
.fact b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}
.fact span{display:block;font-size:.8rem;color:var(--soft)}
.scroll{overflow-x:auto;margin:.6rem 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;line-height:1.35}
th,td{padding:.35rem .6rem;text-align:right;vertical-align:top;
border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--soft);vertical-align:bottom}
th.text,td.text{text-align:left}
td:first-child,th:first-child{padding-left:0}
td.text{white-space:normal;min-width:8rem;max-width:24rem}
td small{display:block;color:var(--soft);font-size:.75rem}
tr.group td{font-weight:600;padding-top:.9rem;white-space:normal}
tr.strong td{font-weight:600}
tr.faint td{color:var(--soft)}
figure{margin:.6rem 0}
figure img{display:block;width:100%;height:auto;border-radius:.4rem}
figure.wide{max-width:46rem}
.gallery{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr));gap:.5rem 1.2rem}
"""

# What XML, and so any strict reader of the page, does not allow in text.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_html(document: Document) -> str:
    """The page as text; well-formed XML as well, so that it can be checked by a strict parser."""
    contents = [block.text for block in document.blocks if isinstance(block, Heading) and block.level == 2]
    links = "".join(f'<a href="#part-{number}">{text(name)}</a>' for number, name in enumerate(contents, 1))
    parts: list[str] = []
    number = 0
    for block in document.blocks:
        if isinstance(block, Heading) and block.level == 2:
            number += 1
            parts.append(f'<h2 id="part-{number}">{text(block.text)}</h2>')
        else:
            parts.append(_block(block))
        if isinstance(block, Heading) and block.level == 1:
            parts.append(f"<nav>{links}</nav>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n'
        '<meta charset="utf-8"/>\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{text(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Text as HTML: nothing that a user wrote becomes a tag or an attribute."""
    return html.escape(clean(value), quote=True)


def clean(value: str) -> str:
    """Without characters that no document may hold, such as control codes and half surrogates."""
    return _FORBIDDEN.sub("\ufffd", value)


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{text(block.text)}</h{block.level}>"
        case Paragraph():
            if block.kind == "quote":
                return f"<blockquote>{text(block.text)}</blockquote>"
            kind = ' class="note"' if block.kind == "note" else ""
            return f"<p{kind}>{text(block.text)}</p>"
        case Items():
            return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in block.lines) + "</ul>"
        case Facts():
            cards = "".join(
                f'<div class="fact"><span>{text(fact.label)}</span><b>{text(fact.value)}</b>'
                f"<span>{text(fact.small)}</span></div>"
                for fact in block.facts
            )
            return f'<div class="facts">{cards}</div>'
        case Table():
            return _table(block)
        case Picture():
            return _picture(block)
        case Gallery():
            return '<div class="gallery">' + "".join(map(_picture, block.pictures)) + "</div>"


def _table(table: Table) -> str:
    def align(column: int) -> str:
        return ' class="text"' if column < table.text_columns else ""

    head = "".join(f"<th{align(number)}>{text(name)}</th>" for number, name in enumerate(table.columns))
    rows = "".join(_row(row, len(table.columns), align) for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(row: Row, width: int, align: Callable[[int], str]) -> str:
    kind = "" if row.kind == "plain" else f' class="{row.kind}"'
    if row.kind == "group":
        return f'<tr{kind}><td class="text" colspan="{width}">{text(row.cells[0].text)}</td></tr>'
    cells = "".join(
        f"<td{align(number)}>{text(cell.text)}{f'<small>{text(cell.small)}</small>' if cell.small else ''}</td>"
        for number, cell in enumerate(row.cells)
    )
    return f"<tr{kind}>{cells}</tr>"


def _picture(picture: Picture) -> str:
    inside = base64.b64encode(picture.content).decode("ascii")
    wide = ' class="wide"' if picture.wide else ""
    return f'<figure{wide}><img src="data:{picture.mime};base64,{inside}" alt="{text(picture.alt)}"/></figure>'
