"""What the seats are about: a clinic with fewer seats than people, and what may be done to them."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
from django.db import OperationalError

from apps.core import rls
from apps.core.actor import operator
from apps.core.errors import DomainError
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.seats import services
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from tests.prove.ground import ask, superuser

ACTOR = operator("prove")
START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
SEATS, PEOPLE, ADDRESSES = 10, 4, 20
CATALOG = """\
currency: USD
applications: [{slug: healos, name: HealOS}]
plans:
  - {code: team, application: healos, name: Team, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}]}
"""
_numbers = itertools.count(1)


def load() -> None:
    """Load the catalogue that the rounds are about."""
    with rls.ops_scope("prove: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="seats.yaml"), actor=ACTOR, at=START)


class Story:
    """A new clinic with ten seats, four members, and twenty addresses."""

    def __init__(self) -> None:
        slug = f"clinic-{next(_numbers)}"
        with rls.ops_scope("prove: a customer"):
            self.organization = int(
                tenants.create_organization(slug, name=slug, actor=ACTOR, at=START).pk
            )
            people = [self._member(f"{number}@{slug}.example") for number in range(PEOPLE)]
        self.people = [*people, *(f"guest-{n}@{slug}.example" for n in range(ADDRESSES))]
        with rls.tenant_scope(self.organization):
            facts = subscriptions.subscribe(
                self.organization, plan="team", start=START, seats=SEATS, actor=ACTOR, at=START
            )
            self.subscription = facts.public_id
            first = services.assign_seat(
                self.subscription, person=self.people[0], actor=ACTOR, at=NOW
            )
            services.revoke_seat(first.public_id, actor=ACTOR, at=NOW)

    def _member(self, email: str) -> str:
        user = tenants.create_user(email, password="prove-pass-2026", actor=ACTOR, at=START)
        tenants.add_member(self.organization, user_id=user.pk, role="MEMBER", actor=ACTOR, at=START)
        return email

    def grab(self, chance: random.Random) -> None:
        """Assign a seat to somebody, and now and then take it away again."""
        with _trying():
            with rls.tenant_scope(self.organization):
                held = services.assign_seat(
                    self.subscription, person=chance.choice(self.people), actor=ACTOR, at=NOW
                )
            if chance.random() < 0.3:
                with rls.tenant_scope(self.organization):
                    services.revoke_seat(held.public_id, actor=ACTOR, at=NOW)

    def deal(self, chance: random.Random) -> None:
        """Buy a few seats more or sell some, through the door that knows no seats."""
        quantity = chance.randint(SEATS // 2, SEATS + SEATS // 2)
        with _trying(), rls.tenant_scope(self.organization):
            subscriptions.change_quantity(
                self.subscription, quantity=quantity, actor=ACTOR, at=_moment()
            )

    def wrong(self) -> Iterator[str]:
        """Yield what is wrong in the database, and what it lets somebody do who asks nobody."""
        for said, query in WRONG.items():
            if found := ask(query.format(organization=self.organization)):
                yield f"{said}: {found[0]}"
        self._fill()
        for said, statement in TRESPASSES.items():
            if self._passes(statement):
                yield f"past all services {said}"

    def _fill(self) -> None:
        """Take all seats that are free, so that one more is one too many."""
        for person in self.people:
            with contextlib.suppress(DomainError), rls.tenant_scope(self.organization):
                services.assign_seat(self.subscription, person=person, actor=ACTOR, at=NOW)
        with rls.tenant_scope(self.organization):
            facts = agreements.get(self.subscription)
        [(assigned,)] = ask(ASSIGNED.format(organization=self.organization))
        if int(facts.quantities(_moment())["seats"]) > assigned:
            with rls.tenant_scope(self.organization):
                subscriptions.change_quantity(
                    self.subscription, quantity=assigned, actor=ACTOR, at=_moment()
                )

    def _passes(self, statement: str) -> bool:
        """Try a statement as superuser, and take it back whatever comes of it."""
        query = statement.format(organization=self.organization).encode()
        with superuser() as connection:
            try:
                with connection.transaction(force_rollback=True):
                    return bool(connection.execute(query).rowcount)
            except psycopg.errors.IntegrityError:
                return False


@contextlib.contextmanager
def _trying() -> Iterator[None]:
    """Go on when refused, which is what the limit is for, or when others held it for too long."""
    try:
        with contextlib.suppress(DomainError):
            yield
    except OperationalError as error:
        if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise


def _moment() -> datetime:
    """Return another instant every time: a quantity changes once at each."""
    return datetime.now(tz=UTC)


def tally() -> str:
    """Say what became of the seats."""
    rows = ask("SELECT status, count(*) FROM seats_seat GROUP BY 1 ORDER BY 1")
    return ", ".join(f"{count} {status}" for status, count in rows)


ASSIGNED = (
    "SELECT coalesce(sum(assigned), 0) FROM seats_pool WHERE organization_id = {organization}"
)
STANDS = "organization_id = {organization} AND status IN ('invited', 'active')"
WRONG = {
    "more sit than are bought": f"""
        SELECT count(*), p.bought FROM seats_seat s JOIN seats_pool p ON p.id = s.pool_id
        WHERE s.{STANDS} GROUP BY p.bought HAVING count(*) > p.bought""",
    "the counter is not the count": f"""
        SELECT p.assigned, n FROM seats_pool p, (SELECT count(*) AS n FROM seats_seat
        WHERE {STANDS}) s WHERE p.organization_id = {{organization}} AND p.assigned <> n""",
    "a person sits twice": f"""
        SELECT user_id, email, count(*) FROM seats_seat WHERE {STANDS}
        GROUP BY 1, 2 HAVING count(*) > 1""",
    "what is bought is not what was sold": """
        SELECT p.bought, q.quantity FROM seats_pool p,
          (SELECT t.quantity FROM subscriptions_quantitystep t
           WHERE t.organization_id = {organization}
           ORDER BY t.effective_at DESC, t.id DESC LIMIT 1) q
        WHERE p.organization_id = {organization} AND p.bought <> q.quantity""",
}
COLUMNS = """organization_id, pool_id, subscription_id, application_id, during, assigned_by,
    because, released_by"""
TRESPASSES = {
    "one more was seated than is bought": f"""
        INSERT INTO seats_seat (public_id, status, email, {COLUMNS})
        SELECT 'seat_too_many', 'invited', 'too@many.example', {COLUMNS} FROM seats_seat
        WHERE {STANDS} LIMIT 1""",
    "the seat that somebody sits on was sold": """
        UPDATE seats_pool SET bought = assigned - 1 WHERE organization_id = {organization}""",
    "somebody was seated twice": f"""
        WITH room AS (UPDATE seats_pool SET bought = bought + 1
          WHERE organization_id = {{organization}})
        INSERT INTO seats_seat (public_id, status, email, user_id, {COLUMNS})
        SELECT 'seat_twice', status, email, user_id, {COLUMNS} FROM seats_seat
        WHERE {STANDS} LIMIT 1""",
}
