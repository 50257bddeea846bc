"""What the sandbox refuses, in the shape in which Stripe refuses it."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An answer other than 200. What the request changed is undone unless `keeps` says otherwise.

    `keeps` is for declined cards: the attempt happened, and its charge and events stay.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        keeps: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps = keeps
        error = {"type": kind, "message": message, "code": code, "param": param, **more}
        self.error = {name: value for name, value in error.items() if value is not None}


class ConnectionLost(Exception):
    """A scripted fault: the caller hears nothing, whether or not something was done."""


class LiveKey(Exception):
    """Somebody hands a live key to the stand-in."""


def missing(kind: str, identity: object, *, param: str | None = None) -> Refusal:
    """Refuse an id that nothing has: 404 in the path, 400 where a parameter named it."""
    words = kind.rpartition(".")[2].replace("_", " ")
    message = f"No such {words}: '{identity}'"
    status = 404 if param is None else 400
    return Refusal(status, message, code="resource_missing", param=param or "id")


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Refusal:
    """Refuse parameters that no schema can judge."""
    return Refusal(400, message, param=param, code=code)
