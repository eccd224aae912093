"""What every request passes before its route: size and pace of the body, the token, where it comes from."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge_stg.serve.metrics import Metrics
from bridge_stg.serve.problems import error_response
from bridge_stg.serve.settings import ServiceSettings

# Form fields and the lines between parts, beside the file.
_FORM_BYTES = 1024 * 1024
# Bytes per second of a body below which its client is not waited for: a byte now and then keeps no line open.
_SLOWEST_PACE = 4096
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
# Open to everybody: a page without data, and what a container's health check asks.
_PUBLIC = ("/health", "/openapi.json", "/docs")


class Guards:
    """One middleware with the checks in order; it also counts what was answered."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "page" if message["status"] < 400 else "other")
                self.metrics.requests.labels(scope["method"], route, str(message["status"])).inc()
                self.metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope["path"], headers)
        if refused is not None:
            status, code, message = refused
            extra = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return await error_response(status, code, message, extra)(scope, receive, counted)
        return await self.app(scope, self._measured(receive, headers), counted)

    def _refused(self, path: str, headers: dict[str, str]) -> tuple[int, str, str] | None:
        # A site that a person visits must not reach a service on that person's machine.
        host = headers.get("host", "")
        if self.settings.local_only and (urlsplit(f"//{host}").hostname or "") not in _LOCAL_HOSTS:
            return 403, "forbidden", "this service answers to localhost only; start it with --host to open it"
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc != host:
            return 403, "forbidden", "requests from another site's page are refused"

        guarded = path.startswith("/v1/") or path in ("/metrics", "/predict", "/setup", "/webhook")
        if self.settings.token is not None and guarded and path not in _PUBLIC:
            given = _token(headers.get("authorization", ""))
            if not hmac.compare_digest(given.encode(), self.settings.token.encode()):
                return 401, "unauthorized", "send the header Authorization: Bearer TOKEN"

        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most_bytes:
            return 413, "too_large", self._too_large
        return None

    @property
    def _most_bytes(self) -> int:
        return self.settings.limits.upload_bytes + _FORM_BYTES

    @property
    def _too_large(self) -> str:
        return f"an upload has at most {self.settings.limits.upload_bytes // (1024 * 1024)} MB"

    def _measured(self, receive: Receive, headers: dict[str, str]) -> Receive:
        """``receive`` that ends a body that is too large, or that comes too slowly."""
        seen, waited = 0, 0.0
        patience = self.settings.limits.read_timeout
        complete = "content-length" not in headers and "transfer-encoding" not in headers

        async def measured() -> Message:
            nonlocal seen, waited, complete
            if complete:  # what comes now is the word that the client has left
                return await receive()
            # Only the time that the client lets us wait counts, not that of our own work.
            asked = time.perf_counter()
            left = patience + seen / _SLOWEST_PACE - waited
            try:
                message = await asyncio.wait_for(receive(), max(min(patience, left), 0))
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly") from None
            waited += time.perf_counter() - asked
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > self._most_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return measured


def _token(header: str) -> str:
    """The token of an Authorization header: a bearer's, or the password of the basic scheme."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
