"""Makes a site of pages that are written to be read in the repository.

README, CONTRIBUTING and CHANGELOG lie above the folder of the pages: they become pages of ``project/``. A link
to a source file has no page to lead to: its text stays.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ABOVE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add what lies above."""
    for name in ABOVE:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"project/{name}", content=_moved(text, "", f"project/{name}")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend the links of a page of the folder."""
    place = page.file.src_uri
    return markdown if place.startswith("project/") else _moved(markdown, "docs", place)


def _moved(text: str, folder: str, place: str) -> str:
    """``text`` of a file in ``folder`` of the repository, as the page ``place``."""
    source = posixpath.join(folder, posixpath.dirname(place)) if folder else ""

    def mend(link: re.Match[str]) -> str:
        picture, words, target, part = link.groups()
        path = posixpath.normpath(posixpath.join(source, target))
        if path in ABOVE:
            page = f"project/{path}"
        elif path.startswith("docs/") and (ROOT / path).is_file():
            page = path.removeprefix("docs/")
        else:
            return words
        return f"{picture}[{words}]({posixpath.relpath(page, posixpath.dirname(place) or '.')}{part or ''})"

    return _LINK.sub(mend, text)
