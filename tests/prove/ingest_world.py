"""Who sends usage, and every event that they will ever send, known by its number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from apps.core import rls
from apps.core.actor import operator
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.tenants import services as tenants

ACTOR = operator("prove")
TYPE = "call"
ORGANIZATIONS = 2
CATALOG = """\
currency: USD
applications: [{slug: wire, name: Wire}]
meters:
  - {key: calls, event_type: call, aggregation: count}
  - {key: tokens, event_type: call, aggregation: sum, value: tokens}
  - {key: largest, event_type: call, aggregation: max, value: tokens}
  - {key: callers, event_type: call, aggregation: unique_count, value: caller}
plans:
  - {code: wire, application: wire, name: Wire, interval: month, prices: [
      {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.01"}]}
"""
HOURS_OF_USE = 30


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as its client sends it. The ids of different clients are the same."""

    key: str
    at: datetime
    tokens: int
    caller: str

    @property
    def data(self) -> dict[str, object]:
        """What it tells the meters."""
        return {"tokens": self.tokens, "caller": self.caller}


@dataclass(frozen=True)
class Stream:
    """A client's events: its number n is always the same, so that anybody can say what it was."""

    client: int
    organization_id: int
    secret: str
    since: datetime

    @cached_property
    def source(self) -> str:
        """Where its events come from."""
        return f"client-{self.client}"

    def event(self, number: int) -> Sent:
        """Return an event of this stream; the times of neighbours are hours apart."""
        seconds = (number * 7919 + self.client * 101) % (HOURS_OF_USE * 3600)
        at = self.since + timedelta(seconds=seconds)
        return Sent(f"call-{number}", at, number * 31 % 1009, f"caller-{number % 97}")


def build(clients: int, at: datetime) -> list[Stream]:
    """Load the catalogue and make organizations; return a stream for each client.

    The clients of one organization share its key. Usage begins two days before `at`.
    """
    with rls.ops_scope("prove: customers"):
        plans.load_catalog(parse_catalog(CATALOG, source="ingest.yaml"), actor=ACTOR, at=at)
        customers = [_customer(number, at) for number in range(ORGANIZATIONS)]
    since = at.replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    return [
        Stream(number, *customers[number % ORGANIZATIONS], since=since) for number in range(clients)
    ]


def _customer(number: int, at: datetime) -> tuple[int, str]:
    slug = f"sender-{number}"
    row = tenants.create_organization(slug, name=slug, actor=ACTOR, at=at)
    made = tenants.create_api_key(row.pk, name="prove", scopes=["usage:write"], actor=ACTOR, at=at)
    return int(row.pk), made.secret
