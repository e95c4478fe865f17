"""Problems as HTTP answers: the app's error handlers, and what OpenAPI says of them."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from being.errors import BeingError
from being.server.problems import Problem, ProblemDetails, phrase_of

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


def response(problem: Problem) -> JSONResponse:
    """The answer that says the problem."""
    return JSONResponse(problem.body(), problem.details.status, problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem; an unforeseen one is logged and tells nothing of our insides."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return response(error)

    @app.exception_handler(BeingError)
    async def _ours(request: Request, error: BeingError) -> JSONResponse:
        return response(Problem.of(error, 422))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(Problem.invalid(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return response(Problem(error.status_code, str(error.detail), headers=error.headers))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return response(Problem(500, "the server failed; its log says why"))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for OpenAPI: each of these statuses is answered with a problem."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    answer = {"model": ProblemDetails, "content": content}
    return {status: {**answer, "description": phrase_of(status)} for status in statuses}
