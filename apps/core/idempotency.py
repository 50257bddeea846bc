"""The same key and body get the same answer; another body under the same key is refused.

The answer is stored in the transaction of the change itself, so a crash leaves both or neither.
Wording and statuses follow the IETF draft "The Idempotency-Key HTTP Header Field" (-07).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from apps.core import clock
from apps.core.errors import Conflict, DomainError
from apps.core.models import IdempotencyKey

KEEP = timedelta(days=30)


class KeyReused(DomainError):
    """The key came before with another body."""

    code = "idempotency_key_reused"
    status = 422


class InFlight(Conflict):
    """The first request with this key is still being answered."""

    code = "idempotency_in_flight"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered: HTTP status, JSON body, and whether it is the stored one."""

    status: int
    body: Any
    replayed: bool = False


def once(
    key: str,
    *,
    organization_id: int | None,
    owner: str,
    route: str,
    body: bytes,
    act: Callable[[], Answer],
) -> Answer:
    """Run `act` unless this key was answered; inside the caller's transaction.

    Raises KeyReused for another body and InFlight while the first request runs. Only successes
    are stored: a refusal changed nothing, so the same request may be tried again.
    """
    if not _lock(f"{organization_id}|{owner}|{route}|{key}"):
        raise InFlight("The first request with this Idempotency-Key is still running; try again.")
    fingerprint = hashlib.sha256(body).hexdigest()
    found = IdempotencyKey.objects.filter(
        organization_id=organization_id, owner=owner, route=route, key=key
    ).first()
    if found is not None:
        if found.fingerprint != fingerprint:
            raise KeyReused("This Idempotency-Key was used with another body; use a new key.")
        return Answer(found.status, found.body, replayed=True)
    answer = act()
    IdempotencyKey.objects.create(
        organization_id=organization_id,
        owner=owner,
        route=route,
        key=key,
        fingerprint=fingerprint,
        status=answer.status,
        body=answer.body,
    )
    return answer


def forget_old() -> int:
    """Delete keys older than 30 days; return how many."""
    return IdempotencyKey.objects.filter(created_at__lt=clock.now() - KEEP).delete()[0]


def _lock(text: str) -> bool:
    """Take a lock that ends with the transaction; False when another one holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [text])
        return bool(cursor.fetchone()[0])
