"""The routes of ``bridge-stg serve``."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from bridge_stg.serve.files_out import FILES, exported
from bridge_stg.serve.guards import Guards
from bridge_stg.serve.known_fields import only_known_fields
from bridge_stg.serve.label_studio import label_studio_routes
from bridge_stg.serve.problems import ServiceError, install_handlers, not_found
from bridge_stg.serve.schemas import (
    About,
    AskOptions,
    ErrorBody,
    ExportRequest,
    GroundRequest,
    Health,
    JobCreated,
    JobView,
    SampleView,
    TubeResult,
    VideoView,
)
from bridge_stg.serve.service import Service

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody}
    for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 504, 507)
}
# The page loads nothing from anywhere else; a video that a person dropped is a blob.
_PAGE_POLICY = "default-src 'self'; media-src 'self' blob:; img-src 'self' blob: data:; frame-ancestors 'none'"


def create_app(service: Service) -> FastAPI:
    """The application around a service that has been made; it starts and closes it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="Bridge-STG",
        version=version("bridge-stg"),
        description="When and where does this sentence happen in this video?",
        lifespan=lifespan,
        responses=_ERRORS,
        docs_url=None,
        redoc_url=None,
    )
    install_handlers(app)
    app.add_middleware(Guards, settings=service.settings, metrics=service.metrics)
    app.include_router(_about_routes(service))
    app.include_router(_video_routes(service))
    app.include_router(_one_call_route(service))
    app.include_router(_job_routes(service))
    app.include_router(label_studio_routes(service, service.settings.label_studio))
    app.mount("/", _Page(directory=str(files("bridge_stg") / "serve" / "page"), html=True), name="page")
    return app


class _Page(StaticFiles):
    """The files of the page, each with the rules of what it may load."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response


def _about_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    def health() -> Health:
        """Whether the service answers, and how many jobs wait."""
        return Health(status="UP", model=service.facts.checkpoint, queued=service.store.queued())

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Counters in Prometheus' text format."""
        service.metrics.queued.set(service.store.queued())
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/v1/about")
    def about() -> About:
        """The model, the limits, and the sample clips."""
        return About(
            version=version("bridge-stg"),
            checkpoint=service.facts.checkpoint,
            method=service.settings.model.method,
            device=service.facts.device,
            limits_of_checkpoint=list(service.facts.limits),
            upload_bytes=service.limits.upload_bytes,
            video_seconds=service.limits.video_seconds,
            queries_per_job=service.limits.queries_per_job,
            keep_seconds=service.settings.keep,
            samples=service.samples.all(),
        )

    return router


def _video_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_fields)])

    @router.post("/videos", status_code=201)
    def add_video(
        video: Annotated[UploadFile, File(description="mp4, mov, mkv, webm, avi or gif")],
    ) -> VideoView:
        """Store a video; it is deleted some time after its last use."""
        stored = service.uploads.add(video.file, video.filename)
        service.metrics.upload_bytes.inc(video.size or 0)
        return service.video_view(stored)

    @router.post("/samples/{name}", status_code=201)
    def add_sample(name: str) -> SampleView:
        """Store one of the sample clips, as if it had been uploaded; the first time it is drawn."""
        clip = service.samples.clip(name)
        with clip.path.open("rb") as file:
            stored = service.video_view(service.uploads.add(file, f"{name}.mp4"))
        return SampleView(**stored.model_dump(), queries=list(clip.queries))

    @router.get("/videos/{video_id}")
    def get_video(video_id: str) -> VideoView:
        return service.video_view(service.video(video_id))

    @router.get("/videos/{video_id}/file", response_class=FileResponse)
    def get_file(video_id: str) -> FileResponse:
        """The bytes that were uploaded."""
        video = service.video(video_id)
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
        return FileResponse(service.uploads.path_of(video), filename=video.name, headers=headers)

    @router.delete("/videos/{video_id}", status_code=204)
    def delete_video(video_id: str) -> None:
        """Delete an upload now."""
        service.uploads.remove(service.video(video_id))

    @router.post("/videos/{video_id}/ground", status_code=202)
    def ground(video_id: str, request: GroundRequest) -> JobCreated:
        """Queue sentences about a stored video."""
        return JobCreated(job=service.submit(service.video(video_id), request.queries, request.options).id)

    @router.get("/videos/{video_id}/annotated", response_class=FileResponse)
    def annotated(
        video_id: str,
        job: Annotated[str, Query(description="a finished job about this video")],
        result: Annotated[int, Query(ge=0, description="which of its sentences, from 0")] = 0,
    ) -> FileResponse:
        """The video as an mp4 with one answer drawn on it."""
        video, done = service.video(video_id), service.job(job)
        if done.video != video.id or done.results is None or result >= len(done.results):
            raise not_found("result of this video")
        path = service.annotated(video, done.results[result], f"{done.id}-{result}")
        return FileResponse(path, media_type="video/mp4", filename="annotated.mp4")

    @router.post("/videos/{video_id}/export", response_class=Response)
    def export(video_id: str, request: ExportRequest) -> Response:
        """Results, also corrected ones, as a file for an annotation tool or as an annotated video."""
        video = service.video(video_id)
        name, media_type = FILES[request.format]
        if request.format == "annotated":
            content = _drawn_once(service, video, request.results[0])
        else:
            content = exported([{**one, "video": video.name} for one in request.results], request.format)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=media_type, headers=headers)

    return router


def _one_call_route(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_fields)])

    @router.post("/ground")
    async def ground_once(
        request: Request,
        video: Annotated[UploadFile, File(description="mp4, mov, mkv, webm, avi or gif")],
        query: Annotated[list[str], Form(min_length=1, description="a sentence; repeat the field for more")],
        options: Annotated[
            str, Form(description=f"a JSON object of {', '.join(AskOptions.model_fields)}")
        ] = "{}",
    ) -> list[TubeResult]:
        """Upload, ask and wait in one call; the upload is deleted at once afterwards."""
        try:
            chosen = AskOptions.model_validate_json(options)
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            place = ".".join(str(part) for part in ("options", *first["loc"]))
            raise ServiceError(422, "invalid_request", f"{place}: {first['msg']}") from problem

        # The upload lives as long as this call.
        stored = await run_in_threadpool(service.uploads.add, video.file, video.filename)
        job = None
        try:
            job = service.submit(stored, query, chosen)
            waiting = asyncio.ensure_future(service.wait(job.id))
            # A client that has left is not answered for.
            while not waiting.done():
                await asyncio.wait([waiting], timeout=0.5)
                if not waiting.done() and await request.is_disconnected():
                    service.cancel(job.id)
            done = await waiting
        finally:
            if job is not None:
                service.cancel(job.id)
            await run_in_threadpool(service.uploads.remove, stored)
        return [TubeResult.model_validate(one) for one in done.results or ()]

    return router


def _drawn_once(service: Service, video: Any, result: dict[str, Any]) -> bytes:
    """An annotated video of a result that is not stored: drawn, sent, deleted."""
    path = service.annotated(video, {**result, "video": video.name}, f"edit-{secrets.token_hex(8)}")
    try:
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _job_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(only_known_fields)])

    @router.get("/jobs/{job_id}")
    def get_job(job_id: str) -> JobView:
        """Where a job is, with its results once it is done."""
        return service.job_view(service.job(job_id))

    @router.delete("/jobs/{job_id}")
    def cancel_job(job_id: str) -> JobView:
        """Cancel a job; a finished one stays what it is."""
        return service.job_view(service.cancel(job_id))

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse)
    async def events(job_id: str) -> StreamingResponse:
        """Server-sent events: one ``job`` at each change of status or stage, the last one with the end."""
        service.job(job_id)

        async def lines() -> AsyncIterator[str]:
            async for job in service.watch(job_id):
                if job is None:
                    yield ": still here\n\n"
                    continue
                told = {"id": job.id, "status": job.status, "stage": job.stage}
                yield f"event: job\ndata: {json.dumps(told)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router
