"""A payment provider that answers as it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe

from apps.payments import gateway


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    params: Mapping[str, str]
    key: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer to give: its body, its status, its headers."""

    body: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, **error: str) -> Said:
    """An error of the provider's."""
    return Said({"error": {"message": "No.", **error}}, status)


class Script(stripe.HTTPClient):
    """Gives the answers in their order; an exception is raised instead."""

    name = "script"

    def __init__(self, *answers: Said | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[Asked] = []

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        said = dict(parse_qsl(post_data or parts.query))
        key = (headers or {}).get("Idempotency-Key", "")
        self.asked.append(Asked(method, parts.path, said, key))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer.body), answer.status, answer.headers

    def close(self) -> None:
        """Hold nothing open."""


@contextmanager
def provider(*answers: Said | Exception) -> Iterator[Script]:
    """Let the script answer; afterwards every answer must have been asked for."""
    script = Script(*answers)
    with gateway.use(script):
        yield script
    assert script.answers == []


def lost() -> Exception:
    """What a broken connection is to whoever asked."""
    error: Exception = stripe.APIConnectionError("Connection reset by peer")  # type: ignore[no-untyped-call]
    return error
