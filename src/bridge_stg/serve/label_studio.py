"""Label Studio's ML backend protocol: ``/setup``, ``/predict`` and ``/webhook`` beside our own routes.

A task holds a video and a sentence; what comes back is the track in the tags of the project's own labelling
configuration. Videos are fetched from the Label Studio that the operator named, and from nowhere else: a task
must not send this service to other addresses.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import httpx2 as httpx
from fastapi import APIRouter
from lxml import etree
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from bridge_stg.errors import InputError, one_line
from bridge_stg.serve.files_out import exported
from bridge_stg.serve.problems import ServiceError
from bridge_stg.serve.schemas import AskOptions
from bridge_stg.serve.service import Service
from bridge_stg.serve.settings import LabelStudioAccess

log = logging.getLogger("bridge_stg.serve")
# Where a task keeps its sentence, the first of these that it has.
SENTENCES = ("query", "sentence", "text", "caption")
_WHAT_TO_HAVE = (
    "the labelling configuration needs a Video, a VideoRectangle and a TextArea tag, each with a name"
)


class SetupRequest(BaseModel):
    """Told when the backend is connected to a project."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    project: str | int | None = None


class Task(BaseModel):
    """A task; only its ``data`` is used."""

    model_config = ConfigDict(extra="allow")

    data: dict[str, Any]


class PredictRequest(BaseModel):
    """Tasks of one project."""

    model_config = ConfigDict(extra="allow")

    tasks: list[Task]
    label_config: str | None = None


@dataclass(frozen=True)
class Tags:
    """What a project calls its tags; ``video_key`` is the field of a task that the Video tag shows."""

    video: str = "video"
    box: str = "box"
    query: str = "query"
    video_key: str = "video"


def read_tags(config: str | None) -> Tags:
    """The names in a labelling configuration; without one, those that ``bridge-stg export`` writes.

    Raises:
        InputError: it is no XML, or lacks a tag.
    """
    if not config:
        return Tags()
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
        root = etree.fromstring(config.encode(), parser)
    except etree.XMLSyntaxError as problem:
        raise InputError(f"the labelling configuration is no XML: {one_line(problem)}") from problem

    found: dict[str, Any] = {}
    for tag in root.iter("Video", "VideoRectangle", "TextArea"):
        found.setdefault(str(tag.tag), tag)
    if len(found) < 3 or not all(tag.get("name") for tag in found.values()):
        raise InputError(_WHAT_TO_HAVE)
    return Tags(
        video=found["Video"].get("name"),
        box=found["VideoRectangle"].get("name"),
        query=found["TextArea"].get("name"),
        video_key=(found["Video"].get("value") or "$video").removeprefix("$"),
    )


def label_studio_routes(service: Service, access: LabelStudioAccess | None) -> APIRouter:
    """The three routes; without an ``access`` they say what to start the service with."""
    router = APIRouter()
    version = f"bridge-stg {service.facts.checkpoint}"

    @router.post("/setup")
    def setup(request: SetupRequest) -> dict[str, str]:
        """Label Studio's first word; answers with the name of the model."""
        return {"model_version": version}

    @router.post("/webhook")
    def webhook() -> dict[str, str]:
        """What happens to annotations over there; nothing is learned from it here."""
        return {}

    @router.post("/predict")
    async def predict(request: PredictRequest) -> dict[str, Any]:
        """Tracks for Label Studio's tasks, each with the sentence that the task holds."""
        if access is None:
            raise ServiceError(
                409,
                "label_studio_unknown",
                "start the service with --label-studio ADDRESS, and its key in LABEL_STUDIO_API_KEY",
            )
        tags = read_tags(request.label_config)
        answers = await asyncio.gather(
            *(_predict(service, access, tags, task.data) for task in request.tasks), return_exceptions=True
        )

        results: list[dict[str, Any]] = []
        problems: list[BaseException] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                # One task that cannot be read does not take the others with it.
                problems.append(answer)
                log.warning("a task was left without a prediction: %s", one_line(answer))
                answer = {"result": [], "score": 0.0}
            results.append({**answer, "model_version": version})
        if problems and len(problems) == len(results):
            raise problems[0]
        return {"results": results, "model_version": version}

    return router


async def _predict(
    service: Service, access: LabelStudioAccess, tags: Tags, data: dict[str, Any]
) -> dict[str, Any]:
    """The prediction for one task."""
    query = _sentence(data)
    place = data.get(tags.video_key)
    if not isinstance(place, str):
        raise InputError(f"a task has no video in its field {tags.video_key!r}")
    file = await run_in_threadpool(fetch, place, access, service.limits.upload_bytes)
    with file:
        stored = await run_in_threadpool(service.uploads.add, file, urlsplit(place).path)
    try:
        job = service.submit(stored, query, AskOptions())
        done = await service.wait(job.id)
    finally:
        await run_in_threadpool(service.uploads.remove, stored)

    found = [result for result in done.results or () if result["status"] == "ok" and result["boxes"]]
    if not found:
        # Not found is an answer: no track, and how sure the model is of that is not known.
        return {"result": [], "score": 0.0}
    task = json.loads(await run_in_threadpool(exported, found, "labelstudio"))[0]
    prediction = task["predictions"][0]
    for region in prediction["result"]:
        region["to_name"] = tags.video
        region["from_name"] = tags.query if region["type"] == "textarea" else tags.box
    return {"result": prediction["result"], "score": prediction.get("score", 0.0)}


def fetch(place: str, access: LabelStudioAccess, most_bytes: int) -> IO[bytes]:
    """A video of Label Studio as a temporary file.

    Raises:
        InputError: it lies elsewhere.
        ServiceError: 502 where Label Studio does not give it, 413 where it is too large.
    """
    address = urljoin(access.url.rstrip("/") + "/", place)
    if _origin(address) != _origin(access.url):
        raise InputError(f"videos are read from {access.url} alone, and this one lies elsewhere")

    # The caller closes it.
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with httpx.Client(timeout=60) as client:
            headers = {"Authorization": _authorization(client, access)}
            with client.stream("GET", address, headers=headers) as response:
                if response.status_code != 200:
                    raise ServiceError(
                        502, "label_studio", f"Label Studio answered {response.status_code} for a video"
                    )
                for piece in response.iter_bytes():
                    file.write(piece)
                    if file.tell() > most_bytes:
                        raise ServiceError(413, "too_large", "a video of Label Studio is too large")
    except httpx.HTTPError as problem:
        file.close()
        raise ServiceError(
            502, "label_studio", f"Label Studio at {access.url} does not answer ({type(problem).__name__})"
        ) from problem
    except BaseException:
        file.close()
        raise

    file.seek(0)
    return file


def _authorization(client: httpx.Client, access: LabelStudioAccess) -> str:
    """A legacy token is used as it is; a personal one is changed for an access token first."""
    if access.key.count(".") != 2:
        return f"Token {access.key}"
    response = client.post(
        urljoin(access.url.rstrip("/") + "/", "api/token/refresh"), json={"refresh": access.key}
    )
    if response.status_code != 200:
        raise ServiceError(502, "label_studio", "Label Studio does not take the key in LABEL_STUDIO_API_KEY")
    return f"Bearer {response.json()['access']}"


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _sentence(data: dict[str, Any]) -> list[str]:
    """The sentence or sentences of a task."""
    for name in SENTENCES:
        value = data.get(name)
        if isinstance(value, str) and value.strip():
            return [value]
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return value
    raise InputError(f"a task has no sentence; put it into one of its fields {', '.join(SENTENCES)}")
