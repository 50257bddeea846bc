"""What the caps are about: an organization, a feature with a hard limit, and what may be done."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from apps.core import rls
from apps.core.actor import operator
from apps.core.errors import DomainError
from apps.entitlements import services
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from tests.prove.ground import ask

Act = Callable[[], object]

ACTOR = operator("prove")
START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
LIMIT, CENTS = 30, 30_00
SHORT, LONG = timedelta(seconds=30), timedelta(minutes=30)
MINUTE = timedelta(minutes=1)
CATALOG = f"""\
currency: USD
applications: [{{slug: maps, name: Maps}}]
features:
  - {{key: exports, kind: limit, meter: exports}}
  - {{key: prints, kind: limit, meter: prints}}
meters:
  - {{key: exports, event_type: export, aggregation: sum, value: units}}
  - {{key: prints, event_type: print, aggregation: sum, value: units}}
plans:
  - {{code: limited, application: maps, name: Limited, interval: month, prices: [],
     entitlements: {{exports: {LIMIT}}}}}
  - code: priced
    application: maps
    name: Priced
    interval: month
    prices:
      - {{key: exports, type: metered, meter: exports, model: per_unit, unit_amount: "1.00"}}
      - {{key: prints, type: metered, meter: prints, model: per_unit, unit_amount: "1.00"}}
    entitlements: {{exports: null, prints: null}}
"""
_numbers = itertools.count(1)


def load() -> None:
    """Load the catalogue that the rounds are about."""
    with rls.ops_scope("prove: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="caps.yaml"), actor=ACTOR, at=START)


class Story:
    """A new organization that may use so much: of a feature, or for so much money.

    Where everybody `keeps` what was reserved, what was given too much is still there at the end.
    """

    def __init__(self, *, by_money: bool, keeps: bool = False) -> None:
        self.by_money, self.keeps = by_money, keeps
        self.features = ("exports", "prints") if by_money else ("exports",)
        slug = f"capped-{next(_numbers)}"
        with rls.ops_scope("prove: a customer"):
            row = tenants.create_organization(slug, name=slug, actor=ACTOR, at=START)
            self.organization = int(row.pk)
        with rls.tenant_scope(self.organization):
            plan = "priced" if by_money else "limited"
            subscriptions.subscribe(
                self.organization, plan=plan, start=START, actor=ACTOR, at=START
            )
            if by_money:
                amount = Decimal(CENTS).scaleb(-2)
                services.set_spend_cap(self.organization, amount=amount, actor=ACTOR, at=NOW)
        for feature in self.features:  # the first of all waits for more than its turn
            self._act(feature, 1, 0, "release", SHORT, START)

    def act(self, chance: random.Random, moment: int) -> Act:
        """Return what one process does at that moment: it reserves, and settles in some way."""
        at = NOW + moment * MINUTE
        feature, amount = chance.choice(self.features), chance.randint(1, 9)
        used, end = chance.randint(0, amount), chance.choice(("commit", "commit", "release", "no"))
        lasts = chance.choice((SHORT, LONG))
        if self.keeps:
            end, lasts = "no", LONG
        return lambda: self._act(feature, amount, used, end, lasts, at)

    def _act(
        self, feature: str, amount: int, used: int, end: str, lasts: timedelta, at: datetime
    ) -> None:
        with rls.tenant_scope(self.organization):
            held = services.reserve(
                self.organization, feature=feature, amount=Decimal(amount), expires_in=lasts,
                actor=ACTOR, at=at,
            )  # fmt: skip
        if end == "release":
            with rls.tenant_scope(self.organization):
                services.release(held.public_id, actor=ACTOR, at=at)
        if end == "commit":
            self._commit(held.public_id, amount, used, at)

    def _commit(self, held: str, amount: int, used: int, at: datetime) -> None:
        """Ask for more than was set aside, which is refused; then commit, twice."""
        for wanted in (amount + 5, used, used):
            try:
                with rls.tenant_scope(self.organization):
                    services.commit(held, amount=Decimal(wanted), actor=ACTOR, at=at)
            except DomainError:
                continue

    def wrong(self) -> Iterator[str]:
        """Yield what is wrong in the database, as superuser."""
        mine = {"organization": self.organization}
        for said, query in WRONG.items():
            if found := ask(query.format(limit=LIMIT, **mine)):
                yield f"{said}: {found[0]}"

    def not_free(self) -> Iterator[str]:
        """Reserve all that should be free once everything has run out; yield it when it is not."""
        at = NOW + timedelta(hours=1)
        [(used,)] = ask(USED.format(organization=self.organization))
        left = Decimal(LIMIT) - used
        if left <= 0:
            return
        try:
            with rls.tenant_scope(self.organization):
                held = services.reserve(
                    self.organization, feature="exports", amount=left, actor=ACTOR, at=at
                )
                services.release(held.public_id, actor=ACTOR, at=at)
        except DomainError as refusal:
            yield f"{left} should be free and is not: {refusal}"


def tally() -> str:
    """Say what became of the reservations."""
    rows = ask("SELECT status, count(*) FROM entitlements_reservation GROUP BY 1 ORDER BY 1")
    return ", ".join(f"{count} {status}" for status, count in rows)


USED = """SELECT coalesce(sum((data ->> 'units')::numeric), 0) FROM usage_event
    WHERE organization_id = {organization}"""
WRONG = {
    "more is used and set aside than there is": """
        SELECT used, held FROM
          (SELECT coalesce(sum((data ->> 'units')::numeric), 0) AS used FROM usage_event
           WHERE organization_id = {organization}) e,
          (SELECT coalesce(sum(amount), 0) AS held FROM entitlements_reservation
           WHERE organization_id = {organization} AND status = 'open'
             AND expires_at > TIMESTAMPTZ '2026-03-02 00:01:00Z') r
        WHERE used + held > {limit}""",
    "more was used than ever may be": """
        SELECT sum((data ->> 'units')::numeric) FROM usage_event
        WHERE organization_id = {organization}
        HAVING sum((data ->> 'units')::numeric) > {limit}""",
    "the events are not what was committed": """
        SELECT r.public_id, r.status, r.committed, e.data FROM entitlements_reservation r
        FULL JOIN usage_event e ON e.organization_id = r.organization_id AND e.key = r.public_id
        WHERE coalesce(r.organization_id, e.organization_id) = {organization}
          AND coalesce(r.committed, 0) <> coalesce((e.data ->> 'units')::numeric, 0)""",
    "more was committed than was set aside": """
        SELECT public_id, amount, committed FROM entitlements_reservation
        WHERE organization_id = {organization} AND committed > amount""",
}
