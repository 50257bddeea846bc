"""Credit both ways: grants that pay invoices, notes that take them back, money that went back."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.db.models import Q
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.amounts import AmountField
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import ChoiceFilter, Screen
from apps.engine.money import Money
from apps.invoicing import credit, pdf, services
from apps.invoicing import selectors as invoices
from apps.invoicing.models import CreditGrant, CreditNote
from apps.invoicing.services import GrantTerms, Split
from apps.invoicing.services.grants import GIVEN
from apps.payments import selectors as payment_selectors
from apps.payments import services as payments
from apps.payments.models import Refund
from apps.tenants import selectors as tenants


class GrantForm(Question):
    """Credit for a customer."""

    organization = forms.CharField(help_text="Slug, id or external id.")
    amount = AmountField(help_text="Such as 50.00.")
    currency = forms.CharField(max_length=3, required=False, help_text="Empty: the customer's.")
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.label) for kind in GIVEN],
        help_text="A promotion costs when it is used; what we owe lowers revenue now.",
    )
    name = forms.CharField(max_length=200, required=False, help_text="As invoices say it.")
    priority = forms.IntegerField(
        min_value=0, max_value=100, initial=50, help_text="The lowest pays first."
    )
    expires_at = forms.DateTimeField(required=False, help_text="UTC; the first instant too late.")


class WithdrawForm(Question):
    """Why it is withdrawn."""

    reason = forms.CharField(max_length=200)


class NoteForm(Question):
    """What is taken back of an invoice, and where it goes."""

    invoice = forms.CharField(help_text="Its number or id.")
    total = AmountField(
        required=False, help_text="With its tax, spread over the lines. Empty: all that is left."
    )
    reason = forms.ChoiceField(choices=CreditNote.Reason.choices)
    refund = AmountField(
        required=False, help_text="So much of it is paid back; the rest is offset, then credit."
    )
    memo = forms.CharField(max_length=500, required=False, help_text="Printed on the note.")


class RefundForm(Question):
    """Money that went back."""

    amount = AmountField(help_text="At most what the note promised.")
    reference = forms.CharField(
        max_length=100, required=False, help_text="The bank line's; unique per note."
    )


class LeftFilter(ChoiceFilter):
    """By whether something is left."""

    title = "state"
    parameter_name = "state"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """What pays, what is used up or has ended, what was withdrawn."""
        return [
            ("left", "Something left", Q(remaining__gt=0, voided_at=None)),
            ("gone", "Nothing left", Q(remaining=0, voided_at=None)),
            ("withdrawn", "Withdrawn", Q(voided_at__isnull=False)),
        ]


class CreditGrantScreen(Screen):
    """Credit that invoices use up."""

    view_capability = "view_invoices"
    list_display = ("name", "customer", "kind", "granted", "expires", "given", "left_money")
    list_select_related = ("organization",)
    list_filter = (LeftFilter, "kind", "currency")
    lookups = ("organization",)
    search_fields = ("name", "=public_id", "=source", "organization__name", "^organization__slug")
    search_help_text = "Name, customer, cause or id"
    date_hierarchy = "granted_at"
    ordering = ("-id",)
    actions_list = ("grant",)
    actions_detail = ("withdraw",)

    @column("Organization", order="organization__name")
    def customer(self, row: CreditGrant) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Granted", order="granted_at")
    def granted(self, row: CreditGrant) -> object:
        """Since when it is there."""
        return cells.when(row.granted_at)

    @column("Expires", order="expires_at")
    def expires(self, row: CreditGrant) -> object:
        """The first instant too late."""
        return cells.when(row.expires_at)

    @column("Granted as", order="amount")
    def given(self, row: CreditGrant) -> object:
        """How much it was."""
        return cells.money(row.amount, row.currency)

    @column("Left", order="remaining")
    def left_money(self, row: CreditGrant) -> object:
        """How much is left."""
        return cells.money(row.remaining, row.currency)

    def facts(self, row: CreditGrant) -> Sequence[Fact]:
        """What it is for, and what became of it."""
        return [
            Fact("Left", cells.money(row.remaining, row.currency)),
            Fact("Granted as", cells.money(row.amount, row.currency)),
            Fact("Kind", row.get_kind_display()),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Priority", str(row.priority)),
            Fact("Granted", cells.when(row.granted_at)),
            Fact("Expires", cells.when(row.expires_at)),
            Fact("Lines", ", ".join(row.line_kinds) or "Every kind"),
            Fact("Prices", ", ".join(row.price_keys) or "Every price"),
            Fact("Cause", cells.code(row.source)),
            Fact("Granted by", cells.code(row.granted_by)),
            Fact("Withdrawn", cells.when(row.voided_at)),
            Fact("Withdrawn because", row.void_reason),
            Fact("Id", cells.code(row.public_id)),
        ]

    def panels(self, request: HttpRequest, row: CreditGrant) -> Sequence[Panel]:
        """What moved it."""
        moves = credit.movements_of(row.organization_id, grant=row.public_id)
        return [
            Panel(
                "Movements",
                ("When", "What", "Invoice", ">Amount"),
                [
                    (
                        cells.when(one.at),
                        one.kind,
                        one.invoice,
                        cells.money(one.amount, one.currency),
                    )
                    for one in moves
                ],
            )
        ]

    @act("Grant credit", capability="manage_invoices", icon="add")
    def grant(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new grant."""
        question = Ask(
            "Grant credit",
            "The customer's next invoices use it up before anything is to be paid.",
            "Grant credit",
            GrantForm,
        )

        def run(answers: Answers) -> str:
            organization = tenants.get_organization(answers["organization"])
            terms = GrantTerms(
                name=answers["name"],
                priority=answers["priority"],
                expires_at=answers["expires_at"],
            )
            made = services.grant_credit(
                organization.pk,
                amount=answers["amount"],
                currency=answers["currency"].upper(),
                kind=answers["kind"],
                terms=terms,
                actor=actor_of(request),
                at=time_of(organization),
            )
            return f"{organization} has {cells.money(made.amount, made.currency)} more."

        return ask(self, request, question, run=run, back=cells.list_url(CreditGrant))

    @act(
        "Withdraw",
        capability="manage_invoices",
        icon="block",
        danger=True,
        applies=lambda row: row.remaining > 0 and row.voided_at is None,
        otherwise=lambda row: f"Nothing is left of {row.name} to be withdrawn.",
    )
    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why what is left shall go."""
        row = self.row(request, object_id)
        funded = " Money stands behind it: it becomes revenue." if row.is_funded else ""
        question = Ask(
            f"Withdraw {row.name}",
            f"{cells.money(row.remaining, row.currency)} is left and goes for good.{funded}",
            "Withdraw",
            WithdrawForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.void_grant(
                row.public_id, reason=answers["reason"], actor=actor_of(request), at=time_of(row)
            )
            return f"What was left of {row.name} was withdrawn."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class CreditNoteScreen(Screen):
    """What was taken back of invoices."""

    view_capability = "view_invoices"
    list_display = ("number", "customer", "invoice", "reason", "issued", "total_money")
    list_select_related = ("organization", "invoice")
    list_filter = ("reason", "currency")
    lookups = ("organization", "invoice")
    search_fields = (
        "=number", "=public_id", "=invoice__number", "organization__name", "^organization__slug",
    )  # fmt: skip
    search_help_text = "Number, invoice, customer or id"
    date_hierarchy = "issued_at"
    ordering = ("-issued_at", "-id")
    actions_list = ("issue",)
    actions_detail = ("record_refund", "download")

    @column("Organization", order="organization__name")
    def customer(self, row: CreditNote) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Issued", order="issued_at")
    def issued(self, row: CreditNote) -> object:
        """The date on it, in its own zone."""
        return cells.day(row.issued_at, row.timezone)

    @column("Total", order="total")
    def total_money(self, row: CreditNote) -> object:
        """Its amount."""
        return cells.money(row.total, row.currency)

    def heading(self, row: CreditNote) -> str:
        """Return the number and the customer."""
        return f"{row.number} for {row.organization}"

    def facts(self, row: CreditNote) -> Sequence[Fact]:
        """Amounts, where they went, and what seals it."""
        return [
            Fact("Total", cells.money(row.total, row.currency)),
            Fact("Of it tax", cells.money(row.tax, row.currency)),
            Fact("Offset", cells.money(row.offset_amount, row.currency)),
            Fact("Became credit", cells.money(row.credited_amount, row.currency)),
            Fact("To be paid back", cells.money(row.refunded_amount, row.currency)),
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Reason", row.get_reason_display()),
            Fact("Memo", row.memo),
            Fact("Issued", cells.day(row.issued_at, row.timezone)),
            Fact("Issued by", cells.code(row.issued_by)),
            Fact("Id", cells.code(row.public_id)),
            Fact("Content hash", cells.code(row.content_hash), wide=True),
        ]

    def panels(self, request: HttpRequest, row: CreditNote) -> Sequence[Panel]:
        """Its lines, and what was paid back of it."""
        return [
            Panel(
                "Lines",
                ("Line", ">Net", ">Tax"),
                [
                    (
                        one.name,
                        cells.money(one.amount, row.currency),
                        cells.money(one.tax, row.currency),
                    )
                    for one in row.lines.all()
                ],
            ),
            Panel(
                "Refunds",
                ("Reference", "Paid back", ">Amount"),
                [
                    (
                        cells.link_to(one, one.reference),
                        cells.when(one.refunded_at),
                        cells.money(one.amount, one.currency),
                    )
                    for one in payment_selectors.refunds_of_credit_note(row.pk)
                ],
                empty="Nothing was paid back.",
            ),
        ]

    @act("Issue credit note", capability="manage_invoices", icon="add")
    def issue(self, request: HttpRequest) -> HttpResponse:
        """Ask what shall be taken back of which invoice."""
        question = Ask(
            "Issue a credit note",
            "It gets the next number and never changes. What is due is lowered first, the rest "
            "becomes the customer's credit. issue_credit_note names single lines.",
            "Issue credit note",
            NoteForm,
            initial={"invoice": request.GET.get("invoice", "")},
        )

        def run(answers: Answers) -> str:
            invoice = invoices.get(answers["invoice"])
            made = services.issue_credit_note(
                invoice.public_id,
                reason=answers["reason"],
                total=answers["total"],
                memo=answers["memo"],
                split=Split(refund=answers["refund"]),
                actor=actor_of(request),
                at=time_of(invoice),
            )
            total = cells.money(made.total, made.currency)
            return f"Credit note {made} was issued over {total}."

        return ask(self, request, question, run=run, back=cells.list_url(CreditNote))

    @act(
        "Record refund",
        capability="record_payments",
        icon="undo",
        applies=lambda row: row.refunded_amount > 0,
        otherwise=lambda row: f"{row} promises to pay nothing back.",
    )
    def record_refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask what went back."""
        row = self.row(request, object_id)
        done = sum(one.amount for one in payment_selectors.refunds_of_credit_note(row.pk))
        question = Ask(
            f"Record a refund for {row}",
            f"{cells.money(row.refunded_amount - done, row.currency)} is still to be paid back.",
            "Record refund",
            RefundForm,
            initial={"amount": Money(row.refunded_amount - done, row.currency).major},
        )

        def run(answers: Answers) -> str:
            paid = payments.record_refund(
                row.public_id, **answers, actor=actor_of(request), at=time_of(row)
            )
            return f"{cells.money(paid.amount, paid.currency)} was recorded as paid back."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("PDF", capability="view_invoices", icon="picture_as_pdf")
    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the note as a PDF."""
        row = self.row(request, object_id)
        document = credit.credit_note_document(credit.get_credit_note(row.public_id))
        response = HttpResponse(pdf.render(document), content_type="application/pdf")
        response["Content-Disposition"] = f'attachment; filename="{row.number}.pdf"'
        return response


class RefundScreen(Screen):
    """Money that went back; it is recorded on its credit note's page."""

    view_capability = "view_invoices"
    list_display = ("reference", "customer", "credit_note", "method", "paid", "amount_money")
    list_select_related = ("organization", "credit_note")
    list_filter = ("method", "currency")
    lookups = ("organization",)
    search_fields = (
        "reference", "=public_id", "=credit_note__number", "organization__name",
    )  # fmt: skip
    search_help_text = "Reference, credit note or customer"
    date_hierarchy = "refunded_at"
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: Refund) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Paid back", order="refunded_at")
    def paid(self, row: Refund) -> object:
        """When it went."""
        return cells.when(row.refunded_at)

    @column("Amount", order="amount")
    def amount_money(self, row: Refund) -> object:
        """How much."""
        return cells.money(row.amount, row.currency)

    def facts(self, row: Refund) -> Sequence[Fact]:
        """What went back, for what, recorded by whom."""
        return [
            Fact("Amount", cells.money(row.amount, row.currency)),
            Fact("Credit note", cells.link_to(row.credit_note)),
            Fact("Invoice", cells.link_to(row.invoice)),
            Fact("Payment", cells.link_to(row.payment)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Reference", row.reference),
            Fact("Method", row.get_method_display()),
            Fact("Paid back", cells.when(row.refunded_at)),
            Fact("Recorded by", cells.code(row.recorded_by)),
            Fact("Id", cells.code(row.public_id)),
        ]
