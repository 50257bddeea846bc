"""What becomes of errors that nobody meant to raise."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.api.errors import problem_details, refusal_of
from tests.api.client import Api, validate
from tests.worlds import World


def answer(error: Exception) -> Any:
    request = Request(APIRequestFactory().get("/api/v1/invoices"))
    return problem_details(error, {"request": request})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (IntegrityError("duplicate key (secret)"), 409, "conflict"),
        (DataError("out of range (secret)"), 400, "invalid"),
        (OperationalError("canceling statement (secret)"), 503, "unavailable"),
        (RequestDataTooBig("secret"), 413, "body_too_large"),
        (SuspiciousOperation("secret"), 400, "malformed_body"),
        (Http404("secret"), 404, "not_found"),
        (RuntimeError("secret"), 500, "internal_error"),
        (RecursionError("secret"), 500, "internal_error"),
    ],
)
def test_every_error_has_its_refusal_and_tells_no_secrets(
    error: Exception, status: int, code: str
) -> None:
    reply = answer(error)
    assert (reply.status_code, reply.data["code"]) == (status, code)
    assert reply.content_type == "application/problem+json"
    assert "secret" not in json.dumps(reply.data)
    validate(reply.data, "#/components/schemas/Problem")


def test_an_unforeseen_error_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="apps.api.errors"):
        answer(RuntimeError("the cause"))
    [record] = caplog.records
    assert record.exc_info is not None
    assert "the cause" in str(record.exc_info[1])


def test_a_busy_database_says_when_to_come_back() -> None:
    assert answer(OperationalError())["Retry-After"] == "1"


def test_half_a_surrogate_pair_in_a_message_can_be_sent() -> None:
    refusal = refusal_of(NotFound())
    refusal.message = "\ud800"
    assert answer(refusal).data["detail"] == "\\ud800"


def test_answers_are_not_cached(api: Api, world: World) -> None:
    for path in ("me", "invoices", f"invoices/{world.second_invoice}/pdf", "nowhere"):
        assert api.get(path)["Cache-Control"] == "no-store"
