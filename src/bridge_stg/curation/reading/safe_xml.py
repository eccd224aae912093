"""XML files of others, read without what makes them dangerous: declarations, entities and endless size."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from bridge_stg.errors import DataError

# A day of annotations is far below both; beyond them a file means to fill the memory.
MAX_BYTES = 256 * 2**20
MAX_DEPTH = 32


class Located(Element):
    """An element that knows the line it starts on."""

    line = 0


def read_xml(path: Path, root: str) -> Located:
    """The outermost element, which must be named ``root``.

    A file with a document type is refused unread: entities are declared there and nowhere else, so none can
    expand and none can name a file or an address.

    Raises:
        DataError: naming file and line: it cannot be read, is too large, is cut off, or is something else.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path}: {size / 2**20:.0f} MB of XML, more than {MAX_BYTES // 2**20}; split it by task"
            )
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror})") from problem
    if content[:2] == b"PK":
        raise DataError(f"{path}: is a zip archive, not XML; unpack it")
    parser = expat.ParserCreate()
    depth = 0

    def element(tag: str, attributes: dict[str, str]) -> Located:
        made = Located(tag, attributes)
        made.line = parser.CurrentLineNumber
        return made

    builder = TreeBuilder(element_factory=element)

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"{path}:{parser.CurrentLineNumber}: elements nested {depth} deep; not annotations")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: declares a document type or entities, which annotations never "
            "need; remove the declaration if you trust the file"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as problem:
        reason = expat.ErrorString(problem.code)
        raise DataError(f"{path}:{problem.lineno}: not complete XML ({reason}); export it again") from problem
    except (ValueError, LookupError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"{path}: not XML that can be read ({problem}); export it again") from problem
    found = builder.close()
    assert isinstance(found, Located)
    if found.tag != root:
        raise DataError(f"{path}:{found.line}: the outermost element is <{found.tag}>, expected <{root}>")
    return found
