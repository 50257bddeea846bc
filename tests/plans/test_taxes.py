"""Tax rates by place and day, each known for good once set."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import AuditEntry
from apps.core.errors import Conflict, Invalid
from apps.plans import selectors, services
from apps.plans.errors import TaxRateStays, UnknownTaxRate
from apps.plans.models import TaxRate
from apps.plans.offers import TaxRules
from apps.plans.report import Outcome
from tests.conftest import AT, STAFF

pytestmark = pytest.mark.usefixtures("ops")

GERMANY = TaxRules(
    code="de-vat",
    name="USt.",
    kind="vat",
    percent=Decimal(19),
    country="DE",
    valid_from=date(2021, 1, 1),
)


def take(rules: TaxRules) -> Outcome:
    return services.set_tax_rate(rules, actor=STAFF, at=AT)[1]


def taken(country: str, region: str, at: date | datetime) -> list[tuple[str, Decimal]]:
    return [(rate.code, rate.percent) for rate in selectors.tax_rates_for(country, region, at)]


def test_a_rate_holds_from_its_first_day_until_the_next_ones() -> None:
    assert take(GERMANY) is Outcome.CREATED
    raised = replace(GERMANY, percent=Decimal(20), valid_from=date(2027, 1, 1))
    assert take(raised) is Outcome.NEW_VERSION
    assert taken("DE", "", date(2020, 12, 31)) == []
    assert taken("DE", "", date(2026, 12, 31)) == [("de-vat", Decimal(19))]
    assert taken("DE", "", date(2027, 1, 1)) == [("de-vat", Decimal(20))]
    assert selectors.tax_rate("de-vat").percent == 20
    assert selectors.tax_rate("de-vat", date(2022, 1, 1)).percent == 19


def test_the_day_is_the_one_of_the_place() -> None:
    take(replace(GERMANY, percent=Decimal(16), valid_from=date(2020, 7, 1)))
    take(GERMANY)
    midnight = datetime(2020, 12, 31, 23, tzinfo=UTC)
    assert taken("DE", "", midnight) == [("de-vat", Decimal(16))]
    assert taken("DE", "", midnight.astimezone(ZoneInfo("Europe/Berlin"))) == [
        ("de-vat", Decimal(19))
    ]


def test_rates_of_the_country_and_of_the_region_are_taken_together() -> None:
    start = date(2020, 1, 1)
    take(TaxRules(code="ca-gst", name="GST", kind="gst", percent=Decimal(5), country="CA",
                  valid_from=start))  # fmt: skip
    take(TaxRules(code="ca-qst", name="QST", kind="sales", percent=Decimal("9.975"), country="CA",
                  region="QC", valid_from=start))  # fmt: skip
    assert taken("CA", "QC", start) == [("ca-gst", Decimal(5)), ("ca-qst", Decimal("9.975"))]
    assert taken("ca", "on", start) == [("ca-gst", Decimal(5))]
    assert [rate.jurisdiction for rate in selectors.tax_rates_for("CA", "QC", start)] == [
        "CA",
        "CA-QC",
    ]
    assert taken("US", "QC", start) == []


def test_setting_it_again_changes_nothing() -> None:
    take(GERMANY)
    take(replace(GERMANY, percent=Decimal(20), valid_from=date(2027, 1, 1)))
    entries = AuditEntry.objects.count()
    assert take(GERMANY) is Outcome.UNCHANGED
    assert AuditEntry.objects.count() == entries
    assert take(replace(GERMANY, name="VAT")) is Outcome.UPDATED


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"percent": Decimal(7)}, TaxRateStays),
        ({"inclusive": True}, TaxRateStays),
        ({"country": "AT"}, TaxRateStays),
        ({"country": "AT", "valid_from": date(2027, 1, 1)}, TaxRateStays),
        ({"valid_from": date(2020, 1, 1)}, Conflict),
    ],
)
def test_what_was_taken_stays_known(change: dict[str, Any], error: type[Exception]) -> None:
    take(GERMANY)
    before = selectors.tax_rates()
    with pytest.raises(error):
        take(replace(GERMANY, **change))
    assert selectors.tax_rates() == before


def test_a_rate_ends_on_a_day_or_is_withdrawn() -> None:
    take(GERMANY)
    end = date(2026, 7, 1)
    for _ in range(2):
        services.retire_tax_rate("de-vat", until=end, actor=STAFF, at=AT)
    assert taken("DE", "", date(2026, 6, 30)) == [("de-vat", Decimal(19))]
    assert taken("DE", "", end) == []
    with pytest.raises(Conflict):
        services.retire_tax_rate("de-vat", until=date(2026, 8, 1), actor=STAFF, at=AT)
    for _ in range(2):
        services.retire_tax_rate("de-vat", actor=STAFF, at=AT)
    assert taken("DE", "", date(2026, 6, 30)) == []
    assert AuditEntry.objects.filter(action="tax_rate.retired").count() == 2
    assert selectors.tax_rates(active=True) == []
    with pytest.raises(UnknownTaxRate):
        services.retire_tax_rate("fr-vat", actor=STAFF, at=AT)


@pytest.mark.parametrize("country", ["ZZ", "EU", "QQ"])
def test_no_tax_is_taken_in_a_country_that_is_none(country: str) -> None:
    with pytest.raises(Invalid) as refusal:
        take(replace(GERMANY, country=country))
    assert refusal.value.param == "country"
    assert not TaxRate.objects.exists()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"percent": Decimal(-1)}, "percent"),
        ({"percent": Decimal(101)}, "percent"),
        ({"percent": Decimal("1.1234567")}, "percent"),
        ({"country": "Germany"}, "country"),
        ({"country": "de"}, "country"),
        ({"region": "DE-BY"}, "region"),
        ({"kind": "toll"}, "kind"),
        ({"name": ""}, "name"),
        ({"code": "DE VAT"}, "code"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as refusal:
        replace(GERMANY, **change)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE plans_taxrate SET percent = 7",
        "UPDATE plans_taxrate SET valid_from = '2020-01-01'",
        "UPDATE plans_taxrate SET country = 'AT'",
        "DELETE FROM plans_taxrate",
    ],
)
def test_the_database_keeps_rates_as_they_were(sql: str) -> None:
    take(GERMANY)
    with (
        pytest.raises(DatabaseError, match=r"never changes|permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    assert TaxRate.objects.get().percent == 19
