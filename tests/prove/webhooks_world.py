"""A provider whose objects change all the time, and what the system believes of them.

It stands in a schema of its own, read and written as superuser: another system shares neither our
transactions nor our scopes. Each object is a product whose metadata counts its changes and says,
from the third on, that it is paid; being paid is to have one effect.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
import stripe
from django.conf import settings
from django.db import connection

from apps.payments import gateway, objects
from apps.payments.objects import Json
from tests.prove import ground

SECRET = "whsec_prove"
CHANGES = 5
PAID_FROM = 3
PATH = "/v1/products/"
# How long some answers take: longer than a lease lasts here, or long enough for the next change.
STALLS = (1.4, 0.5)
LAST_BUT_ONE = CHANGES - 1

SCHEMA = """
CREATE SCHEMA there;
CREATE TABLE there.object (id text PRIMARY KEY, version int NOT NULL);
CREATE TABLE there.event (id text PRIMARY KEY, object text NOT NULL, version int NOT NULL,
  created bigint NOT NULL);
CREATE TABLE there.slowly (id text NOT NULL);
CREATE TABLE believed (id text PRIMARY KEY, version int NOT NULL, paid boolean NOT NULL);
CREATE TABLE effect (id text NOT NULL);
GRANT SELECT, INSERT, UPDATE ON believed, effect TO billing_ops"""


def found(key: str, version: int) -> dict[str, Any]:
    """Return the object at that version, as the provider shows it."""
    paid = "yes" if version >= PAID_FROM else "no"
    return {
        "id": key,
        "object": "product",
        "livemode": False,
        "active": True,
        "name": key,
        "type": "service",
        "metadata": {"version": str(version), "paid": paid},
    }


class There(stripe.HTTPClient):
    """The way to the provider: an answer is as old as it took to arrive."""

    name = "there"

    def __init__(self, seed: int, slow: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self._chance, self._slow = random.Random(seed), dict(slow or {})
        self._open: psycopg.Connection[tuple[Any, ...]] | None = None

    @property
    def database(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return this process's own connection."""
        if self._open is None:
            self._open = ground.superuser()
        return self._open

    def change(self, key: str, version: int) -> dict[str, Any]:
        """Let an object change; return the event that says so."""
        created = int(time.time())
        with self.database.transaction():
            self.database.execute(
                "INSERT INTO there.object VALUES (%s, %s)"
                " ON CONFLICT (id) DO UPDATE SET version = excluded.version",
                (key, version),
            )
            self.database.execute(
                "INSERT INTO there.event VALUES (%s, %s, %s, %s)",
                (f"evt_{key}_{version}", key, version, created),
            )
        return event(key, version, created)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Answer what is asked, a while after it was looked up."""
        parts = urlsplit(url)
        answer = self._answer(parts.path, dict(parse_qsl(parts.query)))
        time.sleep(self._way_back(answer))
        return json.dumps(answer), 200, {}

    def _way_back(self, answer: Mapping[str, Any]) -> float:
        """Return how many seconds an answer travels: those of slow objects once for ever."""
        if answer.get("metadata", {}).get("version") != str(LAST_BUT_ONE):
            return self._chance.uniform(0, 0.012)
        seconds = self._slow.pop(answer["id"], 0.0)
        if seconds:
            self.database.execute("INSERT INTO there.slowly VALUES (%s)", (answer["id"],))
        return seconds

    def is_read(self, key: str) -> bool:
        """Tell whether somebody is reading a slow object, or has."""
        row = self.database.execute("SELECT FROM there.slowly WHERE id = %s LIMIT 1", (key,))
        return row.fetchone() is not None

    def _answer(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        if path == "/v1/events":
            return self._events(asked)
        if path == "/v1/account":
            return {"id": "acct_1", "object": "account", "livemode": False}
        key = path.removeprefix(PATH)
        row = self.database.execute("SELECT version FROM there.object WHERE id = %s", (key,))
        ((version,),) = row.fetchall()
        return found(key, version)

    def _events(self, asked: Mapping[str, str]) -> dict[str, Any]:
        many = int(asked["limit"])
        rows = self.database.execute(
            "SELECT object, version, created FROM there.event WHERE created BETWEEN %s AND %s"
            " AND (%s = '' OR id < %s) ORDER BY id DESC LIMIT %s",
            (
                int(asked["created[gte]"]),
                int(asked["created[lte]"]),
                after := asked.get("starting_after", ""),
                after,
                many + 1,
            ),
        ).fetchall()
        told = [event(*row) for row in rows]
        return {"object": "list", "data": told[:many], "has_more": len(told) > many}

    def close(self) -> None:
        """Hold on: the connection ends with the process."""


def event(key: str, version: int, created: int) -> dict[str, Any]:
    """Return the event of a change."""
    return {
        "id": f"evt_{key}_{version}",
        "object": "event",
        "type": "product.updated",
        "created": created,
        "livemode": False,
        "data": {"object": found(key, version)},
    }


def signed(body: bytes, at: datetime) -> str:
    """Return the header that the provider sends with these bytes."""
    moment = str(int(at.timestamp()))
    signature = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"t={moment},v1={signature.hexdigest()}"


def follow(product: Json, *, at: datetime) -> None:
    """Believe what the object says; being paid has its effect when it was not so before."""
    said, key = product["metadata"], product["id"]
    paid = said["paid"] == "yes"
    with connection.cursor() as cursor:
        cursor.execute("SELECT paid FROM believed WHERE id = %s", [key])
        before = cursor.fetchone()
        if paid and not (before and before[0]):
            cursor.execute("INSERT INTO effect VALUES (%s)", [key])
        cursor.execute(
            "INSERT INTO believed VALUES (%s, %s, %s) ON CONFLICT (id)"
            " DO UPDATE SET version = excluded.version, paid = excluded.paid",
            [key, int(said["version"]), paid],
        )


@contextmanager
def speaking(seed: int, slow: Mapping[str, float] | None = None) -> Iterator[There]:
    """Have this process speak with the provider, and follow its objects."""
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.STRIPE_REQUESTS_PER_SECOND = 0
    if follow not in objects.followers("product"):
        objects.follows("product")(follow)
    there = There(seed, slow)
    with gateway.use(there):
        yield there


def wrong() -> Iterator[str]:
    """Yield what the system believes that is not so, and what happened twice or not at all."""
    yield from _told(
        "is believed at version %s and is at %s",
        """SELECT o.id, b.version, o.version FROM there.object o LEFT JOIN believed b USING (id)
        WHERE b.version IS DISTINCT FROM o.version""",
    )
    yield from _told(
        "is mirrored at version %s and is at %s",
        """SELECT o.id, m.stripe_data->'metadata'->>'version', o.version
        FROM there.object o LEFT JOIN djstripe_product m USING (id)
        WHERE (m.stripe_data->'metadata'->>'version')::int IS DISTINCT FROM o.version""",
    )
    yield from _told(
        "took effect %s times",
        """SELECT o.id, count(e.id) FROM there.object o LEFT JOIN effect e USING (id)
        GROUP BY o.id, o.version HAVING count(e.id) <> (o.version >= 3)::int""",
    )
    yield from _told(
        "is stored %s times",
        """SELECT t.id, count(p.id) FROM there.event t LEFT JOIN payments_providerevent p
        ON p.event_id = t.id GROUP BY t.id HAVING count(p.id) <> 1""",
    )
    yield from _told(
        "is %s: %s",
        "SELECT event_id, state, error FROM payments_providerevent"
        " WHERE state <> 'done' OR error <> ''",
    )
    yield from _told("is still somebody's", "SELECT object_id FROM payments_objectlease")


def _told(words: str, query: str) -> Iterator[str]:
    for name, *values in ground.ask(query):
        yield f"{name} {words % tuple(values)}"
