"""Errors as a client gets them: problems (RFC 9457), one line of what is wrong and one of what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from pydantic import BaseModel, Field

from being.errors import BeingError


class Invalid(Protocol):
    """What pydantic and FastAPI raise for values that do not fit their schema."""

    def errors(self) -> Sequence[Any]: ...


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
            title=phrase_of(status),
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
    def invalid(cls, error: Invalid) -> Problem:
        """Values that do not fit their schema, every one named."""
        lines = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        return cls(422, lines[0] if lines else "the request does not fit its schema", errors=lines)

    def body(self) -> dict[str, Any]:
        return self.details.model_dump(exclude_none=True)


def phrase_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
