"""Errors as an HTTP client gets them: JSON problems (RFC 9457), one line of what is wrong and one of what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from being.errors import BeingError

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


class ProblemDetails(BaseModel):
    """The body of every error answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    remedy: str | None = None
    errors: list[str] | None = None
    retry_after: int | None = Field(default=None, description="Seconds; also in the header Retry-After")


class Problem(Exception):
    """Ends a request with a problem.

    Parameters
    ----------
    status : int
        HTTP status.
    detail : str
        One line: the thing, what is wrong with it.
    remedy : str
        One line: what the client can do ("" for nothing).
    retry_after : int, optional
        Seconds after which trying again makes sense.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        *,
        retry_after: int | None = None,
        errors: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.details = ProblemDetails(
            title=_phrase(status),
            status=status,
            detail=detail,
            remedy=remedy or None,
            errors=errors,
            retry_after=retry_after,
        )
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    @classmethod
    def of(cls, error: BeingError, status: int) -> Problem:
        """One of the library's errors under the status that fits where it happened."""
        return cls(status, error.problem, error.remedy)

    @classmethod
    def invalid(cls, error: RequestValidationError | ValidationError) -> Problem:
        """Values that do not fit their schema, every one named."""
        lines = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        return cls(422, lines[0] if lines else "the request does not fit its schema", errors=lines)

    def body(self) -> dict[str, Any]:
        return self.details.model_dump(exclude_none=True)

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.details.status, self.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem; an unforeseen one is logged and tells nothing of our insides."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(BeingError)
    async def _ours(request: Request, error: BeingError) -> JSONResponse:
        return Problem.of(error, 422).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return Problem.invalid(error).response()

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, str(error.detail), headers=error.headers).response()

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return Problem(500, "the server failed; its log says why").response()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for OpenAPI: each of these statuses is answered with a problem."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    answer = {"model": ProblemDetails, "content": content}
    return {status: {**answer, "description": _phrase(status)} for status in statuses}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
