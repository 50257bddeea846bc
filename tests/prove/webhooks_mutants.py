"""The inbox with a guard taken away; each must leave something stale, doubled or lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.payments.services import inbox
from tests.prove.mutation import mutate, mutate_text


@dataclass(frozen=True, slots=True)
class Weakened:
    """What the inbox does without, in its code and in the database."""

    name: str
    change: Callable[[], None]
    spoils: tuple[str, ...] = ()


def _lock_after_fetch() -> None:
    """Nobody is kept from reading, and whoever comes to write waits for his turn only then."""
    mutate_text(inbox, "DUE", ("l.expires_at > %(at)s", "l.expires_at > %(at)s AND false"))
    mutate_text(inbox, "TAKE", ("WHERE l.expires_at <= %(at)s ", ""))
    mutate(
        inbox,
        "_still_ours",
        ("return rows.filter(token=leased.token).exists()", "return bool(list(rows)) or True"),
    )


def _writes_without_the_lease() -> None:
    mutate(
        inbox,
        "_still_ours",
        ("return rows.filter(token=leased.token).exists()", "return True"),
    )


def _no_dedupe() -> None:
    mutate_text(inbox, "INSERT", ("ON CONFLICT (event_id) DO NOTHING ", ""))


def _no_backfill() -> None:
    mutate(inbox, "_store_page", ("return _store(", "return 0 and _store("))


def _done_with_what_came_later() -> None:
    """Every event of the object is closed, also one that came after the object was read."""
    mutate(inbox, "_write", ("pk__in=leased.event_ids", "object_id=leased.object_id"))


NO_UNIQUE = (
    "ALTER TABLE payments_providerevent DROP CONSTRAINT payments_providerevent_event_id_key",
)
MUTANTS = (
    Weakened("lock after fetch", _lock_after_fetch),
    Weakened("whoever lost the lease writes", _writes_without_the_lease),
    Weakened("no dedupe", _no_dedupe, NO_UNIQUE),
    Weakened("no backfill", _no_backfill),
    Weakened("what came later counts as handled", _done_with_what_came_later),
)
