"""From reckoned lines to the rows of a draft."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.types.range import TimestamptzRange

from apps.core import bulk
from apps.core.actor import Actor
from apps.engine.period import Period
from apps.engine.values import value_class
from apps.invoicing import selectors
from apps.invoicing.composition import Composed, covered
from apps.invoicing.models import Invoice, InvoiceDiscount, InvoiceLine, InvoiceTax
from apps.invoicing.reckoning import Reckoned
from apps.subscriptions import services as subscriptions

if TYPE_CHECKING:
    from apps.tenants.models import Organization


@value_class(frozen=True, slots=True)
class Bill:
    """Everything that a draft is made of.

    `boundary_at` and `boundary_index` name the subscription's boundary where there is one.
    """

    organization: Organization
    reckoned: Reckoned
    kind: str
    issued_at: datetime
    due_at: datetime
    timezone: str
    collection: str = "manual"
    subscription_id: int | None = None
    boundary_at: datetime | None = None
    boundary_index: int | None = None
    revision: int = 0
    memo: str = ""


@dataclass(slots=True)
class Drafted:
    """An invoice's rows as they were written, so that nothing has to be read again.

    The invoice's own is stored only when it is kept as a draft, or issued.
    """

    row: Invoice
    lines: list[InvoiceLine]
    taxes: list[InvoiceTax]
    discounts: list[InvoiceDiscount]
    reckoned: Reckoned


def write(bills: Sequence[Bill], *, actor: Actor, at: datetime) -> list[Drafted]:
    """Store all of the bills but the invoices themselves, which get their keys only: they are to be
    stored as drafts (`keep`) or final (`issuing.issue`). Four statements, however many they are.

    Coupons that come off once are spent; a draft that is thrown away gives them back.
    """
    rows = [_invoice(bill) for bill in bills]
    bulk.promise_keys(rows)
    drafted = [_drafted(row, bill.reckoned) for row, bill in zip(rows, bills, strict=True)]
    _write_parts(drafted)
    used = {
        turn.discount.id
        for bill in bills
        for turn in bill.reckoned.settlement.discounts
        if turn.amount
    }
    if used:
        known = [facts for bill in bills for facts in bill.reckoned.conditions.discounts]
        spent = {facts.id for facts in known if facts.public_id in used}
        subscriptions.spend_discounts(spent, actor=actor, at=at)
    return drafted


def keep(drafted: Iterable[Drafted]) -> None:
    """Store as drafts what `write` has prepared."""
    bulk.insert(draft.row for draft in drafted)


def rewrite(row: Invoice, reckoned: Reckoned) -> Drafted:
    """Replace what a draft bills, which keeps its id; the rows of the old state go."""
    for part in (InvoiceLine, InvoiceTax, InvoiceDiscount):
        part.objects.filter(organization_id=row.organization_id, invoice=row).delete()
    drafted = _drafted(row, reckoned)
    _put_sums(row, reckoned)
    row.save(update_fields=[*_SUMS, "period", "settlement"])
    _write_parts([drafted])
    return drafted


_SUMS = ("subtotal", "discount", "tax", "tax_included", "credits", "total")


def _put_sums(row: Invoice, reckoned: Reckoned) -> None:
    sums = reckoned.settlement.totals
    row.subtotal, row.discount = sums.subtotal.minor, sums.discount.minor
    row.tax, row.tax_included = sums.tax.minor, sums.tax_included.minor
    row.credits, row.total = reckoned.credits, reckoned.total
    row.settlement = reckoned.settlement.as_dict()
    row.period = as_range(covered(reckoned.lines))


def _invoice(bill: Bill) -> Invoice:
    organization, standing = bill.organization, bill.reckoned.conditions.standing
    row = bulk.row(
        Invoice,
        {
            "organization_id": organization.pk,
            "billing_entity_id": organization.billing_entity_id,
            "subscription_id": bill.subscription_id,
            "kind": bill.kind,
            "currency": bill.reckoned.currency,
            "collection": bill.collection,
            "timezone": bill.timezone,
            "locale": organization.locale,
            "boundary_at": bill.boundary_at,
            "boundary_index": bill.boundary_index,
            "revision": bill.revision,
            "issued_at": bill.issued_at,
            "due_at": bill.due_at,
            "parties": selectors.parties(organization, seller_tax_id=standing.seller_tax_id),
            "memo": bill.memo,
        },
    )
    row.organization, row.billing_entity = organization, organization.billing_entity
    _put_sums(row, bill.reckoned)
    return row


def _drafted(row: Invoice, reckoned: Reckoned) -> Drafted:
    return Drafted(
        row,
        [_line(row, line, n, reckoned) for n, line in enumerate(reckoned.lines)],
        [
            InvoiceTax(
                organization_id=row.organization_id,
                invoice=row,
                rate=_rate_of(reckoned, n),
                name=said.name,
                percent=said.percent,
                kind=said.kind,
                jurisdiction=said.jurisdiction,
                treatment=said.treatment,
                ground=said.ground,
                inclusive=said.inclusive,
                base=said.base,
                amount=said.amount,
                position=n,
            )
            for n, said in enumerate(reckoned.taxes(), 1)
            if said.treatment != "none"
        ],
        list(_discounts(row, reckoned)),
        reckoned,
    )


def _rate_of(reckoned: Reckoned, position: int) -> str:
    rates = reckoned.conditions.rates
    return rates[position - 1].public_id if rates else ""


def _discounts(row: Invoice, reckoned: Reckoned) -> Iterable[InvoiceDiscount]:
    facts = {facts.public_id: facts for facts in reckoned.conditions.discounts}
    taken = [turn for turn in reckoned.settlement.discounts if turn.amount]
    for position, turn in enumerate(taken, 1):
        said = facts[turn.discount.id]
        yield InvoiceDiscount(
            organization_id=row.organization_id,
            invoice=row,
            discount=said.public_id,
            coupon=said.coupon.code,
            name=said.coupon.name,
            amount=turn.amount.minor,
            position=position,
        )


def _line(row: Invoice, line: Composed, index: int, reckoned: Reckoned) -> InvoiceLine:
    settled = reckoned.settlement.lines[index]
    return bulk.row(
        InvoiceLine,
        {
            "organization_id": row.organization_id,
            "invoice_id": row.pk,
            "item_id": line.item_id,
            "step_id": line.step_id,
            "price_id": line.price_id,
            "charge_id": line.charge_id,
            "corrects_id": line.corrects_id,
            "revision": line.revision,
            "position": index + 1,
            "key": line.key,
            "kind": line.kind,
            "reason": line.reason,
            "name": line.name,
            "during": as_range(line.period),
            "quantity": line.quantity,
            "amount": line.amount.minor,
            "discount": int(settled.discount),
            "tax": settled.tax.minor,
            "tax_included": settled.taxed.included.minor,
            "explanation": line.explanation,
            "usage_epoch": line.usage_epoch,
            "usage_snapshot": line.usage_snapshot,
        },
    )


def _write_parts(drafted: Sequence[Drafted]) -> None:
    bulk.insert(line for draft in drafted for line in draft.lines)
    bulk.insert(tax for draft in drafted for tax in draft.taxes)
    bulk.insert(one for draft in drafted for one in draft.discounts)


def as_range(period: Period) -> TimestamptzRange:
    """Return a period as a column's value."""
    return TimestamptzRange(period.start, period.end, "[)")
