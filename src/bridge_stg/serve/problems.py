"""Every error of the service is ``{"error": {"code", "message"}}``, whoever raises it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bridge_stg.errors import InputError, one_line

# The code of what the framework itself refuses.
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media",
    422: "invalid_request",
    429: "busy",
    500: "internal",
    503: "stopping",
}


class ServiceError(Exception):
    """An answer that is an error: HTTP ``status``, a stable ``code`` and one line for a person."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def not_found(what: str) -> ServiceError:
    """No such video, job or result; the identifier itself is not repeated."""
    return ServiceError(404, "not_found", f"no such {what}; it may have been deleted")


def error_response(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """One error as JSON, on one line."""
    content = {"error": {"code": code, "message": one_line(message, 1000)}}
    return JSONResponse(content, status_code=status, headers=headers)


def install_handlers(app: FastAPI) -> None:
    """Let every kind of exception leave the service in the one form."""

    async def ours(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, ServiceError)
        return error_response(problem.status, problem.code, problem.message, problem.headers)

    async def framework(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, HTTPException)
        code = _CODES.get(problem.status_code, "error")
        headers = dict(problem.headers) if problem.headers else None
        return error_response(problem.status_code, code, str(problem.detail), headers)

    async def invalid(_: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, RequestValidationError)
        return error_response(422, "invalid_request", _first_complaint(problem.errors()))

    async def bad_input(_: Request, problem: Exception) -> JSONResponse:
        return error_response(422, "bad_input", str(problem))

    async def unexpected(_: Request, problem: Exception) -> JSONResponse:
        # What went wrong inside is for the log, which has the traceback; it may name files of this machine.
        return error_response(
            500, "internal", f"internal error ({type(problem).__name__}); see the server's log"
        )

    app.add_exception_handler(ServiceError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(InputError, bad_input)
    app.add_exception_handler(Exception, unexpected)


def _first_complaint(errors: Any) -> str:
    """The first thing that is wrong with a request, and where."""
    first = errors[0]
    if first["type"] == "json_invalid":
        # Its place is a number of letters, and its message says nothing of either.
        reason = first.get("ctx", {}).get("error", "broken")
        return f"the body is not JSON: {reason} after {first['loc'][-1]} characters"
    # The first part says where in the request: a body, a query, a path. A field can be called the same.
    kind, *names = first["loc"]
    place = ".".join(map(str, names)) or f"the {kind}"
    return f"{place}: {first['msg']}"
