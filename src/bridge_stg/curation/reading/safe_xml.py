"""XML files of others, read without what makes them dangerous: declarations, entities and endless size."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from bridge_stg.errors import DataError, one_line, unreadable
from bridge_stg.files.json_lines import refuse_packed

# A day of annotations is far below this; beyond it a file means to fill the memory.
MAX_BYTES = 256 * 2**20


def read_xml(path: Path, root: str) -> etree._Element:
    """The outermost element, which must be named ``root``; elements know their ``sourceline``.

    A file with a document type is refused: entities are declared there and nowhere else. The parser expands
    none of them, opens nothing that they name, and stops at absurd depth.

    Raises:
        DataError: naming file and line: it cannot be read, is too large, is cut off, or is something else.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as problem:
        raise unreadable(path, problem) from problem
    if size > MAX_BYTES:
        raise DataError(
            f"{path}: {size / 2**20:.0f} MB of XML, more than {MAX_BYTES // 2**20}; split it by task"
        )
    refuse_packed(path, content)

    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as problem:
        reason = one_line(problem.msg or "it is empty")
        raise DataError(f"{path}:{problem.lineno}: not complete XML ({reason}); export it again") from problem

    if found.getroottree().docinfo.internalDTD is not None:
        raise DataError(
            f"{path}: declares a document type or entities, which annotations never need; remove the "
            "declaration if you trust the file"
        )
    if found.tag != root:
        raise DataError(f"{path}:{found.sourceline}: the outermost element is <{found.tag}>, expected <{root}>")
    return found
