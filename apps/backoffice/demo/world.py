"""The story of the demo world, told through the services, each act at its own time.

The first call tells it, counting back from that day, all or nothing. Later calls add the usage of
the days that have passed since, which nobody has been billed for, and change nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from apps.backoffice.demo import seating, showcase, watching
from apps.backoffice.demo import usage as story
from apps.backoffice.demo.people import LOGINS, PASSWORD
from apps.backoffice.demo.showcase import Customer
from apps.core import outbox, rls
from apps.core.actor import Actor
from apps.engine.calendar import zone
from apps.engine.money import Money
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.licensing import services as licensing
from apps.payments import services as payments
from apps.plans import services as plans
from apps.plans.catalog import read_catalog, shipped
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import Due, SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User
from apps.usage import selectors as usage_selectors
from apps.usage import services as usage
from apps.usage.checking import NewEvent, Unread

MARK = {"demo": "true"}
BATCH = 2000
DAYS_INTO_THE_PERIOD = 19  # invoices fall due after 14 days: the last one is overdue
PILOT_START = datetime(2023, 11, 1, tzinfo=UTC)
PLANTS = ("osaka-1", "tokyo-1")  # they report their devices, too
PILOT_END = datetime(2023, 12, 1, tzinfo=UTC)
PATIENCE = 20.0  # seconds to wait for the transactions of others


CUSTOMERS: tuple[Customer, ...] = (
    Customer(
        "acme", "Acme Corporation", "UTC", "US", "en", "sales", "500 Main Street\nSpringfield, IL"
    ),
    Customer(
        "globex", "Globex GmbH", "Europe/Berlin", "DE", "de", "hs", "Hauptstr. 5\n10115 Berlin"
    ),
    Customer(
        "initech", "Initech KK", "Asia/Tokyo", "JP", "en", "ret", "1-2-3 Marunouchi\nTokyo 100-0005"
    ),
    *showcase.CUSTOMERS,
)


@dataclass(slots=True)
class Outcome:
    """What a call did: things made by kind, and slugs left alone because they are no demo's."""

    made: dict[str, int] = field(default_factory=dict)
    left_alone: list[str] = field(default_factory=list)

    def count(self, what: str, number: int) -> None:
        """Add to the count of a kind."""
        if number:
            self.made[what] = self.made.get(what, 0) + number


def build(*, actor: Actor, at: datetime) -> Outcome:
    """Tell the story, or bring its usage up to the last midnight (UTC).

    Opens its own scopes. Organizations of the same slug that are not the demo's stay as they are.
    """
    teller = _Teller(actor, at.astimezone(UTC))
    with rls.ops_scope("demo: build"):
        for name in shipped():
            plans.load_catalog(read_catalog(name), actor=actor, at=at)
        for own in (showcase.CATALOG, watching.CATALOG):
            plans.load_catalog(read_catalog(str(own)), actor=actor, at=at)
        showcase.issuers(teller, at)
        new = teller.organizations()
        teller.tell(new)
        teller.go_on(new)
    _roll_up(at)
    # Nobody wants mails about the past: it is delivered before people and addresses are known.
    if "monarch" in new:
        made = invoicing.bill_thresholds(actor=actor, at=teller.at)
        teller.outcome.count("invoices", len(made))
    if new:
        watching.look(new, midnight=teller.midnight, actor=actor, at=teller.at)
        outbox.deliver_due()
    with rls.ops_scope("demo: people"):
        teller.people()
        teller.addresses(new)
        teller.outcome.count("seats", seating.seat(new, actor=actor, at=teller.at))
    return teller.outcome


def _roll_up(at: datetime) -> None:
    """Roll up what was told: what is unusual is judged by it. Others may hold some of it back."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with rls.ops_scope("demo: roll up"):
            usage.roll_up(at)
            if usage_selectors.is_rolled_up():
                return
        time.sleep(0.05)


@dataclass(slots=True)
class _Teller:
    actor: Actor
    at: datetime
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def midnight(self) -> datetime:
        return self.at.replace(hour=0, minute=0, second=0, microsecond=0)

    def organizations(self) -> dict[str, Organization]:
        """Create those that are missing and return them by slug."""
        made = {}
        for customer in CUSTOMERS:
            found = tenant_selectors.find_organization(customer.slug)
            if found is None:
                made[customer.slug] = self._organization(customer)
            elif found.metadata != MARK:
                self.outcome.left_alone.append(customer.slug)
        self.outcome.count("organizations", len(made))
        return made

    def _organization(self, customer: Customer) -> Organization:
        began = PILOT_START - timedelta(days=1)
        row = tenants.create_organization(
            customer.slug,
            name=customer.name,
            timezone=customer.timezone,
            country=customer.country,
            industry=customer.industry,
            currency=customer.currency,
            billing_entity=customer.issuer,
            actor=self.actor,
            at=began,
        )
        told = {
            "locale": customer.locale,
            "address": customer.address,
            "tax_id": customer.tax_id,
            "metadata": MARK,
        }
        return tenants.update_organization(row.pk, changes=told, actor=self.actor, at=began)

    def people(self) -> None:
        """Create the logins that are missing; members only of organizations of the demo."""
        known = set(User.objects.values_list("email", flat=True))
        for login in (one for one in LOGINS if one.email not in known):
            if login.organization in self.outcome.left_alone:
                continue
            user = tenants.create_user(
                login.email,
                password=PASSWORD,
                name=login.name,
                groups=[login.group] if login.group else [],
                actor=self.actor,
                at=self.at,
            )
            if login.organization:
                organization = tenant_selectors.get_organization(login.organization)
                self._join(organization, user, login.role)
            self.outcome.count("users", 1)

    def _join(self, organization: Organization, user: User, role: str) -> None:
        tenants.add_member(
            organization.pk, user_id=user.pk, role=role, actor=self.actor, at=self.at
        )

    def tell(self, new: Mapping[str, Organization]) -> None:
        """Tell the story of the organizations that are new."""
        if "acme" in new:
            self._pilot(new["acme"])
        begun: list[SubscriptionFacts] = []
        for slug, organization in new.items():
            begun += _AGREEMENTS[slug](self, organization)
            watching.agree(organization, begun[-1], actor=self.actor, at=self.at)
            self._use(organization, begun[-1].started_at, self.midnight)
            self._ingest(organization, story.burst(slug, self.midnight))
            self._report(organization)
        issued = self._bill(begun, until=self.at)
        if "acme" in new:
            self._settle([one for one in issued if one.organization_id == new["acme"].pk])
        if "initech" in new:
            self._install(new["initech"])

    def _install(self, initech: Organization) -> None:
        """Two plants run the device console themselves, by a licence for each."""
        for plant in PLANTS:
            licensing.issue_license(
                initech.pk, application="devices", instance=plant, actor=self.actor, at=self.at
            )
            self.outcome.count("licences", 1)

    def _pilot(self, acme: Organization) -> None:
        """November 2023: one month at the gateway, with the requests of a real service."""
        facts = self.subscribe(acme, "gateway", start=PILOT_START)
        subscriptions.cancel(
            facts.public_id,
            reason="end of the pilot",
            actor=self.actor,
            at=PILOT_START + timedelta(days=20),
        )
        self._ingest(acme, story.trace())
        for one in self._bill([facts], until=PILOT_END):
            self._pay(one.number, one.total, one.currency, received_at=PILOT_END)

    def subscribe(
        self, organization: Organization, plan: str, *, start: datetime, **chosen: Any
    ) -> SubscriptionFacts:
        """Subscribe at the start itself, so that nothing counts as backdated."""
        self.outcome.count("subscriptions", 1)
        return subscriptions.subscribe(
            organization.pk, plan=plan, start=start, actor=self.actor, at=start, **chosen
        )

    def ago(self, organization: Organization, *, months: int = 0, days: int = 0) -> datetime:
        """Return a local midnight so many months and days back, on a day that every month has."""
        today = self.at.astimezone(zone(organization.timezone))
        day = today.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
        index = day.year * 12 + day.month - 1 - months
        return day.replace(year=index // 12, month=index % 12 + 1, day=min(day.day, 28))

    def _use(self, organization: Organization, since: datetime, until: datetime) -> None:
        habits = story.HABITS.get(organization.slug, ())
        self._ingest(
            organization,
            story.events(organization.slug, habits, since.astimezone(UTC).date(), until.date()),
        )

    def _ingest(self, organization: Organization, events: Iterable[NewEvent | Unread]) -> None:
        waiting = iter(events)
        while batch := list(islice(waiting, BATCH)):
            done = usage.ingest(organization.pk, events=batch, actor=self.actor, at=self.at)
            self.outcome.count("events", done.accepted)

    def _report(self, organization: Organization) -> None:
        made = watching.report_devices(organization, midnight=self.midnight, actor=self.actor)
        self.outcome.count("device reports", made)

    def _bill(
        self, begun: Sequence[SubscriptionFacts], *, until: datetime
    ) -> list[invoicing.Issued]:
        """Bill these subscriptions only, oldest boundary first, each at its own time."""
        issued = []
        while True:
            standing = [agreements.by_id(facts.id) for facts in begun]
            due = [f for f in standing if f.is_live and f.next_boundary_at <= until]
            if not due:
                break
            first = min(due, key=lambda facts: (facts.next_boundary_at, facts.id))
            issued += invoicing.bill_boundary(
                Due(first.id, first.organization_id),
                as_of=first.next_boundary_at,
                actor=self.actor,
                at=min(self.at, first.next_boundary_at + timedelta(minutes=1)),
            )
        self.outcome.count("invoices", len(issued))
        return issued

    def _settle(self, issued: Sequence[invoicing.Issued]) -> None:
        """Acme paid until lately: then half of an invoice, and nothing of the last ones."""
        gateway = [invoices.get(one.id) for one in issued if one.total > 0]
        for row in gateway[:-3]:
            self._pay(row.number, row.total, row.currency, row.issued_at + timedelta(days=9))
        if len(gateway) > 2:
            row = gateway[-3]
            self._pay(row.number, row.total // 2, row.currency, row.issued_at + timedelta(days=12))

    def _pay(self, number: str | None, minor: int, currency: str, received_at: datetime) -> None:
        if number is None or minor <= 0:
            return
        payments.record_payment(
            number,
            amount=Money(minor, currency).major,
            reference=f"wire {number}",
            received_at=received_at,
            actor=self.actor,
            at=received_at,
        )
        self.outcome.count("payments", 1)

    def go_on(self, new: Mapping[str, Organization]) -> None:
        """Add the days that have passed since, of periods that nobody has been billed for."""
        for customer in CUSTOMERS:
            if customer.slug in {*new, *self.outcome.left_alone}:
                continue
            organization = tenant_selectors.get_organization(customer.slug)
            live = agreements.of_organization(organization.pk, live=True)
            starts = [facts.current_period(self.at).start for facts in live]
            if starts:
                self._use(organization, max(starts), self.midnight)

    def addresses(self, new: Mapping[str, Organization]) -> None:
        """Say where invoices are mailed from now on, and invite somebody."""
        for slug, organization in new.items():
            changes = {"email": f"billing@{slug}.example"}
            tenants.update_organization(
                organization.pk, changes=changes, actor=self.actor, at=self.at
            )
        if "acme" in new:
            tenants.invite_member(
                new["acme"].pk,
                email="newcomer@acme.example",
                role="ADMIN",
                actor=self.actor,
                at=self.at,
            )
            self.outcome.count("invitations", 1)


def _acme(teller: _Teller, acme: Organization) -> list[SubscriptionFacts]:
    calls = teller.subscribe(
        acme, "powerdialer-team", start=teller.ago(acme, months=1, days=20), seats=12
    )
    subscriptions.change_quantity(
        calls.public_id, quantity=15, actor=teller.actor, at=teller.ago(acme, days=16)
    )
    start = teller.ago(acme, months=3, days=DAYS_INTO_THE_PERIOD)
    return [calls, teller.subscribe(acme, "gateway", start=start, seats=5)]


def _globex(teller: _Teller, globex: Organization) -> list[SubscriptionFacts]:
    return [
        teller.subscribe(globex, "healos-team", start=teller.ago(globex, days=5), seats=8),
        teller.subscribe(globex, "business-basic", start=teller.ago(globex, months=2, days=6)),
    ]


def _initech(teller: _Teller, initech: Organization) -> list[SubscriptionFacts]:
    return [
        teller.subscribe(initech, "professional", start=teller.ago(initech, days=10)),
        teller.subscribe(initech, "pay-as-you-go", start=teller.ago(initech, months=1, days=9)),
    ]


# The last agreement of each is the one whose usage the story tells from its start.
_AGREEMENTS = {"acme": _acme, "globex": _globex, "initech": _initech, **showcase.AGREEMENTS}
