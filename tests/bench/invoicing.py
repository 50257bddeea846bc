"""`invoice_run` and `verify_books`: month ends of 10,000 subscriptions with five prices each.

As `manage.py bill_due` and `verify_books` do them: one process for every core. The limit of the run
is COPY of the very rows it wrote; the typical implementation sums events per charge and saves
objects one by one. One month after the other. BENCH_CUSTOMERS says how many.

`invoice_run_memory` compares what one process needs for nearly all of them with what it needs for a
tenth, as processes that fit in a GiB; `invoice_run_events` the rate for customers with ten times
the events with that for others.
"""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import DecimalField, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from apps.core import processes, rls
from apps.invoicing import books, services
from apps.invoicing.models import Invoice, InvoiceLine
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from apps.usage.models import Event
from tests.bench.timing import Result, rate, result
from tests.prove.ground import superuser
from tests.prove.world import ACTOR, NOW

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "10000"))
MONTHS, EVENTS, TYPICAL = 2, 10, 40
BUSY, MANY = 50, 300  # customers with MANY events in the month after, and as many with ten times so
START = datetime(2023, 1, 1, tzinfo=UTC)
WRITTEN = (
    "invoicing_invoice",
    "invoicing_invoiceline",
    "invoicing_ledgertransaction",
    "invoicing_ledgerentry",
    "audit_auditentry",
    "core_outboxevent",
    "core_outboxdelivery",
)


def measure() -> list[Result]:
    """Bill month after month, verifying, copying and imitating in between."""
    _build()
    _bill(0)  # the first month has no usage behind it, and warms up
    ours, limits, typical = [], [], []
    for month in range(1, MONTHS + 1):
        marks = _marks()
        ours.append(rate(CUSTOMERS, lambda: _bill(month)))  # noqa: B023 - called at once
        limits.append(_copied(marks))
        typical.append(rate(min(TYPICAL, CUSTOMERS), lambda: _typical(month)))  # noqa: B023
    verified = [rate(CUSTOMERS * (MONTHS + 1), _verify)]
    run = result("invoice_run", "invoices/s", ours, limits, typical)
    return [run, result("verify_books", "invoices/s", verified, ours), *_flatness()]


def _flatness() -> list[Result]:
    """Bill one more month in parts: by number of events, and by number of customers."""
    with rls.ops_scope("bench: whom"):
        everybody = list(Organization.objects.order_by("id").values_list("pk", flat=True))
    quiet, busy, rest = everybody[:BUSY], everybody[BUSY : 2 * BUSY], everybody[2 * BUSY :]
    month = MONTHS + 1
    _use(quiet, MANY)
    _use(busy, 10 * MANY)
    few = rate(len(quiet), lambda: _bill_some(month, quiet))
    many = rate(len(busy), lambda: _bill_some(month, busy))
    tenth = CUSTOMERS // 10
    small, large = (_peak(month, part) for part in (rest[:tenth], rest[tenth:]))
    return [
        result("invoice_run_memory", "processes/GiB", [2**20 / large], [2**20 / small]),
        result("invoice_run_events", "invoices/s", [many], [few]),
    ]


def _use(organization_ids: Collection[int], count: int) -> None:
    """Let each of them use so much in the last month, and roll it up."""
    chance, since = random.Random(2), _first_of(MONTHS)
    minutes = 60 * 24 * 28
    for organization_id in organization_ids:
        events = _events(chance, count, since, minutes, source="busy")
        with rls.ops_scope("bench: usage"):
            usage.ingest(organization_id, events=events, actor=ACTOR, at=NOW)
    with rls.ops_scope("bench: the worker"):
        usage.roll_up(NOW)


def _bill_some(month: int, organization_ids: Collection[int]) -> None:
    report = services.bill_due(
        as_of=_first_of(month), actor=ACTOR, at=NOW, organization_ids=organization_ids
    )
    assert report.count == len(organization_ids), report.parked[:3]


def _peak(month: int, organization_ids: Collection[int]) -> int:
    """Bill them in a process of its own; return the most memory that it had, in kB."""
    with processes.pool(1) as pool:
        return pool.submit(_peak_here, month, organization_ids).result()


def _peak_here(month: int, organization_ids: Collection[int]) -> int:
    _bill_some(month, organization_ids)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _build() -> None:
    """Make one customer through the services, copy its rows for the others, and let all use it."""
    chance = random.Random(1)
    with rls.ops_scope("bench: a customer"):
        plans.load_catalog(read_catalog("gateway"), actor=ACTOR, at=NOW)
        row = tenants.create_organization("c-0", name="C", actor=ACTOR, at=NOW)
        subscriptions.subscribe(row.pk, plan="gateway", start=START, seats=7, actor=ACTOR, at=NOW)
    with superuser() as connection:
        for table, links in COPIED.items():
            _copy_customer(connection, table, links, row.pk)
    with rls.ops_scope("bench: usage"):
        for organization_id in Organization.objects.values_list("pk", flat=True):
            events = _events(chance, EVENTS * MONTHS, START, 60 * 24 * 29 * MONTHS)
            usage.ingest(organization_id, events=events, actor=ACTOR, at=NOW)
    with rls.ops_scope("bench: the worker"):  # it sees what others have committed, and no more
        usage.roll_up(NOW)


# Tables of a customer in the order of their keys: which columns lead to which of its other rows.
COPIED: dict[str, dict[str, str]] = {
    "tenants_organization": {},
    "subscriptions_subscription": {},
    "subscriptions_phase": {"subscription_id": "subscriptions_subscription"},
    "subscriptions_subscriptionitem": {"subscription_id": "subscriptions_subscription"},
    "subscriptions_quantitystep": {"item_id": "subscriptions_subscriptionitem"},
}


def _copy_customer(connection: Any, table: str, links: dict[str, str], template: int) -> None:
    """Copy the template's rows of a table once for every other customer.

    A row and its copies have their places: the n-th row of a customer is a copy of the n-th.
    """
    columns = [
        name
        for (name,) in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
            " AND table_schema = 'public' AND column_name NOT IN ('id', 'public_id')",
            [table],
        )
    ]
    owner = "id" if table == "tenants_organization" else "organization_id"
    others = (
        f"generate_series(1, {CUSTOMERS - 1}) AS c(n)"
        if owner == "id"
        else "(SELECT id FROM tenants_organization WHERE slug <> 'c-0') AS c(n)"
    )
    said = dict.fromkeys(columns)
    values = {name: f't."{name}"' for name in said}
    if owner == "id":
        values["slug"] = "'c-' || c.n"
    else:
        values["organization_id"] = "c.n"
    for column, target in links.items():
        values[column] = f"""(
            SELECT mine.id FROM (
                SELECT id, row_number() OVER (ORDER BY id) AS place FROM {target}
                WHERE organization_id = c.n) mine
            JOIN (
                SELECT id, row_number() OVER (ORDER BY id) AS place FROM {target}
                WHERE organization_id = {template}) known USING (place)
            WHERE known.id = t."{column}")"""
    named = ", ".join(f'"{name}"' for name in columns)
    made = ", ".join(values[name] for name in columns)
    connection.execute(
        f"INSERT INTO {table} (public_id, {named})"
        f" SELECT 'bench_' || t.id || '_' || c.n, {made}"
        f" FROM {table} t CROSS JOIN {others} WHERE t.{owner} = {template} ORDER BY c.n, t.id"
    )


def _events(
    chance: random.Random, count: int, since: datetime, minutes: int, *, source: str = "bench"
) -> list[NewEvent]:
    return [
        NewEvent(
            source,
            str(number),
            "ai.request",
            since + timedelta(minutes=chance.randrange(minutes)),
            {"context_tokens": chance.randrange(10**6), "generated_tokens": chance.randrange(5000)},
        )
        for number in range(count)
    ]


def _first_of(month: int) -> datetime:
    return START.replace(month=1 + month)


def _bill(month: int) -> None:
    report = services.bill_due(
        as_of=_first_of(month), actor=ACTOR, at=NOW, jobs=processes.available()
    )
    assert report.count == CUSTOMERS, report.parked[:3]


def _verify() -> None:
    assert books.verify(jobs=processes.available()).hold


def _marks() -> dict[str, int]:
    with superuser() as connection:
        query = "SELECT coalesce(max(id), 0) FROM {}"
        return {
            table: _value(connection.execute(query.format(table).encode())) for table in WRITTEN
        }


def _value(cursor: Any) -> int:
    return int(cursor.fetchone()[0])


def _copied(marks: dict[str, int]) -> float:
    """Return the rate at which COPY writes the rows after these ids into tables like theirs."""
    with superuser() as connection:
        rows = {table: _read(connection, table, mark) for table, mark in marks.items()}
        connection.execute("DROP SCHEMA IF EXISTS limits CASCADE")
        connection.execute("CREATE SCHEMA limits")
        for table in marks:
            connection.execute(f"CREATE TABLE limits.{table} (LIKE {table} INCLUDING ALL)".encode())
        return rate(CUSTOMERS, lambda: _write(connection, rows))


def _read(connection: Any, table: str, mark: int) -> bytes:
    with connection.cursor().copy(
        f"COPY (SELECT * FROM {table} WHERE id > {mark}) TO STDOUT"
    ) as copy:
        return b"".join(bytes(block) for block in copy)


def _write(connection: Any, rows: dict[str, bytes]) -> None:
    with connection.transaction():
        for table, text in rows.items():
            with connection.cursor().copy(f"COPY limits.{table} FROM STDIN") as copy:
                copy.write(text)


def _typical(month: int) -> None:
    """Bill some customers as such systems often do: a query per charge, a save per object.

    Rolled back, so without the cost of its commits, its audit and its ledger.
    """
    since, until = _first_of(month - 1), _first_of(month)
    with rls.ops_scope("bench: the typical way"):
        for row in Organization.objects.order_by("id")[:TYPICAL]:
            with transaction.atomic():
                _typical_invoice(row, since, until)
        transaction.set_rollback(True)


def _typical_invoice(row: Organization, since: datetime, until: datetime) -> None:
    last = Invoice.objects.order_by("-sequence").exclude(sequence=None)[0].sequence or 0
    invoice = Invoice.objects.create(
        organization=row,
        billing_entity=row.billing_entity,
        currency="USD",
        timezone="UTC",
        period=(since, until),
        issued_at=until,
        due_at=until,
    )
    events = Event.objects.filter(
        organization=row, type="ai.request", occurred_at__gte=since, occurred_at__lt=until
    )
    amounts = [50_00, 48_00, max(0, events.count() - 5000) * 5]
    for key in ("context_tokens", "generated_tokens"):
        value = Cast(KT(f"data__{key}"), DecimalField(max_digits=30, decimal_places=12))
        amounts.append(int((events.aggregate(total=Sum(value))["total"] or 0) // 10_000))
    for position, amount in enumerate(amounts):
        InvoiceLine.objects.create(
            organization=row,
            invoice=invoice,
            position=position,
            key=str(position),
            kind="other",
            reason="",
            name="",
            during=(since, until),
            quantity=1,
            amount=amount,
            explanation={},
        )
    invoice.subtotal = invoice.total = sum(amounts)
    invoice.sequence, invoice.number = last + 1, f"CH-{last + 1:06d}"
    invoice.status, invoice.finalized_at, invoice.content_hash = "open", until, "none"
    invoice.save()
