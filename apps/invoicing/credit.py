"""Questions about credit: what an organization has, where it went, and its credit notes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import F, Prefetch, Q, QuerySet, Sum

from apps.core import ids
from apps.engine.period import Period
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.document import CREDIT_NOTE, Corrects, Document, Line, Tax
from apps.invoicing.errors import UnknownCreditNote, UnknownGrant
from apps.invoicing.models import (
    CreditGrant,
    CreditMovement,
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    RechargeRule,
)


@dataclass(frozen=True, slots=True)
class GrantFacts:
    """A grant with what is left of it. Amounts in minor units, `id` is the public one."""

    id: str
    kind: str
    name: str
    currency: str
    amount: int
    remaining: int
    priority: int
    granted_at: datetime
    expires_at: datetime | None
    line_kinds: tuple[str, ...]
    price_keys: tuple[str, ...]
    voided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Balance:
    """What an organization may use instead of paying, in one currency and minor units.

    `grants` are in the order in which they are used. `expiring_at` is when the next of them ends,
    `expiring` what is lost then.
    """

    currency: str
    available: int
    expiring_at: datetime | None
    expiring: int
    grants: tuple[GrantFacts, ...]


@dataclass(frozen=True, slots=True)
class MovementFacts:
    """One change of a grant; `invoice` is the number of the one that used it or gave it back."""

    id: str
    grant_id: str
    grant: str
    kind: str
    amount: int
    currency: str
    at: datetime
    invoice: str


def usable(at: datetime) -> QuerySet[CreditGrant]:
    """Return the grants that may pay at that instant, in the order in which they are used."""
    return CreditGrant.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=at), remaining__gt=0, voided_at=None
    ).order_by("priority", F("expires_at").asc(nulls_last=True), "granted_at", "id")


def credit_of(organization_id: int, *, at: datetime) -> list[Balance]:
    """Return the organization's credit by currency, those with something left."""
    return balances_of(usable(at).filter(organization_id=organization_id))


def balances_of(grants: Iterable[CreditGrant]) -> list[Balance]:
    """Return what grants that may be used come to, by currency; they come in their order."""
    found: dict[str, list[CreditGrant]] = {}
    for row in grants:
        found.setdefault(row.currency, []).append(row)
    return [_balance(currency, rows) for currency, rows in sorted(found.items())]


def _balance(currency: str, rows: Sequence[CreditGrant]) -> Balance:
    ends = min((row.expires_at for row in rows if row.expires_at), default=None)
    return Balance(
        currency,
        sum(row.remaining for row in rows),
        ends,
        sum(row.remaining for row in rows if ends is not None and row.expires_at == ends),
        tuple(grant_facts(row) for row in rows),
    )


def grant_facts(row: CreditGrant) -> GrantFacts:
    """Return a grant as doors show it."""
    return GrantFacts(
        row.public_id,
        row.kind,
        row.name,
        row.currency,
        row.amount,
        row.remaining,
        row.priority,
        row.granted_at,
        row.expires_at,
        tuple(row.line_kinds),
        tuple(row.price_keys),
        row.voided_at,
    )


def grants_of(organization_id: int) -> list[GrantFacts]:
    """Return every grant that the organization ever had, newest first."""
    rows = CreditGrant.objects.filter(organization_id=organization_id).order_by("-id")
    return [grant_facts(row) for row in rows]


def has_grant(organization_id: int, source: str) -> bool:
    """Tell whether credit was granted of this cause."""
    source = source.strip()
    rows = CreditGrant.objects.filter(organization_id=organization_id, source=source)
    return bool(source) and rows.exists()


def get_grant(reference: str, *, organization_id: int | None = None) -> CreditGrant:
    """Return the grant with this public id (of the organization), or raise UnknownGrant."""
    rows = CreditGrant.objects.filter(public_id=reference)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownGrant(f"There is no credit grant '{reference}'.")
    return found


def movements_of(
    organization_id: int, *, grant: str = "", before: str = "", limit: int = 100
) -> list[MovementFacts]:
    """Return what moved the organization's credit, newest first: all of it, or of one grant.

    `before` is the public id of the last one on the page before.
    """
    rows = CreditMovement.objects.filter(organization_id=organization_id)
    if grant:
        rows = rows.filter(grant__public_id=grant)
    if before:
        last = rows.filter(public_id=before).values_list("pk", flat=True).first()
        rows = rows.filter(pk__lt=last) if last is not None else rows.none()
    rows = rows.select_related("grant", "invoice").order_by("-id")[:limit]
    return [
        MovementFacts(
            row.public_id,
            row.grant.public_id,
            row.grant.name,
            row.kind,
            row.amount,
            row.grant.currency,
            row.at,
            "" if row.invoice is None else str(row.invoice.number),
        )
        for row in rows
    ]


def available(organization_ids: Collection[int], at: datetime) -> dict[tuple[int, str], int]:
    """Return what may be used, in minor units by (organization, currency), in one statement."""
    rows = usable(at).filter(organization_id__in=organization_ids).order_by()
    found = rows.values_list("organization_id", "currency").annotate(left=Sum("remaining"))
    return {(organization, currency): int(left) for organization, currency, left in found}


def holders(organization_ids: Collection[int]) -> set[tuple[int, str]]:
    """Return which of the organizations ever had credit, each with its currencies."""
    rows = CreditGrant.objects.filter(organization_id__in=organization_ids).order_by()
    return set(rows.values_list("organization_id", "currency").distinct())


def on_order(organization_id: int, currency: str) -> int:
    """Return what credit was bought and is not paid yet, in minor units."""
    rows = InvoiceLine.objects.filter(
        organization_id=organization_id,
        kind=CREDIT_PURCHASE,
        live=True,
        invoice__currency=currency,
        invoice__status__in=[Invoice.Status.DRAFT, Invoice.Status.OPEN],
    )
    return sum(row.amount - row.credited for row in rows)


def recharge_rules(organization_id: int) -> Sequence[RechargeRule]:
    """Return the rules in force, one a currency at most."""
    rows = RechargeRule.objects.filter(organization_id=organization_id, active=True)
    return list(rows.order_by("currency"))


# --- credit notes ---------------------------------------------------------------------------------
def get_credit_note(reference: str, *, organization_id: int | None = None) -> CreditNote:
    """Return the note with this number or public id (of the organization), or raise."""
    field = "public_id" if ids.is_public_id(reference, "cn") else "number"
    rows = with_note_lines(CreditNote.objects.filter(**{field: reference}))
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownCreditNote(f"There is no credit note '{reference}'.")
    return found


def with_note_lines(rows: QuerySet[CreditNote]) -> QuerySet[CreditNote]:
    """Return the query with what `credit_note_document` needs, in two statements."""
    lines = CreditNoteLine.objects.select_related("line").order_by("position")
    return rows.select_related("invoice__subscription").prefetch_related(Prefetch("lines", lines))


def credit_notes_of(organization_id: int, *, limit: int = 100) -> Sequence[CreditNote]:
    """Return the organization's credit notes with their lines, newest first."""
    rows = with_note_lines(CreditNote.objects.filter(organization_id=organization_id))
    return list(rows.order_by("-issued_at", "-id")[:limit])


def credit_notes_of_invoice(invoice_id: int) -> Sequence[CreditNote]:
    """Return the notes of an invoice (its integer id), oldest first."""
    return list(with_note_lines(CreditNote.objects.filter(invoice_id=invoice_id)).order_by("id"))


def line_ids(invoice: str) -> dict[str, str]:
    """Return the ids of an invoice's lines by their position, as people count them."""
    field = "invoice__public_id" if ids.is_public_id(invoice, "inv") else "invoice__number"
    rows = InvoiceLine.objects.filter(**{field: invoice}).values_list("position", "public_id")
    return {str(position): line for position, line in rows}


def credit_note_document(
    row: CreditNote, lines: Sequence[CreditNoteLine] | None = None
) -> Document:
    """Return a credit note as a document, with positive amounts and its lines net of tax.

    `lines` are those of a note that is not stored yet.
    """
    invoice = row.invoice
    period = Period(invoice.period.lower, invoice.period.upper)
    found = list(row.lines.all()) if lines is None else lines
    return Document(
        id=row.public_id,
        number=row.number,
        status="issued",
        organization_id=row.organization_id,
        subscription_id=None if invoice.subscription is None else invoice.subscription.public_id,
        currency=row.currency,
        subtotal=row.subtotal,
        total=row.total,
        amount_paid=0,
        amount_due=0,
        period=period,
        issued_at=row.issued_at,
        due_at=row.issued_at,
        timezone=row.timezone,
        locale=row.locale,
        parties=row.parties,
        lines=tuple(_note_line(one) for one in sorted(found, key=lambda one: one.position)),
        content_hash=row.content_hash,
        finalized_at=row.issued_at,
        kind=CREDIT_NOTE,
        tax=row.tax,
        taxes=tuple(as_tax(said) for said in row.taxes),
        corrects=Corrects(str(invoice.number), invoice.issued_at),
        note=row.memo,
    )


def _note_line(row: CreditNoteLine) -> Line:
    line = row.line
    return Line(
        row.public_id,
        line.key,
        line.kind,
        "credited",
        row.name,
        Period(line.during.lower, line.during.upper),
        Decimal(1),
        row.amount,
        {name: said for name, said in row.explanation.items() if name != "taxes"},
        tax_rates=tuple(as_tax(said) for said in row.explanation.get("taxes", [])),
    )


def as_tax(said: dict[str, Any]) -> Tax:
    """Return a stored tax as documents show it."""
    return Tax(**{name: part for name, part in said.items() if name != "percent"} | _percent(said))


def _percent(said: dict[str, Any]) -> dict[str, Any]:
    return {"percent": Decimal(said["percent"])}
