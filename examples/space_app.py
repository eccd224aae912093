"""One file for a hosted demo (a Hugging Face Space of the Docker or Python kind): the page and the service.

A Space shows what listens on port 7860. Requirements: ``bridge-stg[serve]``. CHECKPOINT names another model.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bridge_stg.serve.run import run
from bridge_stg.serve.settings import MEGABYTE, Limits, ModelChoice, ServiceSettings


def settings() -> ServiceSettings:
    """A demo for strangers: small uploads, a short queue, nothing kept for long."""
    return ServiceSettings(
        folder=Path(os.environ.get("STATE", tempfile.gettempdir())) / "bridge-stg-space",
        model=ModelChoice(os.environ.get("CHECKPOINT", "shapes")),
        limits=Limits(upload_bytes=50 * MEGABYTE, video_seconds=120, queued_jobs=16, job_timeout=120),
        keep=3600,
        # Others call it by its own name: only a service for one person asks for localhost.
        local_only=False,
    )


if __name__ == "__main__":
    run(settings(), "0.0.0.0", int(os.environ.get("PORT", "7860")))
