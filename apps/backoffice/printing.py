"""How commands print what several of them show."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from apps.core import clock
from apps.engine.decimals import places_of, plain
from apps.engine.money import Money, exponent
from apps.engine.period import iso
from apps.invoicing.document import Deduction, Document, Line, Tax
from apps.invoicing.models import Charge, Correction, Invoice
from apps.invoicing.paper.arithmetic import Sum, working
from apps.invoicing.paper.words import Words
from apps.invoicing.quoting import Quoted
from apps.seats.models import Seat
from apps.subscriptions.facts import ChangeFacts
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage.selectors import EvidenceEvent


def exact_money(exact: str, currency: str) -> str:
    """Write major units with all their decimals, and no fewer than the currency has: 6.30 EUR."""
    if "/" in exact:  # what no decimal can write
        return f"{exact} {currency}"
    value = Decimal(exact)
    return f"{value:.{max(places_of(value), exponent(currency))}f} {currency}"


def invoice_json(document: Document) -> dict[str, Any]:
    """Return an invoice as JSON values; amounts are whole minor units of `currency`."""
    return {
        "id": document.id or None,
        "number": document.number,
        "kind": document.kind,
        "status": document.status,
        "currency": document.currency,
        "subtotal": document.subtotal,
        "discount": document.discount,
        "tax": document.tax,
        "credits_total": document.credits_total,
        "total": document.total,
        "credited": document.credited,
        "amount_paid": document.amount_paid,
        "amount_due": document.amount_due,
        "period": document.period.as_dict(),
        "issued_at": iso(document.issued_at),
        "due_at": iso(document.due_at),
        "finalized_at": None if document.finalized_at is None else iso(document.finalized_at),
        "paid_at": None if document.paid_at is None else iso(document.paid_at),
        "voided_at": None if document.voided_at is None else iso(document.voided_at),
        "void_reason": document.void_reason,
        "organization": document.parties["customer"]["id"],
        "subscription": document.subscription_id,
        "timezone": document.timezone,
        "issuer": dict(document.parties["issuer"]),
        "customer": dict(document.parties["customer"]),
        "memo": document.note,
        "discounts": [_deduction_json(one) for one in document.discounts],
        "taxes": [_tax_json(one) for one in document.taxes],
        "credits": [_deduction_json(one) for one in document.credits],
        "lines": [line_json(line) for line in document.lines],
        "content_hash": document.content_hash,
    }


def kept_json(row: Invoice) -> dict[str, Any]:
    """Return why a draft has not been issued, as JSON values."""
    return {
        "hold_reason": row.hold_reason if row.is_held else None,
        "grace_until": None if row.grace_until is None else iso(row.grace_until),
    }


def _deduction_json(one: Deduction) -> dict[str, Any]:
    return {"name": one.name, "amount": one.amount}


def _tax_json(one: Tax) -> dict[str, Any]:
    return {
        "name": one.name,
        "percent": plain(one.percent),
        "jurisdiction": one.jurisdiction,
        "treatment": one.treatment,
        "ground": one.ground,
        "inclusive": one.inclusive,
        "base": one.base,
        "amount": one.amount,
    }


def line_json(line: Line) -> dict[str, Any]:
    """Return a line as JSON values, with its explanation."""
    return {
        "id": line.id or None,
        "key": line.key,
        "name": line.name,
        "kind": line.kind,
        "reason": line.reason,
        "period": line.period.as_dict(),
        "quantity": number_json(line.quantity),
        "unit": line.unit,
        "amount": line.amount,
        "discount": line.discount,
        "taxes": [_tax_json(one) for one in line.tax_rates],
        "explanation": dict(line.explanation),
    }


def subscription_json(slug: str, facts: SubscriptionFacts) -> dict[str, Any]:
    """Return a subscription as JSON values."""
    return {
        "id": facts.public_id,
        "organization": slug,
        "plan": facts.version.plan_code,
        "plan_version": facts.version.number,
        "status": facts.status,
        "collection": facts.collection,
        "currency": facts.agreement.currency,
        "timezone": facts.agreement.cycle.timezone,
        "start": iso(facts.started_at),
        "trial_end": None if facts.trial_end is None else iso(facts.trial_end),
        "next_invoice_at": iso(facts.next_boundary_at),
        "cancel_at": None if facts.cancel_at is None else iso(facts.cancel_at),
        "quantities": {
            key: number_json(value)
            for key, value in facts.quantities(max(clock.now(), facts.started_at)).items()
        },
    }


def seat_json(row: Seat) -> dict[str, Any]:
    """Return a seat as JSON."""
    return {
        "id": row.public_id,
        "person": row.email if row.user is None else row.user.email,
        "application": row.application.slug,
        "item": row.pool.item,
        "status": row.status,
        "since": iso(row.during.lower),
        "until": None if row.during.upper is None else iso(row.during.upper),
        "last_seen_at": None if row.last_seen_at is None else iso(row.last_seen_at),
        "because": row.because,
    }


def change_json(change: ChangeFacts) -> dict[str, Any]:
    """Return a change of a subscription, made or to come, as JSON values."""
    return {
        "id": change.public_id,
        "action": change.action,
        "arguments": dict(change.arguments),
        "behaviour": change.behaviour,
        "effective_at": iso(change.effective_at),
        "status": change.status,
        "reason": change.reason,
        "requested_by": change.requested_by,
        "quoted_amount": change.quoted_amount,
    }


def quote_json(quoted: Quoted) -> dict[str, Any]:
    """Return what a change would cost as JSON values; `amount` and `at` confirm it."""
    documents = {"now": quoted.now, "upcoming": quoted.upcoming, "before": quoted.before}
    return {
        "amount": quoted.amount.minor,
        "currency": quoted.amount.currency,
        "at": quoted.considered.at.isoformat(),
        "effective_at": iso(quoted.considered.effective_at),
        "behaviour": quoted.considered.behaviour.value,
        "bills_now": quoted.bills_now,
        "changes": quoted.considered.changes,
        **{name: one and invoice_json(one) for name, one in documents.items()},
    }


def charge_json(slug: str, row: Charge) -> dict[str, Any]:
    """Return a single charge as JSON values."""
    return {
        "id": row.public_id,
        "organization": slug,
        "name": row.name,
        "quantity": number_json(Decimal(row.quantity)),
        "unit_amount": plain(Decimal(row.unit_amount)),
        "amount": row.amount,
        "currency": row.currency,
        "withdrawn_at": None if row.withdrawn_at is None else iso(row.withdrawn_at),
    }


def waiting_again(row: Invoice, charges: Sequence[Charge]) -> list[str]:
    """Return what is to be said of charges whose invoice is void or gone: nothing without any."""
    if not charges:
        return []
    named = "; ".join(
        f"{one.name}, {Money(one.amount, one.currency)} ({one.public_id})" for one in charges
    )
    one = charges[0].public_id if len(charges) == 1 else "ID"
    return [
        f"Waiting for the next invoice again: {named}.",
        f"Run withdraw_charge {row.organization.slug} {one} to charge it no more.",
    ]


def counted(number: int, noun: str) -> str:
    """Return how many there are, in words: 1 line, 2 lines."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def number_json(value: Decimal) -> int | str:
    """Return a whole number as a JSON number, any other as a string: JSON's readers round."""
    return int(value) if value == value.to_integral_value() else plain(value)


def working_text(line: Line, words: Words) -> list[str]:
    """Return the arithmetic of a line as lines of text."""
    told = working(line, words)
    rows = [f"{told.title}: {told.amount}", f"  {told.period}"]
    for part in told.sums:
        rows += _sum_text(part)
    rows += [f"  {sentence}" for sentence in (*told.closing, *told.evidence)]
    return [*rows, f"  {told.source}"] if told.source else rows


def _sum_text(part: Sum) -> list[str]:
    rows = [f"  {text}" for text in (part.title, part.billable) if text]
    table = [part.head, *part.rows] if part.head else [*part.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))] if table else []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        rows.append("    " + "   ".join([row[0].ljust(widths[0]), *cells]))
    return rows


CORRECTION_HEADS = (
    "Correction", "Organization", "Invoice", "Line", ">Billed", ">Now", ">Difference", "Status",
)  # fmt: skip


def correction_row(row: Correction) -> tuple[str, ...]:
    """Return a correction as a table shows it; the difference is what discounts leave of it."""
    amounts = (row.amount_before, row.amount, row.net_difference)
    return (
        row.public_id,
        row.organization.slug,
        str(row.line.invoice.number),
        row.line.key,
        *(str(Money(minor, row.currency)) for minor in amounts),
        row.status,
    )


def correction_json(row: Correction) -> dict[str, Any]:
    """Return a correction as JSON values; amounts are whole minor units of `currency`."""
    return {
        "id": row.public_id,
        "organization": row.organization.slug,
        "invoice": row.line.invoice.number,
        "line": row.line.public_id,
        "key": row.line.key,
        "revision": row.revision,
        "status": row.status,
        "currency": row.currency,
        "quantity_before": number_json(Decimal(row.quantity_before)),
        "quantity": number_json(Decimal(row.quantity)),
        "amount_before": row.amount_before,
        "amount": row.amount,
        "difference": row.net_difference,
        "reason": row.reason,
        "found_at": iso(row.found_at),
        "explanation": row.explanation,
    }


def event_json(event: EvidenceEvent) -> dict[str, Any]:
    """Return an event under a line as JSON values; numbers in its data are exact."""
    return {
        "id": event.public_id,
        "source": event.source,
        "key": event.key,
        "type": event.type,
        "time": iso(event.occurred_at),
        "received_at": iso(event.received_at),
        "value": None if event.value is None else plain(event.value),
        "data": dict(event.data),
        "status": event.status,
    }
