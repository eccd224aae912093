"""The wanted frames of a source one by one, and afterwards what was wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.video.decode import FrameSource, VideoFile
from bridge_stg.video.refusals import nothing_decoded
from bridge_stg.video.transport_streams import codecs_in_turn


@dataclass
class WatchedFrames:
    """Iterates over (index, (H, W, 3) uint8 RGB) of the ``wanted`` frames that come; ``read`` counts them.

    Raises:
        VideoError: while iterating, where none of them comes though ``some_needed``, or one has another size
            than the first.
    """

    video: FrameSource
    wanted: Sequence[int]
    read: int = 0
    damaged: list[float] = field(default_factory=list)
    some_needed: bool = True

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        if isinstance(self.video, VideoFile):
            coming = self.video.read(self.wanted, self.damaged.append)
        else:
            coming = self.video.read(self.wanted)

        for number, pixels in coming:
            self.read += 1
            yield number, pixels
        if not self.read and self.some_needed:
            raise nothing_decoded(Path(self.video.info.path))

    def notes(self, what: str) -> tuple[str, ...]:
        """What was missing or may be wrong, for people; ``what`` is the word for the frames, such as
        "sampled frames".
        """
        lost = len(self.wanted) - self.read
        if not lost and not self.damaged:
            return ()

        # What a decoder of another codec makes of the rest is no damage of the file.
        codecs = codecs_in_turn(Path(self.video.info.path)) if isinstance(self.video, VideoFile) else ()
        if len(codecs) > 1:
            return (
                f"the video changes from {codecs[0]} to {codecs[1]} on the way, and only the first part can be "
                f"read; {lost} of {len(self.wanted)} {what} were left out",
            )

        if lost:
            return (f"{lost} of {len(self.wanted)} {what} are damaged and were left out",)
        return (f"the file is damaged near {min(self.damaged):.1f} s; what is shown after it may be wrong",)
