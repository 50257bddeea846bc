"""The catalogue: read here, changed by loading a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells, words
from apps.backoffice.admin.asking import Answers, Ask, act, ask, column
from apps.backoffice.admin.panels import Fact, Panel
from apps.backoffice.admin.screen import Screen
from apps.backoffice.pages import catalog, whatif
from apps.core import clock
from apps.engine.decimals import plain
from apps.plans import selectors as plans
from apps.plans import services
from apps.plans.errors import UnknownPlan
from apps.plans.models import Entitlement, Feature, Plan, PlanVersion, Price
from apps.plans.selectors import GrantTerms, PriceTerms, VersionTerms
from apps.subscriptions.models import Subscription


class PlanScreen(Screen):
    """Things for sale, with the version that new subscriptions get."""

    list_display = ("name", "code", "application", "kind", "shown_to", "current", "every")
    list_filter = ("application", "visibility", "kind", "custom")
    list_select_related = ("application",)
    search_fields = ("name", "^code", "=public_id")
    actions_list = ("load",)
    actions_detail = ("compare", "retire")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Return the plans with their published version."""
        published = PlanVersion.objects.filter(status="published")
        rows: QuerySet[Plan] = super().get_queryset(request)
        return rows.select_related("application").prefetch_related(
            Prefetch("versions", published, to_attr="published")
        )

    @column("Shown to", order="visibility")
    def shown_to(self, row: Plan) -> object:
        """Everybody, or staff only."""
        return "Everybody" if row.visibility == "public" else cells.badge("private", "warning")

    @column("Version")
    def current(self, row: Any) -> object:
        """The published version's number."""
        return f"v{row.published[0].number}" if row.published else cells.EMPTY

    @column("Interval")
    def every(self, row: Any) -> object:
        """How often it is billed, and in what currency."""
        if not row.published:
            return cells.EMPTY
        found = row.published[0]
        return f"{words.interval(found.interval_unit, found.interval_count)}, {found.currency}"

    def facts(self, row: Plan) -> Sequence[Fact]:
        """What it is and whom it is for."""
        return [
            Fact("Id", cells.code(row.public_id)),
            Fact("Code", cells.code(row.code)),
            Fact("Application", row.application.name),
            Fact("Kind", row.get_kind_display()),
            Fact("Visibility", row.get_visibility_display()),
            Fact("Industries", ", ".join(row.industries) or "Everybody"),
            Fact("Prices", "Agreed with each customer" if row.custom else "Fixed"),
            Fact("Created", cells.when(row.created_at)),
            Fact("Description", row.description, wide=True),
        ]

    def panels(self, request: HttpRequest, row: Plan) -> Sequence[Panel]:
        """Each version's prices and grants, newest first."""
        try:
            versions = plans.plan_versions(row.code)
        except UnknownPlan:
            versions = []  # a plan can be there before its first version
        said = [one.in_currency(code) for one in versions for code in one.currencies]
        return [_versions(row, versions), *(_terms(version) for version in said)]

    @act("Load catalogue", capability="manage_catalog", icon="upload_file")
    def load(self, request: HttpRequest) -> HttpResponse:
        """Ask for a file, show what it would change, and apply it."""
        return catalog.page(self, request)

    @act("Compare on usage", capability="view_invoices", icon="compare_arrows")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for another version, and show what customers would have paid under it."""
        return whatif.page(self, request, self.row(request, object_id))

    @act(
        "Stop selling",
        capability="manage_catalog",
        icon="remove_shopping_cart",
        danger=True,
        applies=lambda row: row.versions.filter(status="published").exists(),
        otherwise=lambda row: f"{row} is not for sale.",
    )
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the plan shall leave the price list."""
        row = self.row(request, object_id)
        question = Ask(
            f"Stop selling {row}",
            "Who subscribed keeps it. Loading a catalogue that names it sells it again.",
            "Stop selling",
            danger=True,
        )

        def run(answers: Answers) -> str:
            gone = services.retire_plan(row.code, actor=actor_of(request), at=clock.now())
            return f"{row} is sold no more; v{gone.number} was its last version."

        return ask(self, request, question, run=run, back=cells.url_of(row), row=row)


def _versions(row: Plan, versions: Sequence[VersionTerms]) -> Panel:
    sold = Subscription.objects.filter(plan_version__plan=row).exclude(status="canceled")
    per_version: dict[int, int] = {}
    for version_id in sold.values_list("plan_version_id", flat=True):
        per_version[version_id] = per_version.get(version_id, 0) + 1
    return Panel(
        "Versions",
        ("Version", "Status", "Interval", "Currency", "Trial", ">Live subscriptions"),
        [
            (
                f"v{one.number}",
                cells.badge(one.status),
                words.interval(str(one.interval.unit), one.interval.count),
                ", ".join(one.currencies),
                f"{one.trial_days} days" if one.trial_days else cells.EMPTY,
                str(per_version.get(one.version_id, 0)),
            )
            for one in versions
        ],
        note="A published version never changes; a changed file makes the next one.",
        more=cells.list_url(Subscription, plan=row.code),
    )


def _terms(version: VersionTerms) -> Panel:
    prices = [
        (one.name, cells.code(one.key), _price(one, version.currency), _timing(one))
        for one in version.prices
    ]
    grants = [
        (f"Grants {one.name}", cells.code(one.key), _grant(one), cells.EMPTY)
        for one in version.grants
    ]
    return Panel(
        f"v{version.number}"
        if version.currency == version.currencies[0]
        else f"v{version.number} in {version.currency}",
        ("Price or feature", "Key", "Terms", "Billed"),
        [*prices, *grants],
        empty="Free, and grants nothing.",
    )


def _grant(grant: GrantTerms) -> str:
    """Say what is granted and, of a limit, how it holds."""
    if grant.meter_key is None:
        return words.grant(grant.value)
    rules = grant.rules
    said = [words.grant(grant.value), Entitlement.Reset(rules.reset).label.lower()]
    said.append(Entitlement.OnLimit(rules.on_limit).label.lower())
    return "; ".join([*said, "prepaid"] if rules.prepaid else said)


def _price(price: PriceTerms, currency: str) -> str:
    """Say what a price costs, within what bounds, of which usage."""
    said = [words.price(price, currency)]
    if price.filters:
        of = (f"{name} {' or '.join(values)}" for name, values in price.filters.items())
        said.append(f"for {', '.join(of)}")
    if price.minimum_amount is not None:
        said.append(f"at least {plain(price.minimum_amount)} {currency}")
    if price.maximum_amount is not None:
        said.append(f"at most {plain(price.maximum_amount)} {currency}")
    if price.quantity_policy != Price.QuantityPolicy.PURCHASED:
        said.append(Price.QuantityPolicy(price.quantity_policy).label.lower())
    if price.proration != Price.Proration.SECOND:
        said.append(f"a part: {Price.Proration(price.proration).label.lower()}")
    return "; ".join(said)


def _timing(price: PriceTerms) -> str:
    if price.type == Price.Type.ONE_TIME:
        return "once"
    return {"advance": "in advance", "arrears": "in arrears"}[price.timing]


class FeatureScreen(Screen):
    """What plans can grant."""

    list_display = ("name", "key", "kind", "counted_by", "described")
    list_select_related = ("meter",)
    list_filter = ("kind",)
    search_fields = ("name", "^key")

    @column("Counted by")
    def counted_by(self, row: Feature) -> object:
        """The meter that counts against it."""
        return cells.code(row.meter.key) if row.meter else cells.EMPTY

    @column("Description")
    def described(self, row: Feature) -> object:
        """The start of its description."""
        return cells.short(row.description)

    def public_id(self, row: Feature) -> str:
        """Features are known by their key."""
        return ""

    def facts(self, row: Feature) -> Sequence[Fact]:
        """What it is."""
        return [
            Fact("Key", cells.code(row.key)),
            Fact("Kind", row.get_kind_display()),
            Fact("Created", cells.when(row.created_at)),
            Fact("Description", row.description, wide=True),
        ]

    def panels(self, request: HttpRequest, row: Feature) -> Sequence[Panel]:
        """Which published plans grant it."""
        found = Entitlement.objects.filter(feature=row, version__status="published")
        return [
            Panel(
                "Granted by",
                ("Plan", "Value"),
                [
                    (cells.link_to(one.version.plan, one.version), words.grant(one.value))
                    for one in found.select_related("version__plan")[:100]
                ],
                empty="No published plan grants it.",
            )
        ]
