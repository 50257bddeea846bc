"""Credit notes: taking back part of a final invoice, which itself never changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db import transaction

from apps.core import outbox
from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.engine.credit_notes import Standing, TakenBack, of_amounts, of_total
from apps.engine.credits import Creditable, CreditTooLarge
from apps.engine.decimals import plain
from apps.engine.money import InvalidAmount, Money, apportion, round_half_away
from apps.invoicing import credit
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.document import Tax
from apps.invoicing.errors import NotCreditable
from apps.invoicing.events import CreditNoteIssued
from apps.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, InvoiceTax
from apps.invoicing.services import grants
from apps.invoicing.services.booking import (
    CASH,
    CREDIT,
    RECEIVABLE,
    REVENUE,
    TAX,
    WRITE_OFF,
    Movement,
    book,
)
from apps.invoicing.services.finding import find_and_lock, lock, money, record
from apps.invoicing.services.issuing import take_numbers
from apps.invoicing.services.paying import settle

SERIES = "credit_note"
NEVER = (Invoice.Status.DRAFT, Invoice.Status.VOID)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteLine:
    """What to take back of a line (its public id): an `amount` in major units as the line shows it,
    before discount and before tax on top, or a `quantity` of it, or neither: all that is left.
    """

    line: str
    amount: Decimal | None = None
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Where a note's total goes, in major units: `offset` lowers what is due, `credit` becomes the
    customer's credit, `refund` is paid back.

    What is not said: as much as possible is offset, the rest becomes credit.
    """

    offset: Decimal | None = None
    credit: Decimal | None = None
    refund: Decimal | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The same in minor units; the three make the note's total."""

    offset: int
    credit: int
    refund: int


@dataclass(frozen=True, slots=True)
class _Before:
    """What earlier notes took back of an invoice, in minor units: whole, and as money or credit."""

    total: int
    given: int
    refunded: int


@transaction.atomic
def issue_credit_note(
    reference: str,
    *,
    reason: str,
    actor: Actor,
    at: datetime,
    lines: Sequence[NoteLine] = (),
    total: Decimal | None = None,
    memo: str = "",
    split: Split | None = None,
) -> CreditNote:
    """Take back part of a final invoice: `lines`, or a `total` in major units with its tax that is
    spread over the lines by what is left of them, or, with neither, all that is left.

    Net and tax are rounded apart. Never more than is left of the invoice and of each line; no more
    is paid back or kept as credit than was paid. An invoice that has nothing due any more is paid.
    A note is final at once. Emits CreditNoteIssued. Raises UnknownInvoice, Forbidden, Invalid and
    NotCreditable; the lock of the invoice makes the second of two see what the first left.
    """
    row = find_and_lock(reference, actor=actor, capability="manage_invoices")
    _check(row, reason)
    before = _before(row)
    taken = _taken(row, lines, total, before)
    note, parts = _note(row, taken, memo, reason, actor=actor, at=at)
    found = _split(row, note.total, split or Split(), before)
    note.offset_amount, note.credited_amount = found.offset, found.credit
    note.refunded_amount = found.refund
    recovered = _lower_write_off(row, note.offset_amount)
    book(_booked(row, note, _purchased(parts), recovered))
    if note.credited_amount:
        name = f"Credit from {row}"
        grants.keep(row, note.credited_amount, name=name, source=note.public_id, actor=actor, at=at)
    _tell(row, note, actor, at)
    _store(row, note, parts)
    settle(lock(row.pk), actor=actor, at=at)
    return note


def _check(row: Invoice, reason: str) -> None:
    if reason not in CreditNote.Reason.values:
        known = ", ".join(CreditNote.Reason.values)
        raise Invalid(f"A credit note says why: {known}.", param="reason")
    if row.status in NEVER:
        raise NotCreditable(f"Invoice {row} is {row.status}; only a final one is credited.")
    bought = row.lines.filter(kind=CREDIT_PURCHASE).exists()
    if bought and row.status == Invoice.Status.PAID:
        raise NotCreditable(
            f"What {row} billed is the customer's credit by now; withdraw what is left of that."
        )


def _before(row: Invoice) -> _Before:
    notes = CreditNote.objects.filter(organization_id=row.organization_id, invoice=row)
    found = notes.values_list("total", "credited_amount", "refunded_amount")
    total, credited, refunded = map(sum, zip(*found, strict=True)) if found else (0, 0, 0)
    return _Before(total, credited + refunded, refunded)


def _taken(
    row: Invoice, wanted: Sequence[NoteLine], total: Decimal | None, before: _Before
) -> list[tuple[InvoiceLine, TakenBack]]:
    """Return what the note takes back of which line, in the invoice's order."""
    rows = list(row.lines.order_by("position"))
    standings = _standings(row, rows)
    left = Money(
        row.subtotal - row.discount + row.tax - row.tax_included - before.total, row.currency
    )
    if left.minor <= 0:
        raise NotCreditable(f"Nothing is left of {row} to be credited.")
    if wanted and total is not None:
        raise Invalid("Say lines, or a total that is spread over them.", param="total")
    try:
        if wanted:
            found = of_amounts(standings, _amounts(row, wanted, rows, standings))
        else:
            asked = left if total is None else Money.of(total, row.currency)
            found = of_total(standings, asked)
    except CreditTooLarge as error:
        raise NotCreditable(f"{error} on {row}.") from error
    except (InvalidAmount, ValueError) as error:
        raise Invalid(_sentence(error), param="amount") from error
    sum_ = Money(sum(one.total for one in found), row.currency)
    if sum_ > left:
        raise NotCreditable(f"{sum_} is more than is left of {row}: {left}.")
    if not sum_.minor:
        raise NotCreditable(f"This takes nothing back of {row}.")
    by_id = {one.id: one for one in found}
    return [(line, by_id[line.public_id]) for line in rows if line.public_id in by_id]


def _standings(row: Invoice, rows: Sequence[InvoiceLine]) -> list[Standing]:
    """Return the lines with what earlier notes took back of them."""
    amounts: defaultdict[int, int] = defaultdict(int)
    taxes: defaultdict[int, int] = defaultdict(int)
    for one in CreditNoteLine.objects.filter(
        organization_id=row.organization_id, credit_note__invoice=row
    ):
        amounts[one.line_id] += int(one.explanation["amount_minor"])
        taxes[one.line_id] += one.tax
    return [
        Standing(
            Creditable(
                line.public_id,
                Money(line.amount, row.currency),
                Fraction(line.discount),
                Money(line.tax, row.currency),
                Money(line.tax_included, row.currency),
                Money(amounts[line.pk], row.currency),
            ),
            net=line.credited,
            tax=taxes[line.pk],
        )
        for line in rows
    ]


def _amounts(
    row: Invoice,
    wanted: Sequence[NoteLine],
    rows: Sequence[InvoiceLine],
    standings: Sequence[Standing],
) -> dict[str, Money]:
    """Return what is asked of each line, in money before discount."""
    lines = {line.public_id: line for line in rows}
    left = {standing.line.id: standing.line.left for standing in standings}
    found: dict[str, Money] = {}
    for one in wanted:
        line = lines.get(one.line)
        if line is None:
            raise NotCreditable(f"{row} has no line '{one.line}'.", param="lines")
        if one.line in found:
            raise Invalid("Name each line once.", param="lines")
        if line.amount <= 0:
            raise NotCreditable(f"{line.name} is a credit itself.", param="lines")
        found[one.line] = _amount(one, line, left[one.line])
        if not found[one.line].minor:
            raise NotCreditable(f"Nothing is left of {line.name} on {row}.", param="lines")
        if found[one.line] > left[one.line]:
            raise NotCreditable(
                f"{found[one.line]} is more than is left of line {line.position} of {row},"
                f" {line.name}: {left[one.line]}.",
                param="lines",
            )
    return found


def _sentence(error: Exception) -> str:
    """Return what the engine says as people write it."""
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."


def _amount(wanted: NoteLine, line: InvoiceLine, left: Money) -> Money:
    if wanted.amount is not None and wanted.quantity is not None:
        raise Invalid("Say an amount or a quantity of a line, not both.", param="lines")
    if wanted.amount is not None:
        return Money.of(wanted.amount, left.currency)
    if wanted.quantity is None:
        return left
    if not 0 < wanted.quantity <= line.quantity:
        raise NotCreditable(f"{line.name} billed {plain(Decimal(line.quantity))}.", param="lines")
    share = Fraction(wanted.quantity) / Fraction(line.quantity)
    return Money(round_half_away(line.amount * share), left.currency)


def _note(
    row: Invoice,
    taken: Sequence[tuple[InvoiceLine, TakenBack]],
    memo: str,
    reason: str,
    *,
    actor: Actor,
    at: datetime,
) -> tuple[CreditNote, list[CreditNoteLine]]:
    note = CreditNote(
        organization_id=row.organization_id,
        billing_entity=row.billing_entity,
        invoice=row,
        series=SERIES,
        currency=row.currency,
        reason=reason,
        memo=memo.strip()[:500],
        subtotal=sum(one.net for _, one in taken),
        tax=sum(one.tax for _, one in taken),
        total=sum(one.total for _, one in taken),
        parties=row.parties,
        timezone=row.timezone,
        locale=row.locale,
        issued_at=at,
        issued_by=actor.id,
    )
    rates = list(row.taxes.order_by("position"))
    parts = [
        CreditNoteLine(
            organization_id=row.organization_id,
            credit_note=note,
            line=line,
            position=position,
            name=line.name,
            amount=one.net,
            tax=one.tax,
            explanation={
                **one.as_dict(),
                "currency": row.currency,
                "line": line.public_id,
                "line_amount_minor": line.amount,
                "taxes": [_said(tax) for tax in _taxes(row, line, one, rates)],
            },
        )
        for position, (line, one) in enumerate(taken, 1)
    ]
    note.taxes = [_said(tax) for tax in _summed(row, note, parts, rates)]
    return note, parts


def _taxes(
    row: Invoice, line: InvoiceLine, taken: TakenBack, rates: Sequence[InvoiceTax]
) -> list[Tax]:
    """Share the tax that is taken back of a line out among its rates, as they made it."""
    settled = row.settlement.get("lines", [])
    said = settled[line.position - 1]["taxes"] if settled else []
    known = {rate.rate: rate for rate in rates}
    whole = sum(part["minor"] for part in said)
    exact = [Fraction(part["minor"] * taken.tax, whole) if whole else Fraction(0) for part in said]
    shares = apportion(exact, taken.tax if whole else 0)
    return [
        _tax(known[part["rate"]], taken.net, minor)
        for part, minor in zip(said, shares, strict=True)
    ]


def _tax(rate: InvoiceTax, base: int, amount: int) -> Tax:
    """The lines of a note are net, so its taxes are never inside them."""
    return Tax(
        name=rate.name,
        percent=Decimal(rate.percent),
        base=base,
        amount=amount,
        jurisdiction=rate.jurisdiction,
        treatment=rate.treatment,
        kind=rate.kind,
        ground=rate.ground,
    )


def _summed(
    row: Invoice,
    note: CreditNote,
    parts: Sequence[CreditNoteLine],
    rates: Sequence[InvoiceTax],
) -> Iterable[Tax]:
    """Return the note's taxes by rate; a tax that the invoice only named is named again."""
    found: dict[tuple[object, ...], Tax] = {}
    for said in (tax for part in parts for tax in part.explanation["taxes"]):
        tax = credit.as_tax(said)
        key = (tax.name, tax.percent, tax.jurisdiction, tax.treatment)
        before = found.get(key)
        found[key] = tax if before is None else _added(before, tax)
    named = [_tax(rate, note.subtotal, 0) for rate in rates if not rate.rate]
    return [*found.values(), *named]


def _added(tax: Tax, other: Tax) -> Tax:
    return replace(tax, base=tax.base + other.base, amount=tax.amount + other.amount)


def _said(tax: Tax) -> dict[str, Any]:
    return asdict(tax) | {"percent": plain(tax.percent)}


def _split(row: Invoice, total: int, wanted: Split, before: _Before) -> _Parts:
    """Return where the total goes, or raise NotCreditable."""
    said = {
        name: None if amount is None else _minor(amount, row.currency)
        for name, amount in asdict(wanted).items()
    }
    credited, refund = said["credit"], said["refund"] or 0
    offset = said["offset"]
    if offset is None:
        offset = min(total - refund - (credited or 0), row.amount_due)
    if credited is None:
        credited = total - refund - offset
    _check_split(row, _Parts(offset, credited, refund), total, before)
    return _Parts(offset, credited, refund)


def _check_split(row: Invoice, parts: _Parts, total: int, before: _Before) -> None:
    if min(parts.offset, parts.credit, parts.refund) < 0 or total != (
        parts.offset + parts.credit + parts.refund
    ):
        due, whole = Money(row.amount_due, row.currency), Money(total, row.currency)
        raise NotCreditable(
            f"Offset, credit and refund make the {whole} of the note; {due} of {row} is due and "
            "can be offset."
        )
    if parts.offset > row.amount_due:
        due = Money(row.amount_due, row.currency)
        raise NotCreditable(f"Only {due} is due on {row}; no more can be offset.", param="offset")
    if parts.refund > row.amount_paid - before.refunded:
        paid = Money(row.amount_paid - before.refunded, row.currency)
        raise NotCreditable(f"Only {paid} of what was paid on {row} can be refunded.")
    if parts.credit + parts.refund > row.amount_paid + max(row.credits, 0) - before.given:
        raise NotCreditable(f"{row} is not paid that far; offset what is due on it first.")


def _minor(amount: Decimal, currency: str) -> int:
    try:
        return Money.of(amount, currency).minor
    except InvalidAmount as error:
        raise Invalid(_sentence(error), param="split") from error


def _lower_write_off(row: Invoice, offset: int) -> int:
    """Of an invoice that was given up, what is offset is no loss any more; return how much."""
    recovered = min(offset, row.written_off)
    if recovered:
        row.written_off -= recovered
        row.save(update_fields=["written_off"])
    return recovered


def _purchased(parts: Sequence[CreditNoteLine]) -> int:
    return sum(part.amount for part in parts if part.line.kind == CREDIT_PURCHASE)


def _booked(row: Invoice, note: CreditNote, purchased: int, recovered: int) -> Movement:
    """What was earned and owed in tax less; the customer owes less, or we owe the customer.

    A refund is owed until `record_refund` pays it. Bought credit was never revenue.
    """
    moved = {
        REVENUE: note.subtotal - purchased,
        TAX: note.tax,
        RECEIVABLE: recovered - note.offset_amount,
        WRITE_OFF: -recovered,
        CREDIT: purchased - note.credited_amount - note.refunded_amount,
    }
    return Movement(
        row.organization_id, row.currency, note.public_id, "credited", note.issued_at, moved
    )


def _tell(row: Invoice, note: CreditNote, actor: Actor, at: datetime) -> None:
    said = {"reason": note.reason, "credit_note": note.public_id}
    record(row, "invoice.credited", actor, at, after=said | money(note.total, row.currency))
    fact = CreditNoteIssued(note.public_id, row.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def _store(row: Invoice, note: CreditNote, parts: Sequence[CreditNoteLine]) -> None:
    """Take the number, which comes last, seal the note and write it."""
    point("credit_note.before_number")
    note.sequence = take_numbers(row.billing_entity_id, SERIES)
    note.number = f"{row.billing_entity.credit_note_prefix}-{note.sequence:06d}"
    note.content_hash = credit.credit_note_document(note, parts).hash()
    note.save(force_insert=True)
    CreditNoteLine.objects.bulk_create(parts)


@transaction.atomic
def pay_out(
    credit_note_id: int, *, amount: int, refund: str, actor: Actor, at: datetime
) -> CreditNote:
    """Count money that went back (minor units, the refund's public id) against a note's promise.

    The payments room calls this, once a refund, holding the invoice's lock; the booking's unique
    cause makes a second call for the same refund impossible.
    """
    note = CreditNote.objects.select_related("invoice").get(pk=credit_note_id)
    moved: Mapping[str, int] = {CREDIT: amount, CASH: -amount}
    book(Movement(note.organization_id, note.currency, refund, "refunded", at, moved))
    said = {"credit_note": note.public_id, "refund": refund}
    record(note.invoice, "invoice.refunded", actor, at, after=said | money(amount, note.currency))
    return note
