"""Invoices with every line explained, the ledger behind them, and what billing left aside."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Case, Count, F, Q, QuerySet, Sum, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from apps.backoffice.access import actor_of, may, time_of
from apps.backoffice.admin import cells, words
from apps.backoffice.admin.amounts import AmountField
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, cannot, column
from apps.backoffice.admin.charges import create_one_off
from apps.backoffice.admin.drafts import DraftActs, ReasonForm
from apps.backoffice.admin.panels import Cell, Fact, Panel
from apps.backoffice.admin.screen import ChoiceFilter, Screen, Tab
from apps.backoffice.admin.sums import beside, sums_of
from apps.core import clock
from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing import einvoice, pdf, sealing, selectors, services
from apps.invoicing.document import Document, Line
from apps.invoicing.models import (
    CreditNote,
    Invoice,
    InvoiceLine,
    LedgerTransaction,
    Parked,
)
from apps.payments import gateway as payments_gateway
from apps.payments import selectors as payment_selectors
from apps.payments import services as payments
from apps.usage import selectors as usage
from apps.usage.models import Event


class PaymentForm(Question):
    """Money that came in."""

    amount = AmountField(help_text="Such as 262.99.")
    reference = forms.CharField(
        max_length=100, required=False, help_text="The bank line's; unique per invoice."
    )
    received_at = forms.DateTimeField(
        required=False,
        label="Received (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: now.",
    )
    keep_excess = forms.BooleanField(
        required=False, label="Keep what is more than due as the customer's credit"
    )


HELD = Q(status="draft") & ~Q(hold_reason="")
GRACE = Q(status="draft", hold_reason="", grace_until__isnull=False)
# Parts of other tabs, and tabs that are shown only when there is something in them.
PARTS, RARE = {"held", "grace", "past_due"}, {"held", "grace", "credit"}


class StandingFilter(ChoiceFilter):
    """By what became of it; an open one may be past due, or a credit that nobody has to pay."""

    title = "status"
    parameter_name = "show"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """The states, and of the open ones those that are past due and those that are credits."""
        owed = Q(status="open", total__gte=0)
        draft, _, *closed = ((s.value, s.label, Q(status=s.value)) for s in Invoice.Status)
        return [
            draft,
            ("held", "Held", HELD),
            ("grace", "In grace", GRACE),
            ("open", "Open", owed),
            ("past_due", "Past due", owed & Q(due_at__lt=clock.now())),
            ("credit", "Credit", Q(status="open", total__lt=0)),
            *closed,
        ]


class InvoiceScreen(DraftActs, Screen):
    """Bills in every state."""

    view_capability = "view_invoices"
    list_display = (
        "name", "customer", "state", "issued", "due", "total_money", "due_money",
    )  # fmt: skip
    list_select_related = ("organization",)
    list_filter = (StandingFilter, "kind", "currency", "collection", "billing_entity")
    lookups = ("organization", "subscription", "status__in")
    search_fields = ("=number", "=public_id", "organization__name", "^organization__slug")
    search_help_text = "Number, customer or id"
    date_hierarchy = "issued_at"
    ordering = ("-issued_at", "-id")
    actions_list = ("create",)
    actions_detail = (
        "approve",
        "finalize",
        {"title": "Draft", "icon": "edit_note", "items": ["hold", "refresh", "discard"]},
        "record_payment",
        "charge",
        {"title": "Files", "icon": "download", "items": ["download", "xml"]},
        "rebill",
        {"title": "Give up", "icon": "block", "items": ["void", "uncollectible"]},
    )

    @column("Invoice", order="number")
    def name(self, row: Invoice) -> object:
        """The number, or that it is a draft."""
        return row.number or "Draft"

    @column("Organization", order="organization__name")
    def customer(self, row: Invoice) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Status", order="status")
    def state(self, row: Invoice) -> object:
        """The state; of an open one, whether it is late or a credit."""
        return cells.badge(standing(row))

    @column("Issued", order="issued_at")
    def issued(self, row: Invoice) -> object:
        """The date on it, in its own zone."""
        return cells.day(row.issued_at, row.timezone)

    @column("Due", order="due_at")
    def due(self, row: Invoice) -> object:
        """When it is to be paid."""
        return cells.day(row.due_at, row.timezone)

    @column("Total", order="total")
    def total_money(self, row: Invoice) -> object:
        """Its amount."""
        return cells.money(row.total, row.currency)

    @column("To pay")
    def due_money(self, row: Invoice) -> object:
        """What is still to be paid."""
        return cells.money(row.amount_due, row.currency)

    def tabs(self, request: HttpRequest) -> Sequence[Tab]:
        """Return the states with how many there are and what they come to."""
        chosen = request.GET.get("show", "")
        counts = standings()
        every = sum(one.count for name, one in counts.items() if name not in PARTS)
        tabs = [Tab("All", cells.list_url(Invoice), every, not chosen)]
        for name, words_, _ in StandingFilter.conditions():
            found = counts.get(name, Sums())
            if name in RARE and not found.count and chosen != name:
                continue
            url = cells.list_url(Invoice, show=name)
            text = cells.sums(found.amounts) if found.amounts else ""
            tabs.append(Tab(words_, url, found.count, chosen == name, text))
        return tabs

    def heading(self, row: Invoice) -> str:
        """Return the number and the customer."""
        return f"{row.number or 'Draft'} for {row.organization}"

    def facts(self, row: Invoice) -> Sequence[Fact]:
        """Amounts, dates and what seals it."""
        customer = row.parties.get("customer", {})
        subscription = row.subscription if row.subscription_id else None
        return [
            Fact("Status", cells.badge(standing(row))),
            Fact("Kind", row.get_kind_display()),
            Fact("Total", cells.money(row.total, row.currency)),
            Fact("Paid", cells.money(row.amount_paid, row.currency)),
            *_where(row.credited, "Credited", cells.money(row.credited, row.currency)),
            *_where(row.written_off, "Written off", cells.money(row.written_off, row.currency)),
            Fact("To pay", cells.money(row.amount_due, row.currency)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Billed to", customer.get("name", "")),
            Fact("Subscription", cells.link_to(subscription)),
            Fact("Period", cells.span(row.period.lower, row.period.upper, row.timezone)),
            Fact("Issued", cells.day(row.issued_at, row.timezone)),
            Fact("Due", cells.day(row.due_at, row.timezone)),
            Fact("Dates are of", row.timezone),
            Fact("Finalized", cells.when(row.finalized_at)),
            Fact("Paid in full", cells.when(row.paid_at)),
            *_kept(row),
            *_where(row.voided_at, "Voided", cells.when(row.voided_at)),
            *_where(row.void_reason, "Void because", row.void_reason),
            *_where(row.uncollectible_at, "Given up", cells.when(row.uncollectible_at)),
            *_where(row.uncollectible_reason, "Given up because", row.uncollectible_reason),
            *_where(row.memo, "Memo", row.memo, wide=True),
            Fact("Id", cells.code(row.public_id)),
            Fact("Content hash", cells.code(row.content_hash), wide=True),
        ]

    def panels(self, request: HttpRequest, row: Invoice) -> Sequence[Panel]:
        """Lines with their arithmetic, payments, and the movements it caused."""
        document = selectors.document(selectors.get(row.public_id))
        received = payment_selectors.of_invoice(row.pk)
        sources = [row.public_id, *(payment.public_id for payment in received)]
        return [
            Panel("Lines", body=_lines(request, row, document)),
            Panel(
                "Payments",
                ("Reference", "Method", "Received", ">Amount"),
                [
                    (
                        cells.link_to(one, one.reference),
                        one.get_method_display(),
                        cells.when(one.received_at),
                        cells.money(one.amount, one.currency),
                    )
                    for one in received
                ],
                empty="Nothing was paid yet.",
            ),
            *_credit_notes(row),
            _movements(row.organization_id, sources),
        ]

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the usage behind a line."""
        usage_page = path(
            "<int:invoice_id>/usage/<str:line_id>/",
            self.admin_site.admin_view(self.usage_view),
            name="invoicing_invoice_usage",
        )
        return [usage_page, *super().get_urls()]

    def usage_view(self, request: HttpRequest, invoice_id: int, line_id: str) -> HttpResponse:
        """Show which events a line counted, and count them again."""
        actor_of(request)
        if not may(request, "view_usage"):
            raise Http404
        line = (
            InvoiceLine.objects.filter(public_id=line_id, invoice_id=invoice_id)
            .exclude(usage_epoch=None)
            .select_related("invoice", "organization")
            .first()
        )
        if line is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": line.invoice,
            "title": f"Usage behind {line.name} on {line.invoice}",
            **_usage_facts(line),
        }
        return TemplateResponse(request, "admin/backoffice/usage.html", context)

    # --- acts -------------------------------------------------------------------------------------
    @act("One-off invoice", capability="manage_invoices", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask what is billed to whom on an invoice of its own."""
        return create_one_off(self, request)

    @act(
        "Record payment",
        capability="record_payments",
        icon="payments",
        applies=lambda row: row.amount_due > 0,
        otherwise=lambda row: _why_not(row, "so there is no payment to record."),
    )
    def record_payment(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask what came in."""
        row = self.row(request, object_id)
        question = Ask(
            f"Record a payment on {row}",
            f"{cells.money(row.amount_due, row.currency)} is still to be paid. "
            "Partial payments add up; a payment cannot be taken back here.",
            "Record payment",
            PaymentForm,
            initial={"amount": Money(row.amount_due, row.currency).major},
        )

        def run(answers: Answers) -> str:
            paid = payments.record_payment(
                row.public_id, **answers, actor=actor_of(request), at=time_of(row)
            )
            return f"{cells.money(paid.amount, paid.currency)} was recorded on {row}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Charge now",
        capability="manage_billing",
        icon="credit_card",
        applies=lambda row: row.amount_due > 0 and payments_gateway.configured(),
        otherwise=lambda row: (
            _why_not(row, "so there is nothing to charge.")
            if payments_gateway.configured()
            else "No payment provider is configured: record the payment by hand."
        ),
    )
    def charge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the customer's payment method shall be charged."""
        row = self.row(request, object_id)
        method = payment_selectors.default_method(row.organization_id)
        question = Ask(
            f"Charge {row}",
            f"{cells.money(row.amount_due, row.currency)} is charged to "
            f"{method or 'no payment method: the customer has none'}. What comes of it stands "
            "among the attempts within seconds.",
            "Charge",
        )

        def run(answers: Answers) -> str:
            payments.collect(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"{row} is being charged."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("PDF", capability="view_invoices", icon="picture_as_pdf")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the invoice as a PDF."""
        row = self.row(request, object_id)
        document = selectors.document(selectors.get(row.public_id))
        return _file(row, pdf.render(document), "pdf", "application/pdf")

    @act("XML", capability="view_invoices", icon="code")
    def xml(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the invoice as Factur-X XML, or say why there is none."""
        row = self.row(request, object_id)
        made = einvoice.of(selectors.document(selectors.get(row.public_id)))
        if made.xml is None:
            why = " ".join(made.reasons)
            return cannot(self, request, row, "XML (EN 16931)", f"There is none. {why}")
        return _file(row, made.xml, "xml", "application/xml")

    @act(
        "Void",
        capability="manage_invoices",
        icon="block",
        danger=True,
        applies=lambda row: row.status in {"open", "uncollectible"} and not row.amount_paid,
        otherwise=lambda row: _why_not(row, "and only an unpaid open invoice can be voided."),
    )
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why an invoice shall be void."""
        row = self.row(request, object_id)
        question = Ask(
            f"Void {row}",
            f"{_given_up(row)} The number stays used and the booking is reversed. This cannot be "
            "undone; 'Bill anew' makes a new invoice for the same period.",
            "Void invoice",
            ReasonForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.void_invoice(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"Invoice {row} is void."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Uncollectible",
        capability="manage_invoices",
        icon="money_off",
        danger=True,
        applies=lambda row: row.status == "open" and row.total >= 0,
        otherwise=lambda row: _why_not(row, "and only an open one is given up."),
    )
    def uncollectible(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why nobody will pay."""
        row = self.row(request, object_id)
        question = Ask(
            f"Give {row} up",
            f"{cells.money(row.amount_due, row.currency)} is written off. The invoice stands: what "
            "is paid later is taken all the same.",
            "Give up",
            ReasonForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.mark_uncollectible(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"Invoice {row} is given up."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Bill anew",
        capability="manage_invoices",
        icon="restart_alt",
        applies=lambda row: row.status == "void" and row.subscription_id is not None,
        otherwise=lambda row: (
            f"Only a void invoice of a subscription is billed anew; {row} is {_state_of(row)}."
        ),
    )
    def rebill(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the period of a void invoice shall be billed again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Bill the period of {row} anew",
            "A new invoice with a new number is issued at once, with the usage as it stands now.",
            "Bill anew",
        )

        def run(answers: Answers) -> str:
            made = services.rebill_invoice(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"Invoice {made} was issued over {cells.money(made.total, made.currency)}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _file(row: Invoice, content: bytes, ending: str, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    name = f"{row.number or row.public_id}.{ending}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _where(there: object, label: str, value: Cell, *, wide: bool = False) -> list[Fact]:
    """Return a fact that few invoices have, where this one has it."""
    return [Fact(label, value, wide)] if there else []


def _kept(row: Invoice) -> list[Fact]:
    """Return why a draft waits, and who let a held one go."""
    return [
        *_where(row.grace_until, "In grace until", cells.when(row.grace_until)),
        *_where(row.hold_reason, "Held because", row.hold_reason, wide=True),
        *_where(row.approved_at, "Approved", cells.when(row.approved_at)),
        *_where(row.approved_by, "Approved by", row.approved_by),
        *_where(row.approval_reason, "Approved because", row.approval_reason, wide=True),
    ]


def _credit_notes(row: Invoice) -> list[Panel]:
    """Return the credit notes, where there are some."""
    notes = CreditNote.objects.filter(organization_id=row.organization_id, invoice=row)
    rows = [
        (
            one.number,
            one.get_reason_display(),
            cells.day(one.issued_at, one.timezone),
            cells.money(one.offset_amount, one.currency),
            cells.money(one.credited_amount, one.currency),
            cells.money(one.refunded_amount, one.currency),
            cells.money(one.total, one.currency),
        )
        for one in notes.order_by("id")
    ]
    heads = ("Number", "Reason", "Issued", ">Offset", ">Kept as credit", ">Refunded", ">Total")
    return [Panel("Credit notes", heads, rows)] if rows else []


def standing(row: Invoice) -> str:
    """Return the status; `held` or `in_grace` of a draft that is, `past_due` of an open one that
    is late, `credit` of one below nothing.
    """
    if row.status == Invoice.Status.DRAFT:
        return "held" if row.is_held else "in_grace" if row.grace_until else "draft"
    if row.status != "open":
        return row.status
    if row.total < 0:
        return "credit"
    return "past_due" if row.due_at < clock.now() else row.status


def _state_of(row: Invoice) -> str:
    """Return the standing in words, with what was paid of it and what is still due."""
    paid = cells.money(row.amount_paid, row.currency)
    due = cells.money(row.amount_due, row.currency)
    if row.amount_due > 0 and row.amount_paid:
        return f"partly paid: {paid} came in and {due} is still due"
    return {"credit": "a credit that nobody has to pay"}.get(
        standing(row), standing(row).replace("_", " ")
    )


def _why_not(row: Invoice, rule: str) -> str:
    return f"Invoice {row} is {_state_of(row)}, {rule}"


def _given_up(row: Invoice) -> str:
    amount = cells.money(abs(row.amount_due), row.currency)
    if row.total < 0:
        return f"The credit of {amount} to {row.organization} is taken back."
    return f"{amount} is still to be paid; {row.organization} will no longer owe it."


@dataclass(frozen=True, slots=True)
class Sums:
    """How many invoices, and what they come to by currency, in minor units."""

    count: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        """Return both together."""
        both = Counter(self.amounts)
        both.update(other.amounts)
        return Sums(self.count + other.count, both)


def standings() -> dict[str, Sums]:
    """Return the invoices by standing: totals, or what is unpaid of open ones.

    Held drafts and those in grace are among the drafts, and those past due among the open ones;
    each stands on its own as well. Credits are not among the open ones.
    """
    standing_ = Case(
        When(HELD, then=Value("held")),
        When(GRACE, then=Value("grace")),
        When(Q(status="open", total__lt=0), then=Value("credit")),
        When(Q(status="open", due_at__lt=clock.now()), then=Value("past_due")),
        default=F("status"),
    )
    rows = Invoice.objects.order_by().annotate(standing=standing_).values("standing", "currency")
    found = _summed(rows)
    draft = found["draft"] + found["held"] + found["grace"]
    both = {"draft": draft, "open": found["open"] + found["past_due"]}
    return defaultdict(Sums, {**found, **both})


def _summed(rows: Any) -> defaultdict[str, Sums]:
    found: defaultdict[str, Sums] = defaultdict(Sums)
    owed = Sum("total") - Sum("credited") - Sum("amount_paid")
    for row in rows.annotate(n=Count("id"), owed=owed, whole=Sum("total")):
        unpaid = row["standing"] in {"open", "past_due", "credit", "uncollectible"}
        amount = int(row["owed"] if unpaid else row["whole"])
        found[row["standing"]] += Sums(row["n"], {row["currency"]: amount})
    return found


def _lines(request: HttpRequest, row: Invoice, document: Document) -> SafeString:
    metered = set(
        InvoiceLine.objects.filter(invoice=row)
        .exclude(usage_epoch=None)
        .values_list("public_id", flat=True)
    )
    context = {
        "lines": [
            _line(row, line, document.currency, line.id in metered) for line in document.lines
        ],
        "sums": sums_of(document),
    }
    return render_to_string("admin/backoffice/lines.html", context, request)


def _line(row: Invoice, line: Line, currency: str, metered: bool) -> dict[str, Any]:
    explanation = line.explanation
    counted = explanation.get("usage", {})
    usage_url = reverse("admin:invoicing_invoice_usage", args=[row.pk, line.id]) if metered else ""
    return {
        "name": line.name,
        "key": line.key,
        "kind": f"{line.kind.replace('_', ' ')}, {line.reason.replace('_', ' ')}",
        "period": cells.span(line.period.start, line.period.end, row.timezone),
        "quantity": cells.number(line.quantity),
        "amount": cells.money(line.amount, currency),
        "arithmetic": words.arithmetic(explanation),
        "plan": _plan(explanation),
        "beside": beside(line, currency),
        "price": explanation.get("price", ""),
        "agreed": explanation.get("agreed_with_customer", False),
        "events": cells.number(counted["event_count"]) if counted else "",
        "hash": counted.get("events_hash", ""),
        "meter": explanation.get("meter", ""),
        "usage_url": usage_url,
    }


def _plan(explanation: Mapping[str, Any]) -> str:
    return f"{explanation['plan']} v{explanation['plan_version']}" if "plan" in explanation else ""


def _movements(organization_id: int, sources: Sequence[str]) -> Panel:
    found = LedgerTransaction.objects.filter(organization_id=organization_id, source__in=sources)
    return Panel(
        "Ledger",
        ("Movement", "What", "When", "Account", ">Debit", ">Credit"),
        [
            (
                cells.link_to(movement, movement.public_id),
                movement.kind,
                cells.when(movement.at),
                entry.get_account_display(),
                cells.money(entry.amount, entry.currency) if entry.amount > 0 else "",
                cells.money(-entry.amount, entry.currency) if entry.amount < 0 else "",
            )
            for movement in found.prefetch_related("entries")
            for entry in movement.entries.all()
        ],
        empty="A draft, or an amount of nothing, moves no money.",
    )


def _usage_facts(line: InvoiceLine) -> dict[str, Any]:
    window = _window(line)
    meter = usage.get_meter(line.explanation["meter"])
    want = usage.Want(meter.key, window.start, window.end)
    then = line.explanation.get("usage", {})
    seal = sealing.sealed([line]).get(sealing.name(line))
    if seal is None:
        snapshot = line.usage_epoch or 0, line.usage_snapshot
        again = usage.recount(line.organization_id, want, *snapshot)
        now = usage.measure(line.organization_id, [want])[0]
    else:  # nothing came later, and the events may be gone
        again = now = sealing.measured(line, seal)
    return {
        "line": line,
        "meter": meter,
        "window": cells.span(window.start, window.end, line.invoice.timezone),
        "counts": [
            (
                "On the invoice",
                cells.number(line.quantity),
                cells.number(then.get("event_count", 0)),
                then.get("events_hash", ""),
            ),
            (
                "The same events, counted again" if seal is None else "Counted for its seal",
                *_counted(again),
            ),
            ("With events that came later", *_counted(now)),
        ],
        "agrees": (again.event_count, again.hash)
        == (then.get("event_count"), then.get("events_hash")),
        "later": now.event_count - again.event_count,
        "days": _days(line, window) if seal is None else [],
        "events_url": cells.list_url(
            Event,
            organization=line.organization_id,
            type=meter.event_type,
            occurred_at__gte=window.start.isoformat(),
            occurred_at__lt=window.end.isoformat(),
        ),
    }


def _counted(found: usage.Measured) -> tuple[str, str, str]:
    return cells.number(found.quantity), cells.number(found.event_count), found.hash


def _window(line: InvoiceLine) -> Period:
    stated = line.explanation.get("window") or line.explanation["period"]
    return Period(*(datetime.fromisoformat(stated[side]) for side in ("start", "end")))


def _days(line: InvoiceLine, window: Period) -> list[tuple[str, str, str]]:
    """Return the days with usage, as far as a page can show them."""
    end = min(window.end, window.start + timedelta(days=366))
    points = usage.usage_series(
        line.organization_id,
        line.explanation["meter"],
        window.start,
        end,
        grain="day",
        timezone=line.invoice.timezone,
    )
    return [
        (f"{one.start:%Y-%m-%d}", cells.number(one.quantity), cells.number(one.event_count))
        for one in points
        if one.event_count
    ]


class LedgerScreen(Screen):
    """Balanced movements: what was issued, voided and paid."""

    view_capability = "view_invoices"
    list_display = ("movement", "customer", "kind", "source_code", "moment", "moved_money")
    list_select_related = ("organization",)
    list_filter = ("kind", "currency")
    search_fields = ("=public_id", "=source", "organization__name", "^organization__slug")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerTransaction]:
        """Return the movements with the sum of their debits."""
        rows: QuerySet[LedgerTransaction] = super().get_queryset(request)
        return rows.annotate(moved=Sum("entries__amount", filter=Q(entries__amount__gt=0)))

    @column("Movement")
    def movement(self, row: LedgerTransaction) -> object:
        """The public id."""
        return cells.code(row.public_id)

    @column("Organization", order="organization__name")
    def customer(self, row: LedgerTransaction) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Cause")
    def source_code(self, row: LedgerTransaction) -> object:
        """What caused it."""
        return cells.code(row.source)

    @column("When", order="at")
    def moment(self, row: LedgerTransaction) -> object:
        """When it was booked."""
        return cells.when(row.at)

    @column("Amount", order="moved")
    def moved_money(self, row: Any) -> object:
        """The sum of its debits."""
        return cells.money(int(row.moved or 0), row.currency)

    def facts(self, row: Any) -> Sequence[Fact]:
        """Where it comes from."""
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Kind", row.kind),
            Fact("Cause", cells.code(row.source)),
            Fact("When", cells.when(row.at)),
            Fact("Amount", cells.money(int(row.moved or 0), row.currency)),
            Fact("Id", cells.code(row.public_id)),
        ]

    def panels(self, request: HttpRequest, row: Any) -> Sequence[Panel]:
        """Its entries, which sum to nothing."""
        return [_movements(row.organization_id, [row.source])]


class OpenFilter(ChoiceFilter):
    """Still parked, or released."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """By release."""
        parked, released = Q(released_at=None), Q(released_at__isnull=False)
        return [("parked", "Parked", parked), ("released", "Released", released)]


class ParkedScreen(Screen):
    """Subscriptions whose billing failed and that runs leave out."""

    view_capability = "view_invoices"
    list_display = ("customer", "subscription", "state", "boundary", "why", "since")
    list_select_related = ("organization", "subscription")
    list_filter = (OpenFilter,)
    search_fields = ("organization__name", "^organization__slug", "=public_id")
    ordering = ("-id",)
    actions_detail = ("release",)

    @column("Organization", order="organization__name")
    def customer(self, row: Parked) -> object:
        """The customer's name."""
        return row.organization.name

    @column("State")
    def state(self, row: Parked) -> object:
        """Whether runs leave it out."""
        return cells.badge("parked") if row.released_at is None else cells.badge("released")

    @column("Boundary", order="boundary_at")
    def boundary(self, row: Parked) -> object:
        """What could not be billed."""
        return cells.when(row.boundary_at)

    @column("Reason")
    def why(self, row: Parked) -> object:
        """What went wrong."""
        return cells.short(row.reason, 70)

    @column("Parked", order="parked_at")
    def since(self, row: Parked) -> object:
        """Since when."""
        return cells.when(row.parked_at)

    def facts(self, row: Parked) -> Sequence[Fact]:
        """What failed and why."""
        return [
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription)),
            Fact("Boundary", cells.when(row.boundary_at)),
            Fact("Parked", cells.when(row.parked_at)),
            Fact("Released", cells.when(row.released_at)),
            Fact("Reason", row.reason, wide=True),
        ]

    @act(
        "Release",
        capability="manage_invoices",
        icon="lock_open",
        applies=lambda row: row.released_at is None,
        otherwise=lambda row: "It is released already: runs bill it again.",
    )
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether runs may try again."""
        row = self.row(request, object_id)
        question = Ask(
            f"Release {row.organization}",
            "The next run bills it again. When the cause is still there, it is parked anew.",
            "Release",
        )

        def run(answers: Answers) -> str:
            services.release_parked(row.public_id, actor=actor_of(request), at=time_of(row))
            return f"{row.organization} is billed again by the next run."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)
