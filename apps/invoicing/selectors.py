"""Questions about what is owed, and the one composition that previews and bills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Prefetch, Q, QuerySet, Sum

from apps.core import ids
from apps.engine.invoice import (
    BilledKey,
    Measured,
    Proposal,
    Reason,
    Window,
    propose,
    subtract_billed,
    totals,
    windows_needed,
)
from apps.engine.period import Period
from apps.invoicing.document import Document, Line
from apps.invoicing.errors import UnknownInvoice
from apps.invoicing.models import Invoice, InvoiceLine, LedgerEntry, Parked
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import selectors as tenants
from apps.usage import selectors as usage

if TYPE_CHECKING:
    from apps.tenants.models import Organization

UPCOMING = "upcoming"


@dataclass(frozen=True, slots=True)
class Composed:
    """A line that a boundary bills: the engine's proposal, its words, and the usage it counted."""

    proposal: Proposal
    name: str
    price_id: int
    explanation: dict[str, Any]
    usage_epoch: int | None
    usage_snapshot: str

    def line(self, line_id: str = "") -> Line:
        """Return the line as documents show it."""
        return Line(
            line_id,
            self.proposal.key,
            self.proposal.kind,
            self.proposal.reason,
            self.name,
            self.proposal.period,
            self.proposal.quantity,
            self.proposal.amount.minor,
            self.explanation,
        )


def compose(facts: SubscriptionFacts, boundary: int) -> list[Composed]:
    """Return every line that the boundary bills and no standing invoice bills yet.

    The invoice run and every preview call this and nothing else: a quote and a bill cannot differ.
    Measures the usage of the period behind the boundary as it stands now.
    """
    measured = _measure(facts, windows_needed(facts.agreement, boundary))
    counted = {window: _counted(found) for window, found in measured.items()}
    proposals = propose(facts.agreement, boundary, counted)
    left = subtract_billed(proposals, billed_keys(facts, boundary))
    return [_composed(facts, proposal, measured) for proposal in left]


def _measure(facts: SubscriptionFacts, windows: Sequence[Window]) -> dict[Window, usage.Measured]:
    wants = [usage.Want(w.meter, w.period.start, w.period.end) for w in windows]
    return dict(zip(windows, usage.measure(facts.organization_id, wants), strict=True))


def _counted(found: usage.Measured) -> Measured:
    evidence = {"value_count": found.value_count, "events_hash": found.hash}
    return Measured(found.quantity, found.event_count, evidence)


def _composed(
    facts: SubscriptionFacts, proposal: Proposal, measured: dict[Window, usage.Measured]
) -> Composed:
    item = facts.item(proposal.item_id)
    explanation = {
        "plan": facts.version.plan_code,
        "plan_version": facts.version.number,
        "price": item.price.public_id,
        "agreed_with_customer": item.agreed,
        **proposal.explain(),
    }
    counted = None
    if item.item.meter is not None:
        counted = measured[Window(item.id, item.item.meter, proposal.window)]
        explanation["meter"] = item.item.meter
        explanation["unit"] = item.price.unit
    return Composed(
        proposal=proposal,
        name=item.price.name,
        price_id=item.price.id,
        explanation=explanation,
        usage_epoch=None if counted is None else counted.epoch,
        usage_snapshot="" if counted is None else counted.snapshot,
    )


def billed_keys(facts: SubscriptionFacts, boundary: int) -> set[BilledKey]:
    """Return the keys of the standing lines that touch the two periods around the boundary."""
    rows = InvoiceLine.objects.filter(
        organization_id=facts.organization_id,
        item_id__in=[item.id for item in facts.items],
        live=True,
    ).values_list("item_id", "kind", "during", "step_id")
    return {
        BilledKey(item_id, kind, during.lower, during.upper, step_id)
        for item_id, kind, during, step_id in rows.filter(during__overlap=_around(facts, boundary))
    }


def _around(facts: SubscriptionFacts, boundary: int) -> tuple[datetime, datetime]:
    cycle = facts.agreement.cycle
    return cycle.boundary(max(0, boundary - 1)), cycle.boundary(boundary + 1)


def upcoming(subscription_id: str, *, at: datetime) -> Document | None:
    """Return the next invoice of a subscription as it would be with the usage so far.

    None for one that has ended or is paused, or when the next boundary bills nothing.
    """
    return upcoming_of(subscriptions.get(subscription_id))


def upcoming_of(facts: SubscriptionFacts) -> Document | None:
    """Return the next invoice of these facts, which may be facts that are only considered."""
    if not facts.is_live or facts.status == "paused":
        return None
    composed = compose(facts, facts.next_boundary)
    return upcoming_document(facts, composed) if composed else None


def upcoming_with_quantity(
    facts: SubscriptionFacts, *, quantity: Decimal, at: datetime, key: str = ""
) -> Document | None:
    """Return the next invoice as it would be with this total quantity from `at` on.

    The change is made in memory only. `key` names the licensed item where there are several.
    Raises Invalid as `change_quantity` would.
    """
    return upcoming_of(facts.with_quantity(quantity, at=at, key=key))


def usage_lines(facts: SubscriptionFacts, boundary: int) -> list[Line]:
    """Return what the usage of the period behind the boundary costs as it stands, billed or not."""
    measured = _measure(facts, windows_needed(facts.agreement, boundary))
    counted = {window: _counted(found) for window, found in measured.items()}
    proposals = propose(facts.agreement, boundary, counted)
    return [
        _composed(facts, proposal, measured).line()
        for proposal in proposals
        if proposal.reason is Reason.USAGE
    ]


def upcoming_document(facts: SubscriptionFacts, composed: Sequence[Composed]) -> Document:
    """Return composed lines as a document without a number."""
    organization = tenants.organization(facts.organization_id)
    currency = facts.agreement.currency
    sums = totals([c.proposal.amount for c in composed], currency)
    return Document(
        id="",
        number=None,
        status=UPCOMING,
        organization_id=facts.organization_id,
        subscription_id=facts.public_id,
        currency=currency,
        subtotal=sums.subtotal.minor,
        total=sums.total.minor,
        amount_paid=0,
        amount_due=sums.total.minor,
        period=covered(composed),
        issued_at=facts.next_boundary_at,
        due_at=facts.next_boundary_at
        + timedelta(days=organization.billing_entity.payment_terms_days),
        timezone=facts.agreement.cycle.timezone,
        locale=organization.locale,
        parties=parties(organization),
        lines=tuple(c.line() for c in composed),
    )


def covered(composed: Iterable[Composed]) -> Period:
    """Return the time from the first start to the last end of the lines."""
    periods = [c.proposal.period for c in composed]
    return Period(min(p.start for p in periods), max(p.end for p in periods))


def parties(row: Organization) -> dict[str, Any]:
    """Return issuer and customer as they stand now, to be fixed on the document."""
    entity = row.billing_entity
    return {
        "issuer": {
            "name": entity.legal_name,
            "address": entity.address,
            "country": entity.country,
            "tax_id": entity.tax_id,
            "email": entity.email,
            "bank_details": entity.bank_details,
        },
        "customer": {
            "id": row.public_id,
            "name": row.legal_name or row.name,
            "address": row.address,
            "country": row.country,
            "tax_id": row.tax_id,
            "email": row.email,
        },
    }


def document(row: Invoice, *, number: str | None = None) -> Document:
    """Return the stored invoice as a document; lines come from the prefetched rows if there are.

    `number` is the one that the invoice is about to get.
    """
    lines = sorted(row.lines.all(), key=lambda line: line.position)
    return Document(
        id=row.public_id,
        number=number or row.number,
        status=row.status,
        organization_id=row.organization_id,
        subscription_id=None if row.subscription_id is None else row.subscription.public_id,
        currency=row.currency,
        subtotal=row.subtotal,
        total=row.total,
        amount_paid=row.amount_paid,
        amount_due=row.amount_due,
        period=Period(row.period.lower, row.period.upper),
        issued_at=row.issued_at,
        due_at=row.due_at,
        timezone=row.timezone,
        locale=row.locale,
        parties=row.parties,
        lines=tuple(_line(line) for line in lines),
        content_hash=row.content_hash,
        finalized_at=row.finalized_at,
        paid_at=row.paid_at,
        voided_at=row.voided_at,
        void_reason=row.void_reason,
    )


def _line(row: InvoiceLine) -> Line:
    return Line(
        row.public_id,
        row.key,
        row.kind,
        row.reason,
        row.name,
        Period(row.during.lower, row.during.upper),
        Decimal(row.quantity),
        row.amount,
        row.explanation,
    )


def with_lines(rows: QuerySet[Invoice]) -> QuerySet[Invoice]:
    """Return the query with what `document` needs, in two statements."""
    return rows.select_related("subscription").prefetch_related(
        Prefetch("lines", InvoiceLine.objects.order_by("position"))
    )


def get(reference: str, *, organization_id: int | None = None) -> Invoice:
    """Return the invoice with this number or public id (of the organization), or raise."""
    field = "public_id" if ids.is_public_id(reference, "inv") else "number"
    rows = with_lines(Invoice.objects.filter(**{field: reference}))
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownInvoice(f"There is no invoice '{reference}'.")
    return found


def latest(organization_id: int, *, draft: bool = False) -> Invoice:
    """Return the organization's latest final invoice (or draft), or raise UnknownInvoice."""
    rows = with_lines(Invoice.objects.filter(organization_id=organization_id))
    chosen = rows.filter(status="draft") if draft else rows.exclude(status="draft")
    found = chosen.order_by("-issued_at", "-sequence", "-id").first()
    if found is None:
        raise UnknownInvoice(
            "There is no draft; bill_due --keep-drafts makes some."
            if draft
            else "There is no final invoice yet; bill_due issues what is due."
        )
    return found


def of_organization(
    organization_id: int, *, status: str = "", limit: int = 100
) -> Sequence[Invoice]:
    """Return the organization's invoices with their lines, newest first."""
    rows = with_lines(Invoice.objects.filter(organization_id=organization_id))
    if status:
        rows = rows.filter(status=status)
    return list(rows.order_by("-issued_at", "-id")[:limit])


@dataclass(frozen=True, slots=True)
class Tally:
    """How many final invoices an organization has, by what a list of them is cut into."""

    all: int
    open: int
    overdue: int
    paid: int
    void: int


def tally(organization_id: int, *, at: datetime) -> Tally:
    """Count the organization's final invoices; an overdue one is open too."""
    final = _final(organization_id)
    counts = {tab: Count("id", filter=_tab(tab, at)) for tab in ("open", "overdue", "paid", "void")}
    return Tally(**final.aggregate(all=Count("id"), **counts))


def final_invoices(
    organization_id: int, *, at: datetime, tab: str = "", before: str = "", limit: int = 20
) -> list[Invoice]:
    """Return final invoices without their lines, newest first.

    `tab` is a status or `overdue`; `before` is the public id of the last one on the page before.
    """
    rows = _final(organization_id)
    if tab:
        rows = rows.filter(_tab(tab, at))
    last = rows.filter(public_id=before).first() if before else None
    if last is not None:
        earlier = Q(issued_at__lt=last.issued_at) | Q(issued_at=last.issued_at, id__lt=last.pk)
        rows = rows.filter(earlier)
    return list(rows.order_by("-issued_at", "-id")[:limit])


def final_document(reference: str, *, organization_id: int) -> Document:
    """Return a final invoice of the organization, or raise: its drafts are nobody's business."""
    row = get(reference, organization_id=organization_id)
    if row.status == Invoice.Status.DRAFT:
        raise UnknownInvoice(f"There is no invoice '{reference}'.")
    return document(row)


def _final(organization_id: int) -> QuerySet[Invoice]:
    rows = Invoice.objects.filter(organization_id=organization_id)
    return rows.exclude(status=Invoice.Status.DRAFT)


def _tab(tab: str, at: datetime) -> Q:
    if tab == "overdue":  # a negative total is a credit: nobody is late with it
        return Q(status="open", due_at__lt=at, total__gt=0)
    return Q(status=tab)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an organization owes in one currency, in minor units."""

    currency: str
    due: int
    overdue: int
    open_count: int


def standing(organization_id: int, *, at: datetime) -> list[Standing]:
    """Return what is due and overdue, by currency."""
    rows = Invoice.objects.filter(organization_id=organization_id, status="open")
    found: dict[str, Standing] = {}
    for row in rows:
        held = found.setdefault(row.currency, Standing(row.currency, 0, 0, 0))
        late = row.amount_due if row.due_at < at else 0
        found[row.currency] = replace(
            held,
            due=held.due + row.amount_due,
            overdue=held.overdue + late,
            open_count=held.open_count + 1,
        )
    return list(found.values())


def parked_subscriptions() -> set[int]:
    """Return the integer ids of subscriptions that runs leave out; needs the ops scope."""
    rows = Parked.objects.filter(released_at=None)
    return set(rows.values_list("subscription_id", flat=True))


@dataclass(frozen=True, slots=True)
class ParkedFacts:
    """A subscription that runs leave out. Ids are public ones."""

    id: str
    subscription_id: str
    organization_id: int
    boundary_at: datetime
    parked_at: datetime
    reason: str


def parked() -> list[ParkedFacts]:
    """Return what waits to be released, oldest first; needs the ops scope."""
    rows = Parked.objects.filter(released_at=None).select_related("subscription").order_by("id")
    return [
        ParkedFacts(
            row.public_id,
            row.subscription.public_id,
            row.organization_id,
            row.boundary_at,
            row.parked_at,
            row.reason,
        )
        for row in rows
    ]


def balances(organization_id: int) -> dict[tuple[str, str], int]:
    """Return the ledger's balance by (account, currency), in minor units; credits are negative."""
    rows = (
        LedgerEntry.objects.filter(organization_id=organization_id)
        .values_list("account", "currency")
        .annotate(balance=Sum("amount"))
    )
    return {(account, currency): int(balance) for account, currency, balance in rows}


def counts_by_status() -> dict[str, int]:
    """Return how many invoices there are of each status; needs the ops scope for all of them."""
    return dict(Invoice.objects.values_list("status").annotate(n=Count("id")).order_by())
