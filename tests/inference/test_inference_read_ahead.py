"""Pieces that are read ahead hold the same frames as pieces read alone, each decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge_stg.errors import VideoError
from bridge_stg.inference.long_videos import pieces_of
from bridge_stg.inference.read_ahead import reading_ahead
from bridge_stg.types import SampledVideo, TimeSpan
from bridge_stg.video.decode import VideoFile, open_source
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.source import VideoSource
from bridge_stg.video.write import VideoWriter


class CountingFile(VideoFile):
    """Remembers which frames were decoded for it."""

    decoded: list[int]

    def read(
        self, wanted: Sequence[int], on_damage: Callable[[float], None] | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        self.decoded.extend(wanted)
        return super().read(wanted, on_damage)


@pytest.fixture
def video(tmp_path: Path) -> VideoSource:
    """20 s at 10 fps of noise."""
    file, random = tmp_path / "noise.mp4", np.random.default_rng(0)
    with VideoWriter(file, 64, 48, Fraction(10)) as writer:
        for _ in range(200):
            writer.write(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    opened = open_source(file)
    assert isinstance(opened, VideoFile)
    counting = CountingFile(**{name: getattr(opened, name) for name in opened.__dataclass_fields__})
    object.__setattr__(counting, "decoded", [])
    return VideoSource(str(file), counting, still=False)


def test_every_piece_as_read_alone_and_every_frame_decoded_once(video: VideoSource) -> None:
    # Half a piece is four seconds, so neighbours sample the same moments; the last piece is moved back, and its
    # frames lie between those of the others.
    pieces = pieces_of(TimeSpan(0.0, 19.2), 8.0)
    threads = set()

    def read(piece: TimeSpan, before: SampledVideo | None) -> SampledVideo:
        threads.add(get_ident())
        return sample_video(video, 2.0, span=piece, known=before)

    with reading_ahead(read, pieces) as following:
        found = [following() for _ in pieces]
    decoded = list(video.video.decoded)  # type: ignore[union-attr]
    # All of it in one thread, which is not this one.
    assert len(threads) == 1
    assert get_ident() not in threads

    alone = [sample_video(video, 2.0, span=piece) for piece in pieces]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.source_frames, other.source_frames)
        np.testing.assert_array_equal(one.times, other.times)
        assert (one.notes, one.sampled_fps) == (other.notes, other.sampled_fps)
    assert len(decoded) == len(set(decoded)) < sum(len(piece) for piece in alone)


def test_what_a_piece_raises_is_raised_where_it_is_asked_for(video: VideoSource) -> None:
    pieces = [TimeSpan(0.0, 5.0), TimeSpan(5.0, 10.0), TimeSpan(10.0, 15.0)]

    def read(piece: TimeSpan, before: SampledVideo | None) -> SampledVideo:
        if piece.start == 5.0:
            raise VideoError("cut off")
        return sample_video(video, 2.0, span=piece, known=before)

    with reading_ahead(read, pieces) as following:
        assert following().times[0] == 0.0
        with pytest.raises(VideoError):
            following()
