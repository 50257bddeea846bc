"""Questions about what is owed: documents, lists and sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Prefetch, Q, QuerySet, Sum
from django.utils.translation import gettext_noop

from apps.core import ids
from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing.composition import Composed, compose, compose_all, covered
from apps.invoicing.credit import Balance, balances_of
from apps.invoicing.document import INVOICE, ONE_OFF, Deduction, Document, Line, Tax
from apps.invoicing.errors import UnknownInvoice
from apps.invoicing.models import (
    Charge,
    CreditMovement,
    Invoice,
    InvoiceDiscount,
    InvoiceLine,
    InvoiceTax,
    LedgerEntry,
    Parked,
)
from apps.invoicing.purse import Purse
from apps.invoicing.reckoning import (
    Conditions,
    Customer,
    Reckoned,
    conditions_of,
    grants_of,
    is_usable,
    reckon,
)
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import foreseen
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import selectors as tenants

if TYPE_CHECKING:
    from apps.invoicing.models import CreditGrant
    from apps.invoicing.services.drafting import Drafted
    from apps.tenants.models import Organization

KEPT = gettext_noop("Kept as your credit")
UPCOMING = "upcoming"
NO_PERCENT = Decimal(0)


def upcoming(subscription_id: str, *, at: datetime) -> Document | None:
    """Return the next invoice of a subscription as it would be with the usage so far.

    None for one that has ended or is paused, or when the next boundary bills nothing.
    """
    return upcoming_of(subscriptions.get(subscription_id))


def upcoming_of(facts: SubscriptionFacts) -> Document | None:
    """Return the next invoice of these facts, which may be facts that are only considered.

    Changes scheduled up to then are in it, as they will be when it is billed.
    """
    ahead, lines = next_lines(facts)
    return upcoming_document(ahead, lines) if lines else None


def upcoming_of_all(
    every: Iterable[SubscriptionFacts], organization: Organization
) -> dict[int, Document]:
    """Return the next invoices of an organization's subscriptions, by their integer ids.

    In a handful of statements and in the order of time: what waits for any invoice goes on the
    first of them, and credit and coupons that one uses up are gone for the next.
    """
    return _upcoming(every, organization, grants_of([organization.pk]))


@dataclass(frozen=True, slots=True)
class Prospect:
    """The next invoices by the subscriptions' integer ids, and the credit there is to pay with."""

    upcoming: dict[int, Document]
    credit: list[Balance]


def prospect(
    every: Iterable[SubscriptionFacts], organization: Organization, *, at: datetime
) -> Prospect:
    """Return `upcoming_of_all` and the credit of an organization at `at`, reading that once."""
    grants = grants_of([organization.pk])
    usable = [grant for grant in grants.get(organization.pk, ()) if is_usable(grant, at)]
    return Prospect(_upcoming(every, organization, grants), balances_of(usable))


def _upcoming(
    every: Iterable[SubscriptionFacts],
    organization: Organization,
    grants: Mapping[int, Sequence[CreditGrant]],
) -> dict[int, Document]:
    ahead = [foreseen(one, one.next_boundary_at) for one in every if _is_billed(one)]
    ahead.sort(key=lambda one: (one.next_boundary_at, one.id))
    composed = compose_all([(one, one.next_boundary) for one in ahead])
    pairs = [(one, lines) for one, lines in zip(ahead, composed, strict=True) if lines]
    conditions = conditions_of(
        [_customer(one, organization, one.next_boundary_at) for one, _ in pairs], grants=grants
    )
    purse = Purse(organization)
    return {
        one.id: _quoted(one, lines, under, one.next_boundary_at, purse)
        for (one, lines), under in zip(pairs, conditions, strict=True)
    }


def _is_billed(facts: SubscriptionFacts) -> bool:
    return facts.is_live and facts.status != "paused"


def owed_next(subscription_id: str) -> Money | None:
    """Return what a code's minimum amount is held against: the next invoice before any credit.

    None when there will be none.
    """
    document = upcoming_of(subscriptions.get(subscription_id))
    if document is None:
        return None
    return Money(document.total + document.credits_total, document.currency)


def next_lines(facts: SubscriptionFacts) -> tuple[SubscriptionFacts, list[Composed]]:
    """Return the facts as they will be at the next boundary, and what that will bill."""
    if not _is_billed(facts):
        return facts, []
    ahead = foreseen(facts, facts.next_boundary_at)
    return ahead, compose(ahead, ahead.next_boundary)


def upcoming_document(
    facts: SubscriptionFacts,
    lines: Sequence[Composed],
    *,
    at: datetime | None = None,
    purse: Purse | None = None,
) -> Document:
    """Return composed lines with what they come to, as a document without a number.

    It is dated `at`, by default at the subscription's next boundary. Of documents that follow one
    another each pays from what the earlier ones leave in the `purse`.
    """
    purse = purse or Purse(tenants.organization(facts.organization_id))
    dated = at or facts.next_boundary_at
    (conditions,) = conditions_of([_customer(facts, purse.organization, dated)])
    return _quoted(facts, lines, conditions, dated, purse)


def _customer(facts: SubscriptionFacts, organization: Organization, dated: datetime) -> Customer:
    return Customer(organization, facts.currency, dated, facts.discounts)


def _quoted(
    facts: SubscriptionFacts,
    lines: Sequence[Composed],
    conditions: Conditions,
    dated: datetime,
    purse: Purse,
) -> Document:
    reckoned = reckon(lines, purse.conditions(conditions, dated))
    purse.use(reckoned, dated)
    return quote_document(
        purse.organization,
        reckoned,
        dated=dated,
        timezone=facts.agreement.cycle.timezone,
        subscription_id=facts.public_id,
    )


def quote_document(
    organization: Organization,
    reckoned: Reckoned,
    *,
    dated: datetime,
    timezone: str,
    subscription_id: str | None = None,
) -> Document:
    """Return what a draft of these lines would say; `subscription_id` is a public id."""
    sums = reckoned.settlement.totals
    terms = timedelta(days=organization.billing_entity.payment_terms_days)
    return Document(
        id="",
        number=None,
        status=UPCOMING,
        organization_id=organization.pk,
        subscription_id=subscription_id,
        currency=reckoned.currency,
        subtotal=sums.subtotal.minor,
        discount=sums.discount.minor,
        tax=sums.tax.minor,
        credits_total=reckoned.credits,
        total=reckoned.total,
        amount_paid=0,
        amount_due=reckoned.total,
        period=covered(reckoned.lines),
        issued_at=dated,
        due_at=dated + terms,
        timezone=timezone,
        locale=organization.locale,
        parties=parties(organization, seller_tax_id=reckoned.conditions.standing.seller_tax_id),
        discounts=reckoned.deductions(),
        taxes=reckoned.taxes(),
        credits=_credits(reckoned.credits, reckoned.credits_used()),
        lines=tuple(
            replace(
                line.line(),
                discount=int(reckoned.settlement.lines[index].discount),
                tax_rates=reckoned.taxes_of(index),
            )
            for index, line in enumerate(reckoned.lines)
        ),
    )


def _credits(total: int, used: tuple[Deduction, ...]) -> tuple[Deduction, ...]:
    """Return the credits of a document; a negative sum is kept as credit for the next one."""
    return (Deduction(KEPT, total),) if total < 0 else used


def parties(row: Organization, *, seller_tax_id: str = "") -> dict[str, Any]:
    """Return issuer and customer as they stand now, to be fixed on the document.

    `seller_tax_id` is the issuer's number where it is registered for this sale.
    """
    entity = row.billing_entity
    return {
        "issuer": {
            "name": entity.legal_name,
            "address": entity.address,
            "postcode": entity.postcode,
            "city": entity.city,
            "region": entity.region,
            "country": entity.country,
            "tax_id": seller_tax_id or entity.tax_id,
            "email": entity.email,
            "bank_details": entity.bank_details,
        },
        "customer": {
            "id": row.public_id,
            "name": row.legal_name or row.name,
            "address": row.address,
            "postcode": row.postcode,
            "city": row.city,
            "region": row.region,
            "country": row.country,
            "tax_id": row.tax_id,
            "email": row.email,
        },
    }


def document(row: Invoice) -> Document:
    """Return the stored invoice as a document; its parts come from prefetched rows if there are."""
    return document_of(
        row,
        list(row.lines.all()),
        list(row.taxes.all()),
        list(row.discounts.all()),
        credit_used(row.credit_movements.all()),
        None if row.subscription is None else row.subscription.public_id,
    )


def credit_used(moves: Iterable[CreditMovement]) -> tuple[Deduction, ...]:
    """Return what credit paid of an invoice, from its movements with their grants."""
    used = CreditMovement.Kind.USED
    return tuple(Deduction(move.grant.name, -move.amount) for move in moves if move.kind == used)


def drafted_documents(drafted: Sequence[Drafted]) -> Iterator[Document]:
    """Return what `document` will return once the drafts are final, in one statement for all."""
    rows = [draft.row for draft in drafted]
    known = subscriptions.public_ids(row.subscription_id for row in rows if row.subscription_id)
    for draft, row in zip(drafted, rows, strict=True):
        parts = (draft.lines, draft.taxes, draft.discounts, draft.reckoned.credits_used())
        yield document_of(row, *parts, known.get(row.subscription_id or 0))


def document_of(
    row: Invoice,
    lines: Sequence[InvoiceLine],
    taxes: Sequence[InvoiceTax],
    discounts: Sequence[InvoiceDiscount],
    paid: tuple[Deduction, ...],
    subscription: str | None,
) -> Document:
    """Return an invoice as a document, of parts that are there already in any order.

    `paid` is what credit paid, `subscription` a public id.
    """
    said = _Taxes(row, sorted(taxes, key=_position))
    lines = sorted(lines, key=lambda line: line.position)
    return Document(
        id=row.public_id,
        number=row.number,
        status=row.status,
        organization_id=row.organization_id,
        subscription_id=subscription,
        currency=row.currency,
        subtotal=row.subtotal,
        discount=row.discount,
        tax=row.tax,
        credits_total=row.credits,
        total=row.total,
        amount_paid=row.amount_paid,
        amount_due=row.amount_due,
        credited=row.credited,
        period=Period(row.period.lower, row.period.upper),
        issued_at=row.issued_at,
        due_at=row.due_at,
        timezone=row.timezone,
        locale=row.locale,
        parties=row.parties,
        kind=ONE_OFF if row.kind == Invoice.Kind.ONE_OFF else INVOICE,
        discounts=tuple(
            Deduction(one.name, one.amount) for one in sorted(discounts, key=_position)
        ),
        taxes=said.whole(),
        credits=_credits(row.credits, paid),
        note=row.memo,
        lines=tuple(_line(line, said.of_line(line.position)) for line in lines),
        content_hash=row.content_hash,
        finalized_at=row.finalized_at,
        paid_at=row.paid_at,
        voided_at=row.voided_at,
        void_reason=row.void_reason,
    )


class _Taxes:
    """The taxes of a stored document and of its lines.

    One that was settled says on every line why no tax is charged, where none is; a document from
    before that says nothing of taxes.
    """

    def __init__(self, row: Invoice, taxes: Sequence[InvoiceTax]) -> None:
        self._row, self._taxes = row, taxes
        self._settled = row.settlement.get("lines", [])
        self._rates = {tax.rate: tax for tax in taxes if tax.rate}
        self._of_document = self._whole()

    def whole(self) -> tuple[Tax, ...]:
        return self._of_document

    def _whole(self) -> tuple[Tax, ...]:
        net = self._row.subtotal - self._row.discount
        if not self._taxes and self._settled:
            return (_no_tax(net),)
        return tuple(_tax(tax, tax.base, tax.amount) for tax in self._taxes)

    def of_line(self, position: int) -> tuple[Tax, ...]:
        if not self._settled:
            return ()
        settled = self._settled[position - 1]
        base = _whole_minor(settled["taxable_minor"])
        if not self._taxes:
            return (_no_tax(base),)
        if not self._rates:
            return tuple(replace(tax, base=base) for tax in self._of_document)
        return tuple(
            _tax(self._rates[part["rate"]], base, part["minor"]) for part in settled["taxes"]
        )


def _no_tax(base: int) -> Tax:
    return Tax(name="", percent=NO_PERCENT, base=base, amount=0, treatment="none")


def _whole_minor(text: str) -> int:
    """Return the whole units of an exact number as `exact_text` spells it."""
    return int(text) if text.removeprefix("-").isdecimal() else int(Fraction(text))


def _position(row: InvoiceTax | InvoiceDiscount) -> int:
    return row.position


def _tax(row: InvoiceTax, base: int, amount: int) -> Tax:
    return Tax(
        name=row.name,
        percent=Decimal(row.percent),
        base=base,
        amount=amount,
        jurisdiction=row.jurisdiction,
        treatment=row.treatment,
        inclusive=row.inclusive,
        kind=row.kind,
        ground=row.ground,
    )


def _line(row: InvoiceLine, taxes: tuple[Tax, ...]) -> Line:
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
        discount=row.discount,
        tax_rates=taxes,
        unit=row.explanation.get("unit", ""),
    )


def with_lines(rows: QuerySet[Invoice]) -> QuerySet[Invoice]:
    """Return the query with what `document` needs, in five statements."""
    return rows.select_related("subscription", "billing_entity").prefetch_related(
        Prefetch("lines", InvoiceLine.objects.order_by("position")),
        "taxes",
        "discounts",
        Prefetch("credit_movements", CreditMovement.objects.select_related("grant")),
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


def by_id(invoice_id: int) -> Invoice:
    """Return the invoice with this integer id, without its lines."""
    return Invoice.objects.get(pk=invoice_id)


def owed_by(moment: datetime) -> QuerySet[Invoice]:
    """Return the open invoices due by then of which something is left to be paid."""
    left = F("total") - F("credited") - F("amount_paid")
    rows = Invoice.objects.filter(status=Invoice.Status.OPEN, due_at__lte=moment)
    return rows.annotate(left=left).filter(left__gt=0)


def agreements_on(row: Invoice) -> list[int]:
    """Return the subscriptions that an invoice bills, by integer id: several where it is one for
    all applications, none where it is for single charges.
    """
    if row.subscription_id is not None:
        return [row.subscription_id]
    items = row.lines.filter(organization_id=row.organization_id, item__isnull=False)
    return sorted(set(items.values_list("item__subscription_id", flat=True)))


def has_charge(organization_id: int, source: str) -> bool:
    """Tell whether something was charged of this cause."""
    rows = Charge.objects.filter(organization_id=organization_id, source=source)
    return bool(source) and rows.exists()


def charges_on(row: Invoice) -> list[Charge]:
    """Return the single charges that the invoice bears, in its order.

    Without it they wait for the next invoice again. Credit that was ordered does not, and is not
    among them.
    """
    lines = InvoiceLine.objects.filter(
        organization_id=row.organization_id,
        invoice=row,
        charge__isnull=False,
        charge__buys__isnull=True,
    )
    return [line.charge for line in lines.select_related("charge").order_by("position")]


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


def drafts_to_hold(organization_id: int) -> list[str]:
    """Return the public ids of the organization's drafts that wait for nobody yet, oldest first."""
    rows = Invoice.objects.filter(
        organization_id=organization_id, status=Invoice.Status.DRAFT, hold_reason=""
    )
    return list(rows.order_by("pk").values_list("public_id", flat=True))


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


def final(reference: str, *, organization_id: int) -> Invoice:
    """Return a final invoice of the organization, or raise: its drafts are nobody's business."""
    row = get(reference, organization_id=organization_id)
    if row.status == Invoice.Status.DRAFT:
        raise UnknownInvoice(f"There is no invoice '{reference}'.")
    return row


def final_document(reference: str, *, organization_id: int) -> Document:
    """Return a final invoice of the organization as a document, or raise UnknownInvoice."""
    return document(final(reference, organization_id=organization_id))


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


@dataclass(frozen=True, slots=True)
class Account:
    """What an organization owes by currency, and its latest final invoices, newest first."""

    standing: list[Standing]
    recent: list[Invoice]


def account(organization_id: int, *, at: datetime, recent: int) -> Account:
    """Return what is due and overdue, and that many invoices without their lines.

    In one statement: it reads what is open, and whatever else is among the latest.
    """
    final = _final(organization_id).order_by("-issued_at", "-id")
    latest = final.values("pk")[:recent]
    rows = list(final.filter(Q(status="open") | Q(pk__in=latest)))
    return Account(_standings(rows, at), rows[:recent])


def standing(organization_id: int, *, at: datetime) -> list[Standing]:
    """Return what is due and overdue, by currency."""
    return _standings(Invoice.objects.filter(organization_id=organization_id, status="open"), at)


def _standings(rows: Iterable[Invoice], at: datetime) -> list[Standing]:
    found: dict[str, Standing] = {}
    for row in rows:
        if row.status != Invoice.Status.OPEN:
            continue
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
