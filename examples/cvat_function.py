"""A sentence as an auto-annotation function of CVAT: one rectangle on every frame of the found window.

Start ``bridge-stg serve`` where the model is. Then, where CVAT's own client is installed (``pip install
cvat-cli bridge-stg``; torch is not used here):

    cvat-cli task auto-annotate 42 --function-file examples/cvat_function.py --allow-unmatched-labels
        -p video=str:clip.mp4 -p "query=str:the red circle that moves left"

CVAT's client annotates tasks of images only. Make the task from the frames of ``video``, all or some of them,
with their numbers as names: ``ffmpeg -i clip.mp4 -fps_mode passthrough -start_number 0 frame_%06d.png``. A
single picture does not show when something happens, so the service is asked about ``video`` once. The task
needs a label ``target``; with a text attribute ``query`` it keeps the sentence. For a task that was made from
the video file, and for tracks: ``bridge-stg export tube.json --format cvat``, then ``cvat-cli task
import-dataset 42 tube-cvat.xml --format "CVAT 1.1"``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import PIL.Image
from cvat_sdk import models

from bridge_stg.client import Client
from bridge_stg.errors import InputError
from bridge_stg.geometry.clock import clock_of
from bridge_stg.types import GroundingResult

LABEL, QUERY = 0, 0
# The number of a frame in the name of its picture.
_FRAME = re.compile(r"frame_(\d+)")


class SentenceFunction:
    """The boxes of one answer, handed out frame by frame."""

    def __init__(self, result: GroundingResult) -> None:
        self.result = result
        attributes = [cvataa.text_attribute_spec("query", QUERY)]
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec("target", LABEL, type="rectangle", attributes=attributes)]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: PIL.Image.Image
    ) -> Sequence[cvataa.DetectionAnnotation]:
        """At most one rectangle: the box of this frame, if the frame is in the window."""
        found = _FRAME.search(context.frame_name)
        if found is None:
            raise InputError(f"{context.frame_name}: no number of a frame; name pictures frame_000000.png ...")
        info, tube, window = self.result.info, self.result.tube, self.result.window
        if image.size != (info.width, info.height):
            raise InputError(f"the task has frames of {image.size}, the video of {(info.width, info.height)}")
        if tube is None or window is None:
            return []
        frame = int(found[1])
        first, last = clock_of(info).frames_in(window)
        if not first <= frame < max(last, first + 1):
            return []
        if np.interp(frame, tube.frames, tube.scores) < (context.conf_threshold or 0):
            return []

        box = [float(np.interp(frame, tube.frames, tube.boxes[:, side])) for side in range(4)]
        query = models.AttributeValRequest(spec_id=QUERY, value=self.result.query)
        return [cvataa.rectangle(LABEL, box, attributes=[query])]


def create(video: str, query: str, address: str = "http://127.0.0.1:8000", token: str = "") -> SentenceFunction:
    """What ``cvat-cli`` calls with the values of its ``-p`` options."""
    with Client(address, token=token or None) as client:
        (result,) = client.ground(Path(video), [query])
    return SentenceFunction(result)
