"""Customers, the people and keys around them, the issuers of invoices and the applications."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from apps.audit import selectors as audit
from apps.audit.models import AuditEntry
from apps.backoffice.access import actor_of, may, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.invoicing import standing
from apps.backoffice.admin.licensing import ask_licence_terms
from apps.backoffice.admin.live import usage_now
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import ChoiceFilter, Screen
from apps.backoffice.admin.subscriptions import SubscribeForm, full_name, subscribe
from apps.backoffice.admin.watch import ask_terms
from apps.backoffice.pages import usage
from apps.core import clock
from apps.core.errors import Conflict
from apps.engine.money import InvalidAmount, Money, UnknownCurrency
from apps.invoicing import selectors as invoicing
from apps.invoicing.models import Invoice
from apps.payments.models import Payment
from apps.subscriptions.models import Subscription
from apps.tenants import roles, services
from apps.tenants import selectors as tenants
from apps.tenants.models import (
    ApiKey,
    Application,
    BillingEntity,
    ExternalId,
    Membership,
    Organization,
    TestClock,
    User,
)
from apps.tenants.services import NewKey

LATEST = 10
ROLE_CHOICES = [(role.value, role.label) for role in Membership.Role]
SCOPE_CHOICES = [(scope, scope) for scope in roles.SCOPES]


class Pairs(forms.CharField):
    """A small table, one `KEY value` a line; {KEY: value} in Python."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea, required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the table as lines."""
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{key} {self.written(key, one)}".rstrip() for key, one in value.items())

    def to_python(self, value: Any) -> Any:
        """Return the lines as a table."""
        pairs = [line.strip().partition(" ") for line in str(value or "").splitlines()]
        return {key.upper(): self.read(key.upper(), rest.strip()) for key, _, rest in pairs if key}

    def written(self, key: str, value: Any) -> str:
        """Return a value in words."""
        return str(value)

    def read(self, key: str, words: str) -> Any:
        """Return a value from its words."""
        return words


class Limits(Pairs):
    """Amounts by currency: written as 100.00, minor units in Python."""

    def written(self, key: str, value: Any) -> str:
        """Return an amount in major units."""
        return str(Money(value, key)).removesuffix(f" {key}")

    def read(self, key: str, words: str) -> Any:
        """Return minor units."""
        try:
            return Money.of(words, key).minor
        except (InvalidAmount, UnknownCurrency) as error:
            raise forms.ValidationError(f"'{key} {words}' is no amount: {error}") from None


class NewOrganizationForm(Question):
    """What create_organization needs."""

    slug = forms.CharField(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    name = forms.CharField(max_length=200)
    currency = forms.CharField(max_length=3, initial="USD", help_text="ISO 4217; it never changes.")
    timezone = forms.CharField(initial="UTC", help_text="An IANA zone such as Europe/Berlin.")
    country = forms.CharField(max_length=2, initial="US", help_text="ISO 3166-1, two letters.")
    email = forms.EmailField(required=False, help_text="Where invoices are mailed.")
    industry = forms.CharField(max_length=40, required=False)


class EditOrganizationForm(Question):
    """What update_organization may change."""

    name = forms.CharField(max_length=200)
    legal_name = forms.CharField(max_length=200, required=False)
    email = forms.EmailField(required=False, help_text="Where invoices are mailed.")
    address = forms.CharField(widget=forms.Textarea, required=False)
    postcode = forms.CharField(max_length=20, required=False)
    city = forms.CharField(max_length=100, required=False)
    region = forms.CharField(max_length=60, required=False, help_text="State: CA, NY. Taxes vary.")
    country = forms.CharField(max_length=2, help_text="ISO 3166-1, two letters.")
    tax_id = forms.CharField(max_length=40, required=False, label="Tax id")
    timezone = forms.CharField(help_text="Counts from the next subscription on.")
    locale = forms.CharField(max_length=20)
    industry = forms.CharField(max_length=40, required=False)


class TermsForm(Question):
    """What change_billing_terms may change."""

    billing_entity = forms.ChoiceField(choices=(), label="Invoices issued by")
    parent = forms.CharField(
        required=False, max_length=63, label="Paid by", help_text="A slug; empty: pays itself."
    )
    invoice_grouping = forms.ChoiceField(choices=Organization.InvoiceGrouping.choices)
    invoice_hold = forms.BooleanField(required=False, label="Every draft waits for a review")
    tax_exemption = forms.ChoiceField(choices=Organization.TaxExemption.choices)
    tax_exemption_reason = forms.CharField(
        required=False, max_length=200, help_text="A VATEX code, or words for the invoice."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["billing_entity"]
        chosen.choices = [(row.slug, row.legal_name) for row in BillingEntity.objects.all()]


class ClockForm(Question):
    """Which test clock an organization shall live by."""

    clock = forms.ChoiceField(choices=(), label="Test clock")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["clock"]
        chosen.choices = [(row.public_id, str(row)) for row in TestClock.objects.all()]


class NewClockForm(Question):
    """A new test clock."""

    name = forms.CharField(max_length=100)
    now = forms.DateTimeField(
        label="Stands at (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )


class SetClockForm(Question):
    """Where a test clock shall stand."""

    to = forms.DateTimeField(
        label="Stands at (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )


class InviteForm(Question):
    """Whom to invite, and as what."""

    email = forms.EmailField()
    role = forms.ChoiceField(choices=ROLE_CHOICES, initial="OWNER")


class KeyForm(Question):
    """A new API key."""

    name = forms.CharField(max_length=100, help_text="What will use it.")
    scopes = forms.MultipleChoiceField(choices=SCOPE_CHOICES, widget=forms.CheckboxSelectMultiple)
    expires_at = forms.DateTimeField(
        required=False,
        label="Expires (UTC)",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )


class RotateForm(Question):
    """How long an old key goes on."""

    overlap_hours = forms.IntegerField(
        label="Hours that the old key goes on",
        initial=24,
        min_value=0,
        max_value=168,
        help_text="0: it is refused from now on.",
    )


class ExternalIdForm(Question):
    """What an application calls the organization."""

    application = forms.ChoiceField(choices=())
    external_id = forms.CharField(max_length=200, label="External id")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["application"]
        chosen.choices = [(row.slug, row.name) for row in Application.objects.all()]


class RoleForm(Question):
    """Another role."""

    role = forms.ChoiceField(choices=ROLE_CHOICES)


class SuccessorForm(Question):
    """Who becomes owner; a subclass knows who there is."""

    choices: Sequence[tuple[str, str]] = ()
    successor = forms.ChoiceField(choices=(), label="New owner")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen: Any = self.fields["successor"]
        chosen.choices = self.choices


class NewUserForm(Question):
    """A person who signs in; groups make them staff."""

    email = forms.EmailField()
    name = forms.CharField(max_length=200, required=False)
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters. Hand it over in person; they can change it.",
    )
    groups = forms.MultipleChoiceField(
        choices=[(name, name) for name in roles.STAFF_CAPABILITIES],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label="Staff groups",
        help_text="None: a customer's user, who sees no admin.",
    )


class BillingEntityForm(Question):
    """What stands on invoices issued from now on."""

    legal_name = forms.CharField(max_length=200)
    address = forms.CharField(widget=forms.Textarea, required=False)
    postcode = forms.CharField(max_length=20, required=False)
    city = forms.CharField(max_length=100, required=False)
    region = forms.CharField(max_length=60, required=False, help_text="State: CA, NY.")
    country = forms.CharField(max_length=2, required=False, help_text="ISO 3166-1, two letters.")
    tax_id = forms.CharField(max_length=40, required=False, label="Tax id")
    tax_registrations = Pairs(
        help_text="One a line, 'PLACE tax-id': DE DE136695976, US-CA 1234, EU (One-Stop Shop)."
    )
    email = forms.EmailField(required=False)
    invoice_prefix = forms.CharField(max_length=12, help_text="For numbers taken from now on.")
    credit_note_prefix = forms.CharField(max_length=16, help_text="For numbers from now on.")
    payment_terms_days = forms.IntegerField(min_value=0, max_value=365)
    bank_details = forms.CharField(widget=forms.Textarea, required=False)
    grace_days = forms.IntegerField(
        min_value=0, max_value=90, help_text="Days that a draft waits for late usage."
    )
    late_usage = forms.ChoiceField(choices=BillingEntity.LateUsage.choices)
    correction_limits = Limits(
        help_text="One a line, 'USD 100.00': corrections above wait for a review. None: no limit."
    )
    hold_factor = forms.DecimalField(
        required=False, min_value=1, max_digits=8, decimal_places=2,
        help_text="Holds a draft above so many times the usual amount; empty: never.",
    )  # fmt: skip
    tax_rounding = forms.ChoiceField(choices=BillingEntity.TaxRounding.choices)
    inclusive_rounding = forms.ChoiceField(choices=BillingEntity.InclusiveRounding.choices)
    max_items_per_day = forms.IntegerField(
        min_value=1, help_text="One-off items that a customer may be billed in a day."
    )
    max_months_ahead = forms.IntegerField(
        min_value=1, max_value=120, help_text="How far ahead anything may be dated."
    )


class NewBillingEntityForm(Question):
    """What define_billing_entity needs."""

    slug = forms.CharField(max_length=50, help_text="Lower-case letters, digits and hyphens.")
    legal_name = forms.CharField(max_length=200)
    invoice_prefix = forms.CharField(max_length=12, help_text="Starts every number: EM-000001.")
    country = forms.CharField(max_length=2, help_text="ISO 3166-1, two letters.")
    tax_id = forms.CharField(max_length=40, required=False, label="Tax id")


class BalanceFilter(ChoiceFilter):
    """Who owes something."""

    title = "balance"
    parameter_name = "balance"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """Owing, and owing too long."""
        unpaid = Invoice.objects.filter(status="open", total__gt=0).values("organization_id")
        late = unpaid.filter(due_at__lt=clock.now())
        return [
            ("open", "Has open invoices", Q(pk__in=unpaid)),
            ("past_due", "Is past due", Q(pk__in=late)),
            ("none", "Owes nothing", ~Q(pk__in=unpaid)),
        ]


class SubscribedFilter(ChoiceFilter):
    """Who is subscribed."""

    title = "subscription"
    parameter_name = "subscribed"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """By what stands."""
        live = Subscription.objects.exclude(status="canceled").values("organization_id")
        return [("yes", "Subscribed", Q(pk__in=live)), ("no", "Not subscribed", ~Q(pk__in=live))]


class OrganizationScreen(Screen):
    """Customers."""

    list_display = ("name", "slug_code", "currency", "country", "industry", "email", "since")
    list_filter = (BalanceFilter, SubscribedFilter, "currency", "country", "industry")
    search_fields = ("name", "legal_name", "^slug", "email", "=public_id", "=tax_id")
    search_help_text = "Name, slug, e-mail, id or tax id"
    ordering = ("name",)
    actions_list = ("create",)
    actions_detail = (
        "subscribe",
        {"title": "Add", "icon": "add", "items": ["invite", "create_key", "map_id"]},
        {
            "title": "Billing",
            "icon": "receipt_long",
            "items": ["terms", "watching", "licence_terms", "recheck_tax_id", "attach_clock"],
        },
        "edit",
    )

    @column("Slug", order="slug")
    def slug_code(self, row: Organization) -> object:
        """The slug."""
        return cells.code(row.slug)

    @column("Customer since", order="created_at")
    def since(self, row: Organization) -> object:
        """The day it was created."""
        return cells.day(row.created_at)

    def facts(self, row: Organization) -> Sequence[Fact]:
        """Identity, billing details and what is owed."""
        standing = invoicing.standing(row.pk, at=time_of(row))
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Slug", cells.code(row.slug)),
            Fact("Due", cells.sums({one.currency: one.due for one in standing})),
            Fact("Past due", cells.sums({o.currency: o.overdue for o in standing if o.overdue})),
            Fact("Legal name", row.legal_name),
            Fact("E-mail", row.email),
            Fact("Currency", row.currency),
            Fact("Time zone", row.timezone),
            Fact("Country", row.country),
            Fact("Tax id", row.tax_id),
            Fact("Tax id is", tax_id_state(row)),
            Fact("Tax", row.get_tax_exemption_display()),
            Fact("Reason", row.tax_exemption_reason),
            Fact("Industry", row.industry),
            Fact("Locale", row.locale),
            Fact("Invoices issued by", cells.link_to(row.billing_entity)),
            Fact("Paid by", cells.link_to(row.parent) if row.parent else "Itself"),
            Fact("Invoices", row.get_invoice_grouping_display()),
            Fact("Drafts", "All are reviewed" if row.invoice_hold else "Issued when due"),
            Fact("Test clock", cells.link_to(row.test_clock) if row.test_clock else ""),
            Fact("Created", cells.when(row.created_at)),
            Fact("Address", _place(row), wide=True),
        ]

    def panels(self, request: HttpRequest, row: Organization) -> Sequence[Panel]:
        """All that belongs to the customer, the latest of each."""
        panels = [_subscriptions(row)]
        if may(request, "view_usage"):
            panels.append(usage_now(request, row, at=clock.now()))
        if may(request, "view_invoices"):
            panels += [_invoices(row), _payments(row)]
        panels += [_members(row), _keys(row), _external_ids(row)]
        if settings.ENABLE_AUDIT_LOG and may(request, "view_audit"):
            panels.append(_audit(row))
        return panels

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the organization's usage."""
        page = path(
            "<str:object_id>/usage/",
            self.admin_site.admin_view(self.usage_view),
            name="tenants_organization_usage",
        )
        return [page, *super().get_urls()]

    def usage_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what it uses, where that is heading, by time and by dimension."""
        if not may(request, "view_usage"):
            raise Http404
        return usage.page(self, request, self.row(request, object_id), at=clock.now())

    @act("Create organization", capability="manage_platform", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new customer's first details."""
        question = Ask(
            "Create an organization",
            "The slug and the currency stay; everything else can be changed later.",
            "Create organization",
            NewOrganizationForm,
        )
        back = cells.list_url(Organization)
        return ask(self, request, question, run=partial(_create, request), back=back)

    @act("Edit", capability="manage_organization", icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for new details."""
        row = self.row(request, object_id)
        initial = {name: getattr(row, name) for name in EditOrganizationForm.base_fields}
        question = Ask(
            f"Edit {row}",
            "Invoices that are final keep the details they were issued with.",
            "Save",
            EditOrganizationForm,
            initial=initial,
        )

        def run(answers: Answers) -> str:
            changes = {key: value for key, value in answers.items() if initial[key] != value}
            if not changes:
                return "Nothing was changed."
            services.update_organization(
                row.pk, changes=changes, actor=actor_of(request), at=time_of(row)
            )
            return f"{answers['name']} was updated."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("How usage is watched", capability="manage_invoices", icon="monitoring")
    def watching(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask how closely anomalies of its usage are watched for."""
        row = self.row(request, object_id)
        return ask_terms(self, request, row, back=cells.url_of(row))

    @act("How licences are", capability="manage_licence_terms", icon="verified_user")
    def licence_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask how long its licences last."""
        return ask_licence_terms(self, request, self.row(request, object_id))

    @act("Change billing terms", capability="manage_terms", icon="gavel")
    def terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for another issuer, payer or standing before the tax."""
        row = self.row(request, object_id)
        initial = {name: getattr(row, name) for name in TermsForm.base_fields}
        initial["billing_entity"] = row.billing_entity.slug
        initial["parent"] = row.parent.slug if row.parent else ""
        question = Ask(
            f"Billing terms of {row}",
            "They count from the next invoice on; issued ones stay as they are.",
            "Save",
            TermsForm,
            initial=initial,
        )

        def run(answers: Answers) -> str:
            changes = {key: value for key, value in answers.items() if initial[key] != value}
            services.change_billing_terms(
                row.pk, changes=changes, actor=actor_of(request), at=time_of(row)
            )
            return f"The terms of {row} were saved."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Check tax id again",
        capability="manage_organization",
        icon="verified",
        applies=lambda row: bool(row.tax_id),
        otherwise=lambda row: f"{row} has no tax id.",
    )
    def recheck_tax_id(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the tax id shall be judged anew."""
        row = self.row(request, object_id)
        question = Ask(
            f"Check {row.tax_id} again",
            "Its form is checked at once; a register is asked within a minute or so, if one is"
            " configured.",
            "Check",
        )

        def run(answers: Answers) -> str:
            found = services.recheck_tax_id(row.pk, actor=actor_of(request), at=clock.now())
            return f"{row.tax_id}: {found.get_tax_id_status_display().lower()}."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Attach to a test clock",
        capability="manage_platform",
        icon="schedule",
        applies=lambda row: row.test_clock_id is None and not settings.PRODUCTION,
        otherwise=lambda row: f"{row} has a test clock, or this is no sandbox.",
    )
    def attach_clock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a test clock."""
        row = self.row(request, object_id)
        question = Ask(
            f"Attach {row} to a test clock",
            "From then on it lives by that clock, for good.",
            "Attach",
            ClockForm,
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.attach_test_clock(row.pk, **answers, actor=actor_of(request), at=clock.now())
            return f"{row} lives by a test clock now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Subscribe", capability="manage_billing", icon="autorenew")
    def subscribe(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask which plan, from when, and with how many seats."""
        row = self.row(request, object_id)
        question = Ask(
            f"Subscribe {row}",
            "Cuts no invoice by itself: a start in the past is billed by bill_due only.",
            "Subscribe",
            SubscribeForm,
            initial={"organization": row.slug, "start": clock.now()},
        )
        return ask(self, request, question, run=partial(subscribe, request), back=cells.url_of(row))

    @act("Invite member", capability="invite_members", icon="person_add")
    def invite(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whom to invite."""
        row = self.row(request, object_id)
        question = Ask(
            f"Invite to {row}", "They get a link by mail that lasts 7 days.", "Invite", InviteForm
        )

        def run(answers: Answers) -> str:
            services.invite_member(row.pk, **answers, actor=actor_of(request), at=clock.now())
            return f"{answers['email']} was invited."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Create API key", capability="manage_api_keys", icon="key")
    def create_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a new key's scopes."""
        row = self.row(request, object_id)
        return _ask_for_key(self, request, row)

    @act("Map external id", capability="manage_organization", icon="link")
    def map_id(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask what an application calls the organization."""
        row = self.row(request, object_id)
        question = Ask(
            f"Map an external id to {row}",
            "Usage events of that application may then name the organization by it.",
            "Map",
            ExternalIdForm,
        )

        def run(answers: Answers) -> str:
            services.map_external_id(row.pk, **answers, actor=actor_of(request), at=clock.now())
            return f"'{answers['external_id']}' means {row} now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _create(request: HttpRequest, answers: Answers) -> str:
    row = services.create_organization(**answers, actor=actor_of(request), at=clock.now())
    return f"{row.name} was created."


def tax_id_state(row: Organization) -> SafeString | str:
    """Return what is known of the tax id, as a label."""
    if not row.tax_id:
        return ""
    tone = {"invalid": "danger", "verified": "success", "unreachable": "warning"}
    return cells.badge(row.get_tax_id_status_display(), tone.get(row.tax_id_status, "info"))


def _place(row: Organization | BillingEntity) -> str:
    last = " ".join(part for part in (row.postcode, row.city, row.region) if part)
    return "\n".join(part for part in (row.address, last) if part)


def _subscriptions(row: Organization) -> Panel:
    found = Subscription.objects.filter(organization=row).select_related(
        "application", "plan_version__plan"
    )
    return Panel(
        "Subscriptions",
        ("Subscription", "Plan", "Status", "Started", "Next boundary", "Ends"),
        [
            (
                cells.link_to(one),
                full_name(one),
                cells.badge(one.status),
                cells.day(one.started_at, one.timezone),
                cells.when(one.next_boundary_at) if one.is_live else cells.EMPTY,
                cells.day(one.ended_at or one.cancel_at, one.timezone),
            )
            for one in found[:LATEST]
        ],
        empty="No subscription yet: 'Subscribe' starts one.",
        more=cells.list_url(Subscription, organization=row.pk),
    )


def _invoices(row: Organization) -> Panel:
    found = Invoice.objects.filter(organization=row).order_by("-issued_at", "-id")
    return Panel(
        "Invoices",
        ("Invoice", "Status", "Issued", "Due", ">Total", ">To pay"),
        [
            (
                cells.link_to(one),
                cells.badge(standing(one)),
                cells.day(one.issued_at, one.timezone),
                cells.day(one.due_at, one.timezone),
                cells.money(one.total, one.currency),
                cells.money(one.amount_due, one.currency),
            )
            for one in found[:LATEST]
        ],
        empty="No invoice yet: a run issues what is due.",
        more=cells.list_url(Invoice, organization=row.pk),
    )


def _payments(row: Organization) -> Panel:
    found = Payment.objects.filter(organization=row).select_related("invoice")
    return Panel(
        "Payments",
        ("Payment", "Invoice", "Received", ">Amount"),
        [
            (
                cells.link_to(one, one.reference),
                cells.link_to(one.invoice),
                cells.day(one.received_at),
                cells.money(one.amount, one.currency),
            )
            for one in found[:LATEST]
        ],
        more=cells.list_url(Payment, organization=row.pk),
    )


def _members(row: Organization) -> Panel:
    people = [
        (
            cells.link_to(one, one.user.email),
            one.user.name,
            one.get_role_display(),
            cells.day(one.created_at),
            cells.when(one.user.last_login),
        )
        for one in tenants.members(row.pk)
    ]
    invited = [
        (one.email, cells.badge("invited", "info"), one.get_role_display(), "", cells.EMPTY)
        for one in tenants.open_invitations(row.pk, at=clock.now())
    ]
    return Panel(
        "Members",
        ("E-mail", "Name", "Role", "Since", "Last signed in"),
        [*people, *invited],
        empty="Nobody yet: invite the owner.",
    )


def _keys(row: Organization) -> Panel:
    return Panel(
        "API keys",
        ("Name", "Starts with", "Scopes", "State", "Last used"),
        [
            (
                cells.link_to(one, one.name),
                cells.code(one.prefix),
                ", ".join(one.scopes),
                key_state(one),
                cells.when(one.last_used_at),
            )
            for one in tenants.api_keys(row.pk)[:LATEST]
        ],
        more=cells.list_url(ApiKey, organization=row.pk),
    )


def _external_ids(row: Organization) -> Panel:
    found = ExternalId.objects.filter(organization=row).select_related("application", "user")
    return Panel(
        "External ids",
        ("Application", "External id", "Means"),
        [
            (one.application.name, cells.code(one.external_id), str(one.user or row))
            for one in found[:LATEST]
        ],
        empty="Events name this organization by its slug.",
    )


def _audit(row: Organization) -> Panel:
    return Panel(
        "Audit",
        ("When", "Who", "What", "To"),
        [
            (cells.when(one.at), one.actor, cells.code(one.action), cells.code(one.target))
            for one in audit.latest(row.pk, limit=15)
        ],
        more=cells.list_url(AuditEntry, organization_id=row.pk),
    )


def key_state(row: ApiKey) -> SafeString:
    """Return whether the key works, as a label."""
    if row.revoked_at is not None:
        return cells.badge("revoked", "danger")
    if row.expires_at is not None and row.expires_at <= clock.now():
        return cells.badge("expired", "warning")
    return cells.badge("active")


def _ask_for_key(screen: Screen, request: HttpRequest, row: Organization | None) -> HttpResponse:
    whose = str(row) if row else "the platform"
    question = Ask(
        f"Create an API key for {whose}",
        "The key is shown once, on the next page."
        if row
        else "A platform key acts for every organization. It is shown once, on the next page.",
        "Create key",
        KeyForm,
        danger=row is None,
    )
    back = cells.url_of(row) if row else cells.list_url(ApiKey)

    def run(answers: Answers) -> HttpResponse:
        made = services.create_api_key(
            row.pk if row else None, **answers, actor=actor_of(request), at=clock.now()
        )
        return _shown_once(screen, request, made, back=back)

    return ask(screen, request, question, run=run, back=back, row=row)


def _shown_once(screen: Screen, request: HttpRequest, made: NewKey, *, back: str) -> HttpResponse:
    """Return the only page that holds the key."""
    context = {
        **screen.admin_site.each_context(request),
        "opts": ApiKey._meta,
        "title": f"API key {made.row.name} for {made.row.organization or 'the platform'}",
        "secret": made.secret,
        "key": made.row,
        "back": back,
    }
    shown = TemplateResponse(request, "admin/backoffice/secret.html", context)
    shown["Cache-Control"] = "no-store"
    return shown


class ApiKeyScreen(Screen):
    """Keys of organizations and of the platform."""

    list_display = ("name", "prefix_code", "whose", "state", "used", "expires")
    list_select_related = ("organization",)
    lookups = ("organization",)
    search_fields = ("name", "^prefix", "organization__name", "^organization__slug")
    ordering = ("-id",)
    actions_list = ("create_platform_key",)
    actions_detail = ("rotate", "revoke")

    @column("Starts with")
    def prefix_code(self, row: ApiKey) -> object:
        """The start of the key."""
        return cells.code(row.prefix)

    @column("Organization", order="organization__name")
    def whose(self, row: ApiKey) -> object:
        """The organization, or the platform."""
        return row.organization or cells.badge("platform", "warning")

    @column("State")
    def state(self, row: ApiKey) -> object:
        """Whether it works."""
        return key_state(row)

    @column("Last used", order="last_used_at")
    def used(self, row: ApiKey) -> object:
        """When it was last used."""
        return cells.when(row.last_used_at)

    @column("Expires", order="expires_at")
    def expires(self, row: ApiKey) -> object:
        """When it stops working."""
        return cells.day(row.expires_at)

    def facts(self, row: ApiKey) -> Sequence[Fact]:
        """Everything but the key."""
        owner = cells.link_to(row.organization) if row.organization else "The platform"
        return [
            Fact("State", key_state(row)),
            Fact("Organization", owner),
            Fact("Starts with", cells.code(row.prefix)),
            Fact("Scopes", ", ".join(row.scopes)),
            Fact("Created", cells.when(row.created_at)),
            Fact("Last used", cells.when(row.last_used_at)),
            Fact("Expires", cells.when(row.expires_at)),
            Fact("Revoked", cells.when(row.revoked_at)),
            Fact("Replaces", cells.link_to(row.rotated_from) if row.rotated_from else ""),
        ]

    @act("Create platform key", capability="manage_platform", icon="add")
    def create_platform_key(self, request: HttpRequest) -> HttpResponse:
        """Ask for a platform key's scopes."""
        return _ask_for_key(self, request, None)

    @act(
        "Rotate",
        capability="manage_api_keys",
        icon="autorenew",
        applies=lambda row: row.is_good(clock.now()),
        otherwise=lambda row: f"The key {row.name} works no longer; create a new one.",
    )
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask how long the old key shall go on."""
        row = self.row(request, object_id)
        question = Ask(
            f"Rotate {row.name}",
            "A new key with the same scopes is made and shown once; both work until the old one"
            " expires.",
            "Rotate key",
            RotateForm,
        )

        def run(answers: Answers) -> HttpResponse:
            overlap = timedelta(hours=answers["overlap_hours"])
            made = services.rotate_api_key(
                row.public_id, overlap=overlap, actor=actor_of(request), at=clock.now()
            )
            return _shown_once(self, request, made, back=cells.url_of(row))

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Revoke",
        capability="manage_api_keys",
        icon="block",
        danger=True,
        applies=lambda row: row.revoked_at is None,
        otherwise=lambda row: f"The key {row.name} is revoked already.",
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the key shall stop working."""
        row = self.row(request, object_id)
        question = Ask(
            f"Revoke {row.name}",
            "Whatever uses the key is refused from this moment on. This cannot be undone.",
            "Revoke key",
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.revoke_api_key(row.public_id, actor=actor_of(request), at=clock.now())
            return f"{row.name} works no longer."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class MembershipScreen(Screen):
    """Who belongs to which organization."""

    list_display = ("user", "organization", "role", "since")
    list_select_related = ("user", "organization")
    list_filter = ("role",)
    search_fields = ("^user__email", "user__name", "organization__name", "^organization__slug")
    ordering = ("-id",)
    actions_detail = ("change_role", "hand_over", "remove")

    @column("Since", order="created_at")
    def since(self, row: Membership) -> object:
        """When they joined."""
        return cells.day(row.created_at)

    def facts(self, row: Membership) -> Sequence[Fact]:
        """Who, where and as what."""
        return [
            Fact("User", cells.link_to(row.user, row.user.email)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Role", row.get_role_display()),
            Fact("Since", cells.when(row.created_at)),
        ]

    @act("Change role", capability="manage_roles", icon="badge")
    def change_role(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for another role."""
        row = self.row(request, object_id)
        question = Ask(
            f"Role of {row.user} in {row.organization}",
            "An organization keeps at least one owner.",
            "Change role",
            RoleForm,
            initial={"role": row.role},
        )

        def run(answers: Answers) -> str:
            services.change_role(
                row.public_id, role=answers["role"], actor=actor_of(request), at=clock.now()
            )
            return f"{row.user} is {Membership.Role(answers['role']).label} now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act(
        "Hand over",
        capability="manage_roles",
        icon="swap_horiz",
        applies=lambda row: row.role == roles.OWNER,
        otherwise=lambda row: f"{row.user} is no owner and has nothing to hand over.",
    )
    def hand_over(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask who becomes owner in this one's place."""
        row = self.row(request, object_id)
        others = Membership.objects.filter(organization_id=row.organization_id)
        others = others.exclude(role=roles.OWNER).select_related("user")
        choices = [(one.public_id, str(one)) for one in others.order_by("user__email")]
        question = Ask(
            f"Hand over {row.organization}",
            f"{row.user} becomes billing admin.",
            "Hand over",
            type("SuccessorForm", (SuccessorForm,), {"choices": choices}),
        )

        def run(answers: Answers) -> str:
            heir = services.transfer_ownership(
                row.public_id,
                successor=answers["successor"],
                actor=actor_of(request),
                at=clock.now(),
            )
            return f"{heir.user} is owner now."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)

    @act("Remove", capability="manage_roles", icon="person_remove", danger=True)
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the member shall go."""
        row = self.row(request, object_id)
        question = Ask(
            f"Remove {row.user} from {row.organization}",
            "They lose access to the organization at once; their account stays.",
            "Remove member",
            danger=True,
        )

        def run(answers: Answers) -> str:
            services.remove_member(row.public_id, actor=actor_of(request), at=clock.now())
            return f"{row.user} is no member of {row.organization} any more."

        back = cells.url_of(row.organization)
        return ask(self, request, question, run=run, back=back, row=row)


class StaffFilter(ChoiceFilter):
    """Staff or customers' users."""

    title = "kind"
    parameter_name = "kind"

    @classmethod
    def conditions(cls) -> Sequence[tuple[str, str, Q]]:
        """By group."""
        groups = [(name.lower(), f"Staff: {name}", Q(groups__name=name)) for name in STAFF_GROUPS]
        return [("staff", "All staff", Q(is_staff=True)), *groups]


STAFF_GROUPS = tuple(roles.STAFF_CAPABILITIES)


class UserScreen(Screen):
    """People who sign in: staff and customers' users."""

    list_display = ("email", "name", "kind", "active", "signed_in", "since")
    list_filter = (StaffFilter, "is_active")
    search_fields = ("^email", "name", "=public_id")
    ordering = ("email",)
    actions_list = ("create",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Return the users with their groups."""
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.prefetch_related("groups")

    @column("Kind")
    def kind(self, row: User) -> object:
        """The staff groups, if any."""
        groups: list[Group] = list(row.groups.all())
        return cells.badge(", ".join(one.name for one in groups), "primary") if groups else "User"

    @column("State", order="is_active")
    def active(self, row: User) -> object:
        """Whether they may sign in."""
        return cells.badge("active") if row.is_active else cells.badge("inactive", "danger")

    @column("Last signed in", order="last_login")
    def signed_in(self, row: User) -> object:
        """When they last signed in."""
        return cells.when(row.last_login)

    @column("Since", order="created_at")
    def since(self, row: User) -> object:
        """When the account was made."""
        return cells.day(row.created_at)

    def facts(self, row: User) -> Sequence[Fact]:
        """Who it is and what they may do."""
        groups = ", ".join(one.name for one in row.groups.all())
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("E-mail", row.email),
            Fact("Name", row.name),
            Fact("State", cells.badge("active" if row.is_active else "inactive")),
            Fact("Staff groups", groups or "None: a customer's user"),
            Fact("Last signed in", cells.when(row.last_login)),
            Fact("Created", cells.when(row.created_at)),
        ]

    def panels(self, request: HttpRequest, row: User) -> Sequence[Panel]:
        """The organizations they belong to."""
        found = Membership.objects.filter(user=row).select_related("organization")
        rows = [
            (cells.link_to(one.organization), one.get_role_display(), cells.day(one.created_at))
            for one in found
        ]
        headings = ("Organization", "Role", "Since")
        return [Panel("Organizations", headings, rows, empty="Belongs to no organization.")]

    @act("Create user", capability="manage_platform", icon="person_add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new user."""
        question = Ask(
            "Create a user",
            "Members of an organization are better invited: they choose their own password.",
            "Create user",
            NewUserForm,
        )

        def run(answers: Answers) -> str:
            row = services.create_user(**answers, actor=actor_of(request), at=clock.now())
            return f"{row.email} can sign in now."

        return ask(self, request, question, run=run, back=cells.list_url(User))


class ApplicationScreen(Screen):
    """Products that are sold; the catalogue file defines them."""

    list_display = ("name", "slug", "industry")
    search_fields = ("name", "^slug")

    def facts(self, row: Application) -> Sequence[Fact]:
        """What it is."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Slug", cells.code(row.slug)),
            Fact("Industry", row.industry),
            Fact("Created", cells.when(row.created_at)),
        ]


class BillingEntityScreen(Screen):
    """Issuers of invoices."""

    list_display = ("legal_name", "slug", "country", "invoice_prefix", "payment_terms_days")
    actions_list = ("create",)
    actions_detail = ("edit",)

    def facts(self, row: BillingEntity) -> Sequence[Fact]:
        """What stands on its invoices."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Numbers", f"{row.invoice_prefix}-000001 …"),
            Fact("Credit notes", f"{row.credit_note_prefix}-000001 …"),
            Fact("Payment terms", f"{row.payment_terms_days} days"),
            Fact("Country", row.country),
            Fact("Tax id", row.tax_id),
            Fact("Registered in", ", ".join(row.tax_registrations)),
            Fact("E-mail", row.email),
            Fact("Grace", f"{row.grace_days} days"),
            Fact("Late usage", row.get_late_usage_display()),
            Fact("Reviewed above", cells.sums(row.correction_limits)),
            Fact("Held above", f"{row.hold_factor} × usual" if row.hold_factor else "Never"),
            Fact("Tax rounding", row.get_tax_rounding_display()),
            Fact("Inclusive prices", row.get_inclusive_rounding_display()),
            Fact("One-off items", f"{row.max_items_per_day} a day"),
            Fact("Dated ahead", f"{row.max_months_ahead} months"),
            Fact("Address", _place(row), wide=True),
            Fact("Bank details", row.bank_details, wide=True),
        ]

    @act("Create billing entity", capability="manage_platform", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new issuer's first details."""
        question = Ask(
            "Create a billing entity",
            "It issues invoices in a number series of its own. Everything but the slug can be"
            " changed later.",
            "Create billing entity",
            NewBillingEntityForm,
        )

        def run(answers: Answers) -> str:
            slug = answers.pop("slug")
            if tenants.billing_entity(slug) is not None:
                raise Conflict(f"There is a billing entity '{slug}'; edit that.", param="slug")
            row = services.define_billing_entity(
                slug, **answers, actor=actor_of(request), at=clock.now()
            )
            return f"{row} was created."

        back = cells.list_url(BillingEntity)
        return ask(self, request, question, run=run, back=back)

    @act("Edit", capability="manage_platform", icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for new details."""
        row = self.row(request, object_id)
        initial = {name: getattr(row, name) for name in BillingEntityForm.base_fields}
        question = Ask(
            f"Edit {row}",
            "Counts for invoices issued from now on; final ones keep what they were issued with.",
            "Save",
            BillingEntityForm,
            initial=initial,
        )

        def run(answers: Answers) -> str:
            changes = {key: value for key, value in answers.items() if initial[key] != value}
            if not changes:
                return "Nothing was changed."
            services.change_billing_entity(
                row.public_id, changes=changes, actor=actor_of(request), at=clock.now()
            )
            return f"{answers['legal_name']} was updated."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


class TestClockScreen(Screen):
    """A sandbox's clocks."""

    __test__ = False  # no test, though it starts with the word

    list_display = ("name", "stands_at", "since")
    search_fields = ("name", "=public_id")
    actions_list = ("create",)
    actions_detail = ("set_time",)

    @column("Stands at", order="now")
    def stands_at(self, row: TestClock) -> object:
        """What time it is there."""
        return cells.when(row.now)

    @column("Since", order="created_at")
    def since(self, row: TestClock) -> object:
        """When it was made."""
        return cells.day(row.created_at)

    def facts(self, row: TestClock) -> Sequence[Fact]:
        """What time it is there."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Stands at", cells.when(row.now)),
            Fact("Created", cells.when(row.created_at)),
        ]

    def panels(self, request: HttpRequest, row: TestClock) -> Sequence[Panel]:
        """Who lives by it."""
        found = tenants.organizations_on_clock(row.pk)
        lines = [(cells.link_to(one), cells.code(one.slug)) for one in found]
        return [Panel("Organizations", ("Name", "Slug"), lines, empty="Nobody lives by it yet.")]

    @act("Create test clock", capability="manage_platform", icon="add")
    def create(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new clock."""
        question = Ask(
            "Create a test clock",
            "In a sandbox only. Organizations that are attached to it live by its time.",
            "Create test clock",
            NewClockForm,
            initial={"now": clock.now()},
        )

        def run(answers: Answers) -> str:
            row = services.create_test_clock(**answers, actor=actor_of(request), at=clock.now())
            return f"{row} was created."

        return ask(self, request, question, run=run, back=cells.list_url(TestClock))

    @act("Set the time", capability="manage_platform", icon="update")
    def set_time(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a later instant."""
        row = self.row(request, object_id)
        question = Ask(
            f"Set {row}",
            "A clock only goes forward. Setting it bills nothing by itself.",
            "Set",
            SetClockForm,
            danger=True,
            initial={"to": row.now},
        )

        def run(answers: Answers) -> str:
            services.set_test_clock(
                row.public_id, **answers, actor=actor_of(request), at=clock.now()
            )
            return f"{row} was set."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)
