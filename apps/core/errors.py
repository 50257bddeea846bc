"""Refusals: sentences that every door renders in its own way."""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """A rule of the business said no. Nothing was changed.

    `code` is stable and machine-readable, `status` the HTTP status that fits, `message` a sentence
    that says what to do, `param` the input at fault if there is one, `extra` facts for clients.
    `remedy` says what whoever runs the platform can do besides: only commands show it.
    """

    code = "refused"
    status = 422
    remedy = ""

    def __init__(self, message: str, *, param: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.extra = extra


class Invalid(DomainError):
    """The input is malformed."""

    code = "invalid"
    status = 400


class Forbidden(DomainError):
    """The actor may not do this."""

    code = "forbidden"
    status = 403


class NotFound(DomainError):
    """There is no such thing, or it belongs to somebody else: the answer is the same."""

    code = "not_found"
    status = 404


class Conflict(DomainError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    status = 409
