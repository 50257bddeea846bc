"""Comparing a plan with another version on its customers' real usage: ask, and show the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.analytics.backtest import Compared, Comparison, NotCompared, Row, compare_customers
from apps.analytics.offered import offer_of
from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Question
from apps.backoffice.admin.panels import Panel
from apps.backoffice.commands import amount
from apps.backoffice.spans import earlier
from apps.core import clock
from apps.core.actor import require
from apps.core.errors import DomainError
from apps.engine.calendar import Interval, Unit
from apps.engine.period import Period
from apps.plans import selectors as plans
from apps.plans.catalog import MAX_BYTES, parse_catalog
from apps.plans.models import Plan
from apps.plans.selectors import VersionTerms
from apps.tenants import selectors as tenants
from apps.usage import selectors as usage

MOST = 500  # a page is waited for; plan_diff compares everybody
SHOWN = 50


class CompareForm(Question):
    """What to compare with: a version that is there, or a catalogue file."""

    version = forms.ChoiceField(required=False, label="With the version")
    file = forms.FileField(
        required=False, label="or with a catalogue file", help_text="It is read, and not loaded."
    )
    days = forms.IntegerField(
        min_value=1, max_value=1100, initial=90, label="Days back",
        help_text="Periods that ended within them are compared.",
    )  # fmt: skip

    def __init__(self, *args: Any, versions: Sequence[VersionTerms], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["version"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", "–"), *((one.public_id, f"v{one.number}") for one in versions)]

    def clean_file(self) -> tuple[str, str] | None:
        """Return the file's text and its name."""
        upload: UploadedFile[bytes] | None = self.cleaned_data["file"]
        if upload is None:
            return None
        if (upload.size or 0) > MAX_BYTES:
            raise forms.ValidationError(f"The file is larger than {MAX_BYTES // 1024} KiB.")
        try:
            return upload.read().decode("utf-8-sig"), str(upload.name)
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not UTF-8 text.") from None

    def clean(self) -> dict[str, Any]:
        """Take one of the two."""
        said = super().clean() or {}
        if bool(said.get("version")) == bool(said.get("file")):
            raise forms.ValidationError("Choose a version or a file, one of them.")
        return said


@dataclass(frozen=True, slots=True)
class Result:
    """The sums in words, and the customers whose amounts change most."""

    sums: Panel
    customers: Panel
    more: bool


def page(screen: Any, request: HttpRequest, row: Plan) -> HttpResponse:
    """Show the form, and below it what a comparison found; nothing is written."""
    require("view_invoices", actor=actor_of(request))
    versions = plans.plan_versions(row.code)
    answered = request.method == "POST"
    given, files = (request.POST, request.FILES) if answered else (None, None)
    form = CompareForm(given, files, versions=versions)
    context = {
        **screen.admin_site.each_context(request),
        "opts": Plan._meta,
        "title": f"Compare {row} on real usage",
        "original": row,
        "form": form,
        "back": cells.url_of(row),
        "most": MOST,
        "result": None,
        "problems": (),
    }
    status = 200
    if answered and form.is_valid():
        try:
            context["result"] = _result(row, form.cleaned_data)
        except DomainError as refusal:
            context["problems"], status = refusal.message.splitlines(), refusal.status
    elif answered:
        status = 400
    return TemplateResponse(request, "admin/backoffice/whatif.html", context, status=status)


def _result(row: Plan, said: dict[str, Any]) -> Result:
    at = clock.now()
    window = Period(earlier(at, Interval(Unit.DAY, said["days"])), at)
    asked = Comparison(row.pk, None, _version(row, said), window)
    rows = [*islice(compare_customers(asked), MOST + 1)]
    return Result(_sums(rows[:MOST]), _customers(rows[:MOST]), more=len(rows) > MOST)


def _version(row: Plan, said: dict[str, Any]) -> VersionTerms:
    if said["version"]:
        return plans.find_version(said["version"])
    text, source = said["file"]
    document = parse_catalog(text, source=source)
    return offer_of(document, row.code, known=usage.meters()).version


def _sums(rows: Iterable[Row]) -> Panel:
    old: Counter[str] = Counter()
    new: Counter[str] = Counter()
    monthly: Counter[str] = Counter()
    more: Counter[str] = Counter()
    less: Counter[str] = Counter()
    for one in rows:
        if isinstance(one, Compared):
            old[one.currency] += one.old
            new[one.currency] += one.new
            monthly[one.currency] += one.monthly
            more[one.currency] += one.change > 0
            less[one.currency] += one.change < 0
    return Panel(
        "Sums",
        ("Currency", ">Today", ">Then", ">Change", ">MRR", ">Pay more", ">Pay less"),
        [
            (
                code,
                amount(old[code], code),
                amount(new[code], code),
                amount(new[code] - old[code], code),
                amount(monthly[code], code),
                str(more[code]),
                str(less[code]),
            )
            for code in sorted(old)
        ],
        empty="No live subscription has a complete period in these days.",
    )


def _customers(rows: Sequence[Row]) -> Panel:
    names = tenants.organizations({one.organization_id for one in rows})
    ordered = sorted(rows, key=lambda one: -abs(one.change) if isinstance(one, Compared) else 1)
    return Panel(
        "Customers",
        ("Customer", ">Version", ">Periods", ">Today", ">Then", ">Change", "Note"),
        [(cells.link_to(names[one.organization_id]), *_cells(one)) for one in ordered[:SHOWN]],
        empty="Nobody is subscribed to it.",
    )


def _cells(one: Row) -> tuple[str, ...]:
    if isinstance(one, NotCompared):
        return "", "", "", "", "", one.reason
    return (
        f"v{one.version}",
        str(len(one.periods)),
        amount(one.old, one.currency),
        amount(one.new, one.currency),
        amount(one.change, one.currency),
        "",
    )
