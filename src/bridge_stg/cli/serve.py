"""``bridge-stg serve``: a page and an HTTP service around one loaded model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge_stg.cli.prepare import (
    CHECKPOINT_HELP,
    DEFAULT_CHECKPOINTS,
    DETECTOR_HELP,
    quiet_libraries,
    quiet_threads,
)
from bridge_stg.errors import InputError

if TYPE_CHECKING:
    from bridge_stg.serve.settings import LabelStudioAccess

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="BRIDGE_STG_TOKEN", help="Ask every client for this bearer token.", show_default=False
        ),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help=CHECKPOINT_HELP, show_default=False)] = None,
    method: Annotated[str, typer.Option(help="bridge-stg, qwen3-vl or compose.")] = "bridge-stg",
    detector: Annotated[str | None, typer.Option(help=DETECTOR_HELP)] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where uploads and jobs are kept; default: ~/.cache/bridge-stg/serve.", show_default=False
        ),
    ] = None,
    keep: Annotated[
        float, typer.Option(min=0.001, help="Hours that an upload is kept after its last use.")
    ] = 24.0,
    max_upload: Annotated[int, typer.Option(min=1, help="Megabytes of one upload.")] = 512,
    max_seconds: Annotated[float, typer.Option(min=1, help="Seconds that a video may last.")] = 3600.0,
    queue: Annotated[
        int, typer.Option(min=1, help="Jobs that may wait; the next client gets 429 and may come back.")
    ] = 64,
    job_timeout: Annotated[float, typer.Option(min=1, help="Seconds that a job may run.")] = 600.0,
    label_studio: Annotated[
        str | None,
        typer.Option(help="Address of a Label Studio to predict for; its key is in LABEL_STUDIO_API_KEY."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Serve the page and the HTTP interface on http://127.0.0.1:8000."""
    quiet_threads()
    import fastapi  # noqa: F401  (first: the packages that other extras bring too come after it)

    from bridge_stg.serve.run import run
    from bridge_stg.serve.settings import MEGABYTE, Limits, ModelChoice, ServiceSettings
    from bridge_stg.zero_shot.open_grounder import check_detector, parse_method

    chosen = parse_method(method)
    check_detector(chosen, detector)
    name = checkpoint or DEFAULT_CHECKPOINTS[chosen]
    if token is not None and not token.strip():
        raise InputError("--token is empty; give a secret, or leave it out")
    quiet_libraries(name)
    run(
        ServiceSettings(
            folder=(folder or _cache() / "serve").expanduser(),
            model=ModelChoice(name, chosen, device, threads, detector),
            limits=Limits(
                upload_bytes=max_upload * MEGABYTE,
                video_seconds=max_seconds,
                queued_jobs=queue,
                job_timeout=job_timeout,
            ),
            keep=keep * 3600,
            token=token,
            local_only=host in _LOOPBACK,
            label_studio=_label_studio(label_studio),
        ),
        host,
        port,
    )


def _label_studio(address: str | None) -> LabelStudioAccess | None:
    from bridge_stg.serve.settings import LabelStudioAccess

    if address is None:
        return None
    if not address.startswith(("http://", "https://")):
        raise InputError(f"--label-studio {address}: give an address such as http://localhost:8080")
    key = os.environ.get("LABEL_STUDIO_API_KEY", "").strip()
    if not key:
        raise InputError("--label-studio needs a key of it in the environment: LABEL_STUDIO_API_KEY")
    return LabelStudioAccess(address, key)


def _cache() -> Path:
    """The user's folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bridge-stg"
