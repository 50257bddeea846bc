"""A clinic that buys seats of HealOS: five of them, 10_00 a month each, since 1 March."""

from __future__ import annotations

from datetime import UTC, datetime

from apps.core import clock, outbox, rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.seats import selectors, services
from apps.seats.models import Seat
from apps.seats.selectors import PoolFacts
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User
from tests.conftest import STAFF
from tests.worlds import make_member

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
CATALOG = """
currency: USD
applications: [{slug: healos, name: HealOS}]
features: [{key: charts, kind: switch}]
plans:
  - {code: team, application: healos, name: Team, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}],
     entitlements: {charts: true}}
  - {code: crew, application: healos, name: Crew, interval: month, prices: [
      {key: people, type: licensed, model: per_unit, unit_amount: "20.00"}]}
  - {code: try, application: healos, name: Try, interval: month, trial_days: 30, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}]}
  - {code: ward, application: healos, name: Ward, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "31.00",
       quantity_policy: assigned}]}
  - {code: flat, application: healos, name: Flat, interval: month, prices: [
      {key: base, type: flat, amount: "99.00"}]}
  - {code: rooms, kind: add_on, application: healos, name: Rooms, interval: month, prices: [
      {key: rooms, type: licensed, model: per_unit, unit_amount: "3.00"}]}
"""


def load() -> None:
    """Put the plans on sale."""
    with rls.ops_scope("test: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="clinic.yaml"), actor=STAFF, at=START)


def subscribe(
    clinic: Organization, *, plan: str = "team", seats: int | None = 5
) -> SubscriptionFacts:
    """Subscribe the clinic."""
    with rls.tenant_scope(clinic.pk):
        return subscriptions.subscribe(
            clinic.pk, plan=plan, start=START, seats=seats, actor=STAFF, at=START
        )


def people(clinic: Organization, count: int, *, slug: str = "clinic") -> list[User]:
    """Let so many people join as members."""
    return [make_member(clinic, f"nurse-{n}@{slug}.example", role="MEMBER") for n in range(count)]


def assign(facts: SubscriptionFacts, person: User | str, **options: str) -> Seat:
    """Give somebody a seat, in the clinic's scope."""
    reference = person if isinstance(person, str) else person.public_id
    with rls.tenant_scope(facts.organization_id):
        return services.assign_seat(
            facts.public_id, person=reference, actor=STAFF, at=NOW, **options
        )


def pool(facts: SubscriptionFacts) -> PoolFacts:
    """Return the seats of the only item, as they are."""
    with rls.tenant_scope(facts.organization_id):
        return selectors.pool(facts.organization_id, facts.public_id, at=NOW)


def standing(facts: SubscriptionFacts) -> list[Seat]:
    """Return the seats that are somebody's, oldest first."""
    with rls.tenant_scope(facts.organization_id):
        return sorted(selectors.seats(facts.organization_id), key=lambda seat: seat.pk)


def deliver(at: datetime = NOW) -> None:
    """Let the rooms above hear what happened."""
    outbox.deliver_due()
    with clock.frozen(at):
        outbox.deliver_due()


def know_as(clinic: Organization, *, organization: str, users: dict[str, User]) -> None:
    """Say what HealOS calls the clinic and its people."""
    with rls.ops_scope("test: external ids"):
        tenants.map_external_id(
            clinic.pk, application="healos", external_id=organization, actor=STAFF, at=START
        )
        for external_id, user in users.items():
            tenants.map_external_user(
                clinic.pk, application="healos", external_id=external_id,
                user_id=user.pk, actor=STAFF, at=START,
            )  # fmt: skip
