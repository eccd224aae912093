"""What the operator of a service decides: the model, where state lives, and the limits on clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge_stg.zero_shot.open_grounder import GrounderName

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class ModelChoice:
    """The one model that a service loads.

    ``detector`` is of the method "compose", None its own; None leaves device and threads to the machine.
    """

    checkpoint: str = "shapes"
    method: GrounderName = "bridge-stg"
    device: str | None = None
    threads: int | None = None
    detector: str | None = None


@dataclass(frozen=True)
class Limits:
    """What one client, and all of them together, may ask for. Times are in seconds, sizes in bytes.

    ``read_timeout`` bounds the wait for the next piece of a request's body, and for all of it beyond what a
    slow line would need; ``probe_timeout`` the first look at an upload, ``job_timeout`` the run of one job,
    ``drawing_timeout`` the annotated video.
    """

    upload_bytes: int = 512 * MEGABYTE
    video_seconds: float = 3600.0
    frame_pixels: int = 4096 * 2304
    queries_per_job: int = 32
    query_letters: int = 2000
    queued_jobs: int = 64
    read_timeout: float = 30.0
    probe_timeout: float = 60.0
    job_timeout: float = 600.0
    drawing_timeout: float = 600.0


@dataclass(frozen=True)
class LabelStudioAccess:
    """The Label Studio whose videos may be fetched, and a key of it."""

    url: str
    key: str


@dataclass(frozen=True)
class ServiceSettings:
    """Everything that a service is started with.

    ``folder`` holds the database and the uploads. ``keep`` is how many seconds an upload is kept after its last
    use. With a ``token``, every request for data must carry ``Authorization: Bearer TOKEN``. ``local_only``: it
    listens on a loopback address, where a browser must not be led by another site's name.
    """

    folder: Path
    model: ModelChoice = ModelChoice()
    limits: Limits = Limits()
    keep: float = 24 * 3600.0
    token: str | None = None
    local_only: bool = True
    label_studio: LabelStudioAccess | None = None
