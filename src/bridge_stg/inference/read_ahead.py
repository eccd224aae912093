"""Overlapping pieces of a long video, read while the model works, and no frame decoded twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bridge_stg.types import SampledVideo, TimeSpan

# Reads a span; frames of the piece before need not be decoded again.
ReadPiece = Callable[[TimeSpan, SampledVideo | None], SampledVideo]


@contextmanager
def reading_ahead(read: ReadPiece, pieces: Sequence[TimeSpan]) -> Iterator[Callable[[], SampledVideo]]:
    """Gives a function that returns the frames of one piece after the other; a thread reads the next meanwhile.

    Frames are the same as those of ``read`` alone. Two pieces are in memory at a time. What ``read`` raises is
    raised where that piece is asked for.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as thread:
        coming = thread.submit(read, pieces[0], None)
        waiting = iter(pieces[1:])

        def following() -> SampledVideo:
            nonlocal coming
            here = coming.result()
            piece = next(waiting, None)
            if piece is not None:
                coming = thread.submit(read, piece, here)
            return here

        try:
            yield following
        finally:
            # After an error nobody asks for the piece that is being read.
            thread.shutdown(wait=True, cancel_futures=True)
