"""A small provider that has objects and tells of their changes, for tests of the inbox."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe
from django.test import override_settings

from apps.payments import gateway
from apps.payments.objects import KINDS

SECRET, FORMER = "whsec_now", "whsec_before"
Json = dict[str, Any]


class There(stripe.HTTPClient):
    """Answers GET by what it has. `before_answer` is called with the path of every question."""

    name = "there"

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Json] = {"/v1/account": {"id": "acct_1", "object": "account"}}
        self.events: list[Json] = []
        self.asked: list[str] = []
        self.down = False
        self.before_answer: Callable[[str], None] = lambda _: None
        self._numbers = itertools.count(1)

    def put(self, kind: str, key: str, **fields: Any) -> Json:
        """Change an object, or make it; return it."""
        path = f"{KINDS[kind].path}/{key}"
        known = self.objects.get(path, {"id": key, "object": kind, "livemode": False})
        self.objects[path] = {**known, **fields}
        return self.objects[path]

    def tell(self, type_: str, subject: Json, *, at: datetime) -> Json:
        """Note that an object changed; return the event."""
        event = {
            "id": f"evt_{next(self._numbers):06}",
            "object": "event",
            "type": type_,
            "created": int(at.timestamp()),
            "livemode": False,
            "api_version": "2026-08-26.dahlia",
            "data": {"object": dict(subject)},
        }
        self.events.append(event)
        return event

    def change(self, kind: str, key: str, *, at: datetime, **fields: Any) -> Json:
        """Change an object and tell of it; return the event."""
        name = f"customer.{kind}" if kind == "subscription" else kind
        return self.tell(f"{name}.updated", self.put(kind, key, **fields), at=at)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        if self.down:
            error: Exception = stripe.APIConnectionError("down")  # type: ignore[no-untyped-call]
            raise error
        parts = urlsplit(url)
        self.asked.append(parts.path)
        if parts.path == "/v1/events":
            return json.dumps(self._listed(dict(parse_qsl(parts.query)))), 200, {}
        found = json.dumps(self.objects.get(parts.path))
        self.before_answer(parts.path)
        if found == "null":
            missing = {"code": "resource_missing", "type": "invalid_request_error"}
            return json.dumps({"error": {**missing, "message": "No such object"}}), 404, {}
        return found, 200, {}

    def _listed(self, asked: Mapping[str, str]) -> Json:
        first, last = int(asked["created[gte]"]), int(asked["created[lte]"])
        found = [one for one in self.events if first <= one["created"] <= last][::-1]
        if after := asked.get("starting_after"):
            found = found[[one["id"] for one in found].index(after) + 1 :]
        many = int(asked["limit"])
        return {"object": "list", "data": found[:many], "has_more": len(found) > many}

    def close(self) -> None:
        """Hold nothing open."""


@contextmanager
def provider() -> Iterator[There]:
    """A provider for the time being, with a webhook secret and one that was changed lately."""
    there = There()
    secrets = {"STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_WEBHOOK_SECRET_PREVIOUS": FORMER}
    with gateway.use(there), override_settings(**secrets):
        yield there


def signed(body: bytes, *, at: datetime, secret: str = SECRET) -> str:
    """Return the header that the provider sends with these bytes."""
    moment = str(int(at.timestamp()))
    signature = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"t={moment},v1={signature.hexdigest()}"
