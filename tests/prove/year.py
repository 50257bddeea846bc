"""A year in a life of its own: random acts, bills and crashes against an event-sourced oracle.

Customers act at random moments. Billing runs in between, in a process that is killed at a random
point more often than not, and then once more to its end. At the end of the year every invoice and
credit note must be there with the lines and totals that the oracle makes of the same events, and
nothing else; so must the credit and the money that went back.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

from apps.core import rls
from apps.invoicing import books
from apps.invoicing import services as invoicing
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import TaxRules
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from tests.prove import processes
from tests.prove.billing_workers import BILLING_POINTS
from tests.prove.ground import ask
from tests.prove.year_bills import Bill, Note
from tests.prove.year_catalog import catalog
from tests.prove.year_customers import ACTOR, COUPONS, FIRST, GERMAN_VAT, Customer

LAST = datetime(2026, 1, 1, tzinfo=UTC)
POINTS = (*BILLING_POINTS, "healing.before_commit")
MOST_DAYS_BETWEEN_BILLS = 12


@dataclass(slots=True)
class Outcome:
    """What a year came to: invoices and credit notes compared, processes killed, differences."""

    invoices: int
    notes: int
    kills: int
    differences: list[str]

    def said(self) -> str:
        """Say it in a few words."""
        found = len(self.differences)
        return (
            f"{self.invoices} invoices, {self.notes} credit notes, {self.kills} kills, "
            f"{found} differences"
        )


def live(seed: int, customers: int) -> Outcome:
    """Live the year of that seed in the database that Django is pointed at."""
    chance = random.Random(seed)
    _open_for_business()
    alive: list[Customer] = []
    kills = 0
    next_bill = FIRST + timedelta(days=chance.randint(1, MOST_DAYS_BETWEEN_BILLS))
    for at in _moments(chance, customers):
        while next_bill < at:
            kills += _bill(chance, next_bill)
            _told(alive, next_bill)
            next_bill += timedelta(days=chance.randint(1, MOST_DAYS_BETWEEN_BILLS), hours=7)
        if len(alive) < customers:
            arrival = Customer.arrives(f"year-{len(alive)}", random.Random(chance.random()), at)
            alive.append(arrival)
        else:
            chance.choice(alive).acts_at(at)
    kills += _bill(chance, LAST)
    _told(alive, LAST)
    differences = [f"seed {seed}: {said}" for said in _differences(alive)]
    invoices = ask("SELECT count(*) FROM invoicing_invoice")[0][0]
    notes = ask("SELECT count(*) FROM invoicing_creditnote")[0][0]
    return Outcome(invoices, notes, kills, differences)


def _open_for_business() -> None:
    """Load the catalogue, define coupons, and be a German issuer who charges German VAT."""
    with rls.ops_scope("prove: catalogue"):
        plans.load_catalog(parse_catalog(catalog(), source="year.json"), actor=ACTOR, at=FIRST)
        for rules in COUPONS.values():
            plans.define_coupon(rules, actor=ACTOR, at=FIRST)
        vat = TaxRules(
            code="de-vat",
            name="USt",
            kind="vat",
            percent=Decimal(GERMAN_VAT),
            country="DE",
            valid_from=date(2020, 1, 1),
        )
        plans.set_tax_rate(vat, actor=ACTOR, at=FIRST)
        issuer = tenant_selectors.billing_entity("default")
        assert issuer is not None
        tenants.change_billing_entity(
            issuer.public_id, changes={"country": "DE"}, actor=ACTOR, at=FIRST
        )


def _moments(chance: random.Random, customers: int) -> list[datetime]:
    """The moments at which somebody acts, the first of them in the first three months."""
    span = (LAST - FIRST) // timedelta(microseconds=1)
    early = {_rounded_sometimes(chance, chance.randint(0, span // 4)) for _ in range(customers)}
    rest = {chance.randint(span // 4 + 86_400_000_000, span) for _ in range(customers * 30)}
    return [FIRST + timedelta(microseconds=n) for n in (*sorted(early), *sorted(rest - early))]


def _rounded_sometimes(chance: random.Random, micros: int) -> int:
    day = 86_400_000_000
    return micros // day * day if chance.random() < 0.6 else micros


def _bill(chance: random.Random, at: datetime) -> int:
    """Bill what is due, killed on the way perhaps, and then undisturbed; return the kills."""
    kills = 0
    while chance.random() < 0.5:
        point = f"{chance.choice(POINTS)}:{chance.randint(1, 3)}"
        kills += processes.start(partial(_run, at, point)).wait() < 0
    if processes.start(partial(_run, at, "")).wait() != 0:
        raise RuntimeError(f"billing at {at} failed; see its traceback")
    return kills


def _told(alive: list[Customer], at: datetime) -> None:
    for customer in alive:
        customer.account.heal(at, over=customer.is_over)
        customer.account.bill(at)
        customer.account.pass_thresholds(at)


def _run(at: datetime, point: str) -> None:
    os.environ["FAULT_POINT"] = point
    logging.disable()
    invoicing.heal_usage(actor=ACTOR, at=at)
    invoicing.bill_due(as_of=at, actor=ACTOR, at=at)
    invoicing.bill_thresholds(actor=ACTOR, at=at)


def _differences(alive: list[Customer]) -> Iterator[str]:
    for customer in alive:
        wrong = list(_of_customer(customer))
        yield from wrong
        if wrong:
            yield "\n    ".join(["it was so:", *customer.acts])
    yield from (f"parked: {reason}" for (reason,) in ask("SELECT reason FROM invoicing_parked"))
    yield from (f"books: {finding.message}" for finding in books.verify().findings)


def _of_customer(customer: Customer) -> Iterator[str]:
    account, name = customer.account, f"{customer.organization}"
    yield from _of_bills(name, _stored(customer.organization), account.bills)
    notes = _notes(customer.organization)
    for moment in sorted({*notes, *account.notes}):
        if (made := notes.get(moment)) != (wanted := account.notes.get(moment)):
            yield f"{name}, credit note of {moment}: {made}, the oracle {wanted}"
    if (back := _paid_out(customer.organization)) != account.paid_out:
        yield f"{name} was paid {back} back, the oracle {account.paid_out}"
    if (left := _credit_of(customer.organization)) != (
        due := sum(grant.available for grant in account.credit)
    ):
        yield f"{name} has {left} of credit, the oracle {due}"


def _of_bills(
    name: str, stored: dict[datetime, Bill], wanted: dict[datetime, Bill]
) -> Iterator[str]:
    for moment, bill in wanted.items():
        found = stored.pop(moment, None)
        if found is None:
            if bill.lines:
                yield f"{name} at {moment}: no invoice, the oracle {bill}"
        elif found != bill:
            yield f"{name} at {moment}: {found}, the oracle {bill}"
    for moment, found in stored.items():
        yield f"{name} at {moment}: {found}, and nobody asked for it"


def _stored(organization: int) -> dict[datetime, Bill]:
    rows = ask(
        """
        SELECT coalesce(i.boundary_at, i.issued_at),
          array_agg(l.key || ' ' || l.kind), array_agg(l.amount),
          i.discount, i.tax, i.credits, i.total, i.amount_paid, i.credited
        FROM invoicing_invoice i JOIN invoicing_invoiceline l ON l.invoice_id = i.id
        WHERE i.organization_id = %s AND i.status <> 'draft'
          AND (i.status = 'paid') = (i.amount_paid + i.credited = i.total) GROUP BY i.id""",
        organization,
    )
    return {
        at: Bill(
            sorted((n, cents) for n, cents in zip(names, amounts, strict=True) if cents), *sums
        )
        for at, names, amounts, *sums in rows
    }


def _notes(organization: int) -> dict[datetime, Note]:
    rows = ask(
        """
        SELECT n.issued_at, array_agg(l.amount ORDER BY l.position),
          array_agg(l.tax ORDER BY l.position),
          n.offset_amount, n.credited_amount, n.refunded_amount
        FROM invoicing_creditnote n JOIN invoicing_creditnoteline l ON l.credit_note_id = n.id
        WHERE n.organization_id = %s GROUP BY n.id""",
        organization,
    )
    return {
        at: Note(list(zip(nets, taxes, strict=True)), *parts) for at, nets, taxes, *parts in rows
    }


def _paid_out(organization: int) -> int:
    query = "SELECT coalesce(sum(amount), 0) FROM payments_refund WHERE organization_id = %s"
    return int(ask(query, organization)[0][0])


def _credit_of(organization: int) -> int:
    query = "SELECT coalesce(sum(remaining), 0) FROM invoicing_creditgrant"
    return int(ask(f"{query} WHERE organization_id = %s", organization)[0][0])
