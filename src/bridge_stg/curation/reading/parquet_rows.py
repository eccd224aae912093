"""Rows of the Parquet tables that some data sets are published as."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bridge_stg.errors import DataError, one_line


def parquet_rows(path: Path, columns: tuple[str, ...], other_release: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, read a few at a time.

    Args:
        path: of the file.
        columns: which must be there; others are not read.
        other_release: what a file without one of them is, to end the error line with.

    Raises:
        DataError: the file is cut off, damaged, or another table.
    """
    try:
        table = pq.ParquetFile(path)
        missing = sorted(set(columns) - set(table.schema_arrow.names))
        if missing:
            raise DataError(f"{path}: has no column {', '.join(missing)}; {other_release}")
        for batch in table.iter_batches(columns=list(columns)):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as problem:
        raise DataError(
            f"{path}: not a complete Parquet file ({one_line(problem)}); download it again"
        ) from problem
