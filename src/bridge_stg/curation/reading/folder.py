"""The folder a person downloaded: which files are in it, and a clear line when they are not."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError, unreadable
from bridge_stg.files.json_lines import refuse_packed

# Not from the system's table of media types: it differs between machines, and with it a build would.
VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".3gp", ".ogv", ".gif"),
        *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".mjpeg", ".h264"),
    )
)
# Bytes of one part of a path, in the file systems in use.
_LONGEST_NAME = 255
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".z01", ".rar")


class DataFolder:
    """The root of a downloaded data set; every path of a record is relative to it, with forward slashes."""

    def __init__(self, root: Path) -> None:
        """Raises DataError when ``root`` is not a folder, in particular when it is an archive."""
        if root.is_file():
            archive = zipfile.is_zipfile(root) or root.name.lower().endswith(_ARCHIVES)
            what = "an archive; unpack it and" if archive else "a file;"
            raise DataError(f"{root}: is {what} give the folder")
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; give the folder of the download with --root")
        self.root = root

    def find(self, *candidates: str, what: str) -> Path:
        """The first of ``candidates`` (paths below the root) that exists.

        Raises:
            DataError: none does; the line names the first ones and an archive that was not unpacked.
        """
        for candidate in candidates:
            if (self.root / candidate).exists():
                return self.root / candidate

        shown = " or ".join(candidates[:3])
        raise DataError(f"{self.root}: {what} not found; expected {shown} in it{self.advice()}")

    def exists(self, *candidates: str) -> Path | None:
        """The first of ``candidates`` that exists, if one does."""
        return next((self.root / name for name in candidates if (self.root / name).exists()), None)

    def relative(self, path: Path) -> str:
        """``path`` as records name it: below the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def advice(self) -> str:
        """What is there instead, to end an error line with."""
        archives = sorted(path.name for path in self.root.iterdir() if path.name.lower().endswith(_ARCHIVES))
        if archives:
            return f"; {archives[0]} is there: unpack it first"

        held = sorted(path.name for path in self.root.iterdir())
        return f", which holds {', '.join(held[:5]) or 'nothing'}; is it the right folder?"


class Videos:
    """The video files of a data set, found by the name that its annotations give them."""

    def __init__(self, folder: DataFolder, *candidates: str, check: bool = True) -> None:
        """List the files once.

        Args:
            folder: the root.
            candidates: where the videos can lie; the first one is the documented place.
            check: False leaves the disk alone: every video is said to be in the documented place.

        Raises:
            DataError: none of the folders is there.
        """
        self._documented, self.check = candidates[0], check
        self._paths: set[str] = set()
        self._by_name: dict[str, list[str]] = {}
        if not check:
            return

        found = [folder.root / name for name in candidates if (folder.root / name).is_dir()]
        if not found:
            missing = f"no videos in it; expected the folder {' or '.join(candidates[:3])}"
            raise DataError(f"{folder.root}: {missing}; to build without videos give --annotations-only")

        self._place = folder.relative(found[0])
        for path in _files(found[0]):
            relative = folder.relative(path)
            self._paths.add(relative)
            # Uploads lose their blanks.
            names = {path.name, path.name.replace(" ", "_")}
            # A full name can have any ending; without one, "clip.json" must not be taken for the video "clip".
            if path.suffix.lower() in VIDEO_SUFFIXES:
                names.add(path.stem)
            for name in names:
                self._by_name.setdefault(name, []).append(relative)

    def path(self, expected: str, any_suffix: bool = False) -> str:
        """Where a video is, below the root. A path that exists is taken, whatever its ending.

        Args:
            expected: as documented, below the folder of the videos, such as ``0001/123.mp4``. A file of that
                name in another place below the folder is taken too, if there is only one.
            any_suffix: the ending does not matter.

        Raises:
            Unusable: there is no such file, there are several, or the path leads out of the folder.
        """
        name = inside(expected)
        if not self.check:
            return (PurePosixPath(self._documented) / name).as_posix()
        exact = (PurePosixPath(self._place) / name).as_posix()
        if exact in self._paths:
            return exact

        found = self._by_name.get(name.stem if any_suffix else name.name, [])
        if not found:
            raise Unusable("no video file", name.as_posix())
        if len(found) > 1:
            raise Unusable("several video files have this name", ", ".join(sorted(found)[:3]))
        return found[0]


def inside(name: str) -> PurePosixPath:
    """A path given by an annotation file, which must stay below the folder it is relative to.

    Raises:
        Unusable: it is absolute, climbs out with "..", or is not a path.
    """
    path = PurePosixPath(name)
    # Backslashes and colons lead elsewhere on other systems.
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name
    if outside or not path.parts:
        raise Unusable("the path leads out of the data set's folder", repr(name[:80]))
    if max(len(part.encode(errors="replace")) for part in path.parts) > _LONGEST_NAME:
        raise Unusable("a name that is too long for a file", repr(name[:80]))
    return path


def read_json(path: Path, kind: type, unique: bool = False) -> Any:
    """A JSON file whose content is a ``kind`` (list or dict).

    Args:
        path: of the file.
        kind: ``list`` or ``dict``.
        unique: a key that stands twice in an object is an error; JSON would keep the last one in silence.

    Raises:
        DataError: it cannot be read, is cut off, or holds something else.
    """
    try:
        content = path.read_bytes()
        refuse_packed(path, content)
        value = json.loads(content, object_pairs_hook=_unique_keys if unique else None)
    except DataError:
        raise
    except OSError as problem:
        raise unreadable(path, problem) from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: not complete JSON ({problem}); download it again") from problem

    if not isinstance(value, kind):
        raise DataError(f"{path}: holds a {type(value).__name__} instead of a {kind.__name__}; another file?")
    return value


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without their ends, UTF-8 with or without a byte order mark.

    Raises:
        DataError: it cannot be read or is not text.
    """
    try:
        content = path.read_bytes()
        refuse_packed(path, content)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except OSError as problem:
        raise unreadable(path, problem) from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}: not a text file ({problem.reason}); download it again") from problem


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _files(folder: Path) -> list[Path]:
    """All files below a folder, in order of their names; links to folders are followed, circles are not."""
    found, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in visited:
            folders.clear()
            continue

        visited.add((about.st_dev, about.st_ino))
        found += [Path(place) / name for name in names]
    return sorted(found)
