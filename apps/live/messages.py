"""What a listener gets: `{type, id, at, data}`, in JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.outbox import Told
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.invoicing.gauges import Gauge
from apps.live.cursors import Cursor
from apps.live.stories import INVOICES, STORIES
from apps.subscriptions.selectors import SubscriptionFacts

CONNECTED, PING, RESYNC, USAGE_UPDATED = "connected", "ping", "resync", "usage.updated"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to know; `cursor` is where its listener stands once it knows."""

    type: str
    cursor: Cursor
    at: datetime
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """What the listener sends to go on from here."""
        return str(self.cursor)

    def json(self) -> str:
        """Return it as the listener gets it."""
        said = {"type": self.type, "id": self.id, "at": iso(self.at), "data": self.content}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Figure:
    """What one meter of one subscription counted in the period under way."""

    facts: SubscriptionFacts
    start: datetime
    end: datetime
    gauge: Gauge

    def told(self, *, with_money: bool) -> dict[str, Any]:
        """Return it as JSON values: exact quantities as text, the amount in minor units."""
        gauge = self.gauge
        found = {
            "subscription_id": self.facts.public_id,
            "item": gauge.key,
            "meter": gauge.meter,
            "name": gauge.name,
            "unit": gauge.unit,
            "period": {"start": iso(self.start), "end": iso(self.end)},
            "quantity": plain(gauge.quantity),
            "included": plain(gauge.included),
            "event_count": gauge.event_count,
        }
        if not with_money:
            return found
        return found | {"amount": gauge.amount, "currency": self.facts.agreement.currency}


Usage = tuple[dict[str, Any], ...]


def usage_of(figures: Iterable[Figure], capabilities: Collection[str]) -> Usage:
    """Return the figures as somebody with these capabilities may see them."""
    with_money = may(capabilities, INVOICES)
    return tuple(figure.told(with_money=with_money) for figure in figures)


def stories(
    facts: Iterable[Told], capabilities: Collection[str]
) -> Iterator[tuple[Told, str, Any]]:
    """Yield the facts that somebody with these capabilities may hear, each with type and data."""
    for fact in facts:
        story = STORIES[fact.name]
        if may(capabilities, story.audience):
            yield fact, story.type, story.tell(fact.payload)


def may(capabilities: Collection[str], audience: Collection[str]) -> bool:
    """Tell whether these capabilities, `*` being all, have one of the audience's."""
    return "*" in capabilities or any(one in capabilities for one in audience)
