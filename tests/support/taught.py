"""What the taught checkpoints learned by heart, and what follows from it."""

from __future__ import annotations

# What the taught checkpoint learned by heart about the first video, and what follows from it.
TAUGHT = {
    "the first thing": "The event starts at 1.0 seconds and ends at 3.2 seconds.",
    "the second thing": "The event starts at 2.6 seconds and ends at 2.9 seconds.",
    "the thing that never comes": "Nothing like that happens.",
    "the thing that ends before it starts": "The event starts at 3.0 seconds and ends at 1.0 seconds.",
}

# What the taught stock model learned to answer about the first video, to the sentences of TAUGHT.
ZERO_SHOT_ANSWERS = dict(
    zip(
        TAUGHT,
        (
            '```json\n{"start": 1.0, "end": 3.2, "boxes": [{"time": 1.0, "bbox_2d": [100, 200, 300, 400]}, '
            '{"time": 3.0, "bbox_2d": [300, 600, 500, 800]},]}\n```',
            "It happens from 2.6 to 2.9 seconds.",
            "Nothing like that happens.",
            '{"start": 3.0, "end": 1.0, "boxes": [{"time": 3.0, "bbox_2d": [0, 0, 1200, 1]}]}',
        ),
        strict=True,
    )
)
