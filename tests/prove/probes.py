"""Looks at other people's rows, in every way that careless code finds.

A probe yields once per look: the number of rows (or accepted writes) that are not the scope's own.
Whatever it writes is rolled back, or is what was there before: where a guard is missing, a write
without a scope comes through, and what looks at the rows afterwards would find them spoiled.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F

from apps.core import rls
from apps.core.models import OutboxEvent
from apps.invoicing.models import Invoice, Parked
from apps.subscriptions.models import Subscription
from apps.tenants.models import Membership, User
from tests.prove.tenancy import Places
from tests.prove.world import NOW


@dataclass(slots=True)
class Prober:
    """Somebody who works for one organization and looks where they should not."""

    places: Places
    chance: random.Random
    mine: int = 0
    foreign: int = 0

    def begin(self) -> None:
        """Choose whom to work for and at whom to look."""
        self.mine, self.foreign = self.chance.sample(self.places.organizations, 2)

    def table(self) -> str:
        """Return any tenant table."""
        return self.chance.choice([*self.places.rows])

    def model(self) -> type[models.Model]:
        """Return the model of any tenant table that has one."""
        return MODELS[self.table()]

    def row_of(self, table: str, organization: int) -> int:
        """Return the id of one of the organization's rows."""
        return self.chance.choice(self.places.rows[table].get(organization, [0]))


MODELS: dict[str, type[models.Model]] = {model._meta.db_table: model for model in apps.get_models()}
Probe = Callable[[Prober], Iterator[int]]


class Planned(Exception):
    """What goes wrong in the middle of a request."""


def forgotten_filter(prober: Prober) -> Iterator[int]:
    """A query without its `.filter(organization=…)`."""
    with rls.tenant_scope(prober.mine):
        for _ in range(6):
            yield _strangers(prober, prober.table())


def raw_sql(prober: Prober) -> Iterator[int]:
    """SQL by hand, counting everything; prepared by the driver after a few times."""
    with rls.tenant_scope(prober.mine):
        for _ in range(4):
            table = prober.table()
            column = prober.places.column(table)
            yield _count(
                f'SELECT count(*) FROM "{table}" WHERE {column} IS DISTINCT FROM %s', prober.mine
            )


def joins(prober: Prober) -> Iterator[int]:
    """A join without a condition, and a subquery."""
    with rls.tenant_scope(prober.mine):
        yield _count(
            """SELECT count(*) FROM subscriptions_subscription s
            CROSS JOIN tenants_organization o LEFT JOIN tenants_membership m ON true
            WHERE s.organization_id <> %s OR o.id <> %s OR m.organization_id <> %s""",
            prober.mine, prober.mine, prober.mine,
        )  # fmt: skip
        yield _count(
            """SELECT count(*) FROM invoicing_invoice i WHERE EXISTS (
            SELECT FROM usage_event e WHERE e.organization_id = %s) AND i.organization_id = %s""",
            prober.foreign, prober.mine,
        )  # fmt: skip
        yield User.objects.exclude(memberships__organization_id=prober.mine).count()


def another_ones_id(prober: Prober) -> Iterator[int]:
    """An id from somewhere else, put into a URL."""
    with rls.tenant_scope(prober.mine):
        for _ in range(4):
            table = prober.table()
            rows = MODELS[table]._base_manager.filter(pk=prober.row_of(table, prober.foreign))
            yield int(rows.exists())


def no_scope(prober: Prober) -> Iterator[int]:
    """Code that runs where no scope is open: in autocommit, and in a bare transaction."""
    for _ in range(3):
        yield prober.model()._base_manager.count()
    with transaction.atomic():
        yield prober.model()._base_manager.count()
    yield Subscription.objects.update(currency=F("currency"))


def after_an_error(prober: Prober) -> Iterator[int]:
    """A request that fails, and the next one on the same connection."""
    with suppress(Planned), rls.tenant_scope(prober.foreign):
        Invoice.objects.count()
        raise Planned
    yield Invoice.objects.count()
    with suppress(DatabaseError), rls.tenant_scope(prober.foreign), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    yield _strangers_in_scope(prober)


def nested(prober: Prober) -> Iterator[int]:
    """Another's scope inside one's own: left in good order, by an error, and by the database's."""
    with rls.tenant_scope(prober.mine):
        with rls.tenant_scope(prober.foreign):
            yield Invoice.objects.exclude(organization_id=prober.foreign).count()
        yield Invoice.objects.exclude(organization_id=prober.mine).count()
        with suppress(Planned), rls.tenant_scope(prober.foreign):
            raise Planned
        yield Invoice.objects.exclude(organization_id=prober.mine).count()
        with (
            suppress(DatabaseError),
            rls.tenant_scope(prober.foreign),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 1 / 0")
        yield _strangers(prober, prober.table())


def after_staff(prober: Prober) -> Iterator[int]:
    """The staff's scope, which sees everything, then nothing and then one's own again."""
    with rls.ops_scope("prove: look at everything"):
        if Subscription.objects.filter(organization_id=prober.foreign).count() == 0:
            raise AssertionError("the staff's scope must see every organization")
    yield Subscription.objects.count()
    yield _strangers_in_scope(prober)
    with rls.tenant_scope(prober.mine):
        with rls.ops_scope("prove: inside a request"):
            Subscription.objects.count()
        yield _strangers(prober, prober.table())


def change_anothers(prober: Prober) -> Iterator[int]:
    """UPDATE and DELETE of rows that belong to others, by id and with no condition at all."""
    with rls.tenant_scope(prober.mine):
        table = prober.table()
        column, row = prober.places.column(table), prober.row_of(table, prober.foreign)
        yield _changed(f'UPDATE "{table}" SET {column} = {column} WHERE id = %s', row)
        yield _changed(f'DELETE FROM "{table}" WHERE id = %s', row)
        yield _changed(
            f'WITH hit AS (UPDATE "{table}" SET {column} = {column} RETURNING {column} AS whose) '
            "SELECT FROM hit WHERE whose <> %s",
            prober.mine,
        )
        transaction.set_rollback(True)


def write_for_another(prober: Prober) -> Iterator[int]:
    """INSERT in another organization's name, and handing a row of one's own to it."""
    with rls.tenant_scope(prober.mine):
        yield _accepted(
            lambda: OutboxEvent.objects.create(
                organization_id=prober.foreign, name="prove", payload={}, occurred_at=NOW
            )
        )
        yield _accepted(lambda: _park(prober.foreign, prober.row_of(SUBSCRIPTIONS, prober.foreign)))
        yield _accepted(lambda: Membership.objects.update(organization_id=prober.foreign))
        transaction.set_rollback(True)


def link_to_anothers(prober: Prober) -> Iterator[int]:
    """A row of one's own that points at somebody else's: plain foreign keys would accept it."""
    with rls.tenant_scope(prober.mine):
        yield _accepted(lambda: _park(prober.mine, prober.row_of(SUBSCRIPTIONS, prober.foreign)))
        transaction.set_rollback(True)


PROBES: dict[Probe, int] = {
    forgotten_filter: 6,
    raw_sql: 5,
    joins: 3,
    another_ones_id: 5,
    no_scope: 3,
    after_an_error: 3,
    nested: 3,
    after_staff: 3,
    change_anothers: 3,
    write_for_another: 2,
    link_to_anothers: 2,
}
SUBSCRIPTIONS = "subscriptions_subscription"


def _strangers(prober: Prober, table: str) -> int:
    column = prober.places.column(table)
    owners = MODELS[table]._base_manager.values_list(column, flat=True)[:200]
    return sum(owner != prober.mine for owner in owners)


def _strangers_in_scope(prober: Prober) -> int:
    with rls.tenant_scope(prober.mine):
        return _strangers(prober, prober.table())


def _count(query: str, *parameters: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return int(cursor.fetchone()[0])


def _changed(query: str, *parameters: int) -> int:
    """Return how many rows the statement touched; none when the database refuses it."""
    with suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return int(cursor.rowcount)
    return 0


def _accepted(write: Callable[[], Any]) -> int:
    """Tell whether the database takes the write, its deferred checks included."""
    try:
        with transaction.atomic():
            write()
            connection.check_constraints()
    except DatabaseError:
        return 0
    return 1


def _park(organization: int, subscription: int) -> None:
    Parked.objects.create(
        organization_id=organization,
        subscription_id=subscription,
        boundary_at=NOW,
        reason="prove",
        parked_at=NOW,
        released_at=NOW,
    )
