"""Percentages, filters, bounds, currencies, thresholds, coupons and taxes in a catalogue file."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import AuditEntry
from apps.engine.price_rules import Conversion, Operation, QuantityRounding
from apps.engine.prices import (
    BlockMode,
    Blocks,
    BlockTier,
    Dynamic,
    Flat,
    GraduatedPercentage,
    Package,
    PackageRounding,
    Percentage,
    RateTier,
)
from apps.plans import selectors, services
from apps.plans.catalog import parse_catalog, read_catalog
from apps.plans.errors import CatalogInvalid, CurrencyNotSold, UnknownPlan
from apps.plans.models import Plan, PlanVersion, Price
from apps.plans.report import CatalogReport, Outcome
from apps.plans.selectors import ThresholdTerms, VersionTerms
from tests.conftest import AT, STAFF, make_organization

SHOP = """\
currency: USD
applications: [{slug: shop, name: Shop}]
meters:
  - {key: paid, event_type: payment, aggregation: sum, value: amount, dimensions: [card, grade]}
  - {key: calls, event_type: call, aggregation: count}
plans:
  - code: shop
    application: shop
    name: Shop
    interval: month
    currencies: [EUR]
    thresholds: {USD: {amounts: [100, 200], step: 500}}
    prices:
      - {key: setup, type: one_time, amount: 99, currencies: {EUR: {amount: 89}}}
      - {key: base, type: flat, amount: 20, proration: day, currencies: {EUR: {amount: 18}}}
      - {key: seats, type: licensed, model: per_unit, unit_amount: 5, quantity_policy: high_water,
         minimum_amount: 10, currencies: {EUR: {unit_amount: 4, minimum_amount: 8}}}
      - {key: eu, type: metered, meter: paid, filters: {card: [eu], grade: gold}, model: percentage,
         rate_percent: 1.5, fixed_amount: 0.25, currencies: {EUR: {rate_percent: 1.5}}}
      - {key: cards, type: metered, meter: paid, model: percentage, rate_percent: 2.9,
         free_events: 10, event_maximum: 40, currencies: {EUR: {rate_percent: 2.9}}}
      - {key: calls, type: metered, meter: calls, model: package, package_size: 10, unit_amount: 1,
         rounding: down, maximum_amount: 50, currencies: {EUR: {package_size: 10, unit_amount: 1}},
         conversion: {operation: divide, factor: 1_000, rounding: up}}
coupons:
  - {code: launch, name: Launch, percent: 20, months: 3, max_redemptions: 9, redeem_by: 2027-01-01}
  - {code: seat, name: A seat, amounts: {USD: 5, EUR: 4}, plans: [shop], prices: [seats]}
promotion_codes:
  - {code: launch20, coupon: launch, minimum_amounts: {USD: 50}}
tax_rates:
  - {code: de, name: USt., kind: vat, percent: 19, country: DE, from: 2021-01-01}
"""


def shop(*replacements: tuple[str, str]) -> str:
    text = SHOP
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def load(*replacements: tuple[str, str]) -> CatalogReport:
    document = parse_catalog(shop(*replacements), source="shop.yaml")
    return services.load_catalog(document, actor=STAFF, at=AT)


def sold() -> VersionTerms:
    return selectors.current_version("shop")


def problems_of(*replacements: tuple[str, str]) -> list[tuple[int, int, str]]:
    with pytest.raises(CatalogInvalid) as caught:
        load(*replacements)
    return [(p.place.line, p.place.column, p.message) for p in caught.value.problems]


@pytest.mark.usefixtures("ops")
def test_a_rich_plan_sells_what_its_file_says() -> None:
    load()
    version = sold()
    assert (version.currencies, version.currency) == (("USD", "EUR"), "USD")
    assert version.threshold == ThresholdTerms((Decimal(100), Decimal(200)), Decimal(500))
    assert (version.price("setup").type, version.price("setup").timing) == ("one_time", "advance")
    assert version.price("base").proration == "day"
    seats = version.price("seats")
    assert (seats.quantity_policy, seats.minimum_amount) == ("high_water", Decimal(10))
    assert version.price("eu").filters == {"card": ("eu",), "grade": ("gold",)}
    assert version.price("cards").terms == Percentage(
        Decimal("2.9"), free_events=10, event_maximum=Decimal(40)
    )
    calls = version.price("calls")
    assert calls.terms == Package(Decimal(10), Decimal(1), PackageRounding.DOWN)
    assert calls.conversion == Conversion(
        factor=Decimal(1000), operation=Operation.DIVIDE, rounding=QuantityRounding.UP
    )
    assert calls.rules.maximum_amount == 50
    assert calls.rules.conversion == calls.conversion


@pytest.mark.usefixtures("ops")
def test_a_version_is_read_in_each_of_its_currencies() -> None:
    load()
    version = sold()
    euros = version.in_currency("EUR")
    assert (euros.currency, euros.price("base").terms) == ("EUR", Flat(Decimal(18)))
    assert euros.price("seats").rules.minimum_amount == 8
    assert euros.price("calls").maximum_amount is None
    assert euros.threshold is None
    assert euros.in_currency("USD") == version
    assert selectors.content_of(euros) == selectors.content_of(version)
    with pytest.raises(CurrencyNotSold, match="USD, EUR"):
        version.in_currency("JPY")


@pytest.mark.usefixtures("ops")
def test_loading_it_again_changes_nothing() -> None:
    assert load().changed
    entries = AuditEntry.objects.count()
    report = load()
    assert {str(entry.outcome) for entry in report.definitions} == {"unchanged"}
    assert not report.changed
    assert AuditEntry.objects.count() == entries
    assert selectors.content_of(sold()) == parse_catalog(SHOP, source="x").plans[0].content()


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("amount: 18", "amount: 19", "prices.base.currencies.EUR.amount: 18 → 19"),
        ("proration: day, ", "", "prices.base.proration: removed"),
        ("minimum_amount: 10", "minimum_amount: 12", "prices.seats.minimum_amount: 10 → 12"),
        ("grade: gold", "grade: [gold, black]", "prices.eu.filters.grade[0]: gold → black"),
        ("factor: 1_000", "factor: 500", "prices.calls.conversion.factor: 1000 → 500"),
        ("rounding: down, ", "", "prices.calls.rounding: removed"),
        ("free_events: 10", "free_events: 20", "prices.cards.free_events: 10 → 20"),
        ("step: 500", "step: 600", "thresholds.USD.step: 500 → 600"),
        ("    thresholds: {USD: {amounts: [100, 200], step: 500}}\n", "",
         "thresholds.USD.amounts[0]: removed"),
        ("interval: month", "interval: month\n    trial: true\n    trial_requires_card: true",
         "trial_requires_card: added, true"),
    ],
)  # fmt: skip
def test_each_of_the_new_words_makes_a_new_version(old: str, new: str, said: str) -> None:
    load()
    report = load((old, new))
    assert report.plans[0].version == 2
    assert said in [str(change) for change in report.plans[0].changes]


@pytest.mark.usefixtures("ops")
def test_the_place_of_a_filtered_price_decides_a_price() -> None:
    load()
    lines = SHOP.splitlines(keepends=True)
    base = next(line for line in lines if "key: base" in line)
    moved = "".join(line for line in lines if line != base)
    text = moved.replace("coupons:\n", f"{base}coupons:\n", 1)
    report = services.load_catalog(parse_catalog(text, source="x"), actor=STAFF, at=AT)
    assert report.plans[0].outcome is Outcome.NEW_VERSION


@pytest.mark.usefixtures("ops")
def test_a_trial_is_fourteen_days_unless_said() -> None:
    load(("interval: month", "interval: month\n    trial: true"))
    assert sold().trial_days == 14
    load(("interval: month", "interval: month\n    trial: true\n    trial_days: 7"))
    assert sold().trial_days == 7


MODELS: list[tuple[str, Any]] = [
    ("dynamic", Dynamic()),
    ("dynamic, multiplier: 1.2", Dynamic(Decimal("1.2"))),
    (
        "graduated_percentage, tiers: [{up_to: 100, rate_percent: 2},"
        " {up_to: null, rate_percent: 1}]",
        GraduatedPercentage((RateTier(Decimal(100), Decimal(2)), RateTier(None, Decimal(1)))),
    ),
    (
        "blocks, mode: volume, tiers: [{block_size: 5, max_blocks: 2, block_amount: 3},"
        " {block_size: 50, max_blocks: null, block_amount: 20}]",
        Blocks(
            (
                BlockTier(Decimal(5), Decimal(2), Decimal(3)),
                BlockTier(Decimal(50), None, Decimal(20)),
            ),
            BlockMode.VOLUME,
        ),
    ),
]


@pytest.mark.parametrize(("written", "terms"), MODELS)
def test_every_model_of_the_engine_can_be_written(written: str, terms: Any) -> None:
    text = shop(
        ("    currencies: [EUR]\n", ""),
        (", currencies: {EUR: {amount: 89}}", ""),
        (", currencies: {EUR: {amount: 18}}", ""),
        (", currencies: {EUR: {unit_amount: 4, minimum_amount: 8}}", ""),
        (", currencies: {EUR: {rate_percent: 1.5}}", ""),
        ("percentage, rate_percent: 2.9,\n         free_events: 10, event_maximum: 40,"
         " currencies: {EUR: {rate_percent: 2.9}}", written),
        (", currencies: {EUR: {package_size: 10, unit_amount: 1}}", ""),
    )  # fmt: skip
    prices = parse_catalog(text, source="x").plans[0].prices
    assert next(price for price in prices if price.key == "cards").terms == terms


WRONG = [
    ("currencies: [EUR]", "currencies: [USD]", 11, 17, "own currency"),
    ("currencies: [EUR]", "currencies: [eur]", 11, 18, "a currency like EUR"),
    ("currencies: [EUR]", "currencies: [XXQ]", 11, 17, "ISO 4217"),
    ("currencies: [EUR]", "currencies: [EUR, JPY]", 14, 62, "the price in JPY is missing"),
    (", currencies: {EUR: {amount: 89}}", "", 14, 9, "needs 'currencies' with EUR"),
    ("{EUR: {amount: 89}}", "{EUR: {amount: 89}, GBP: {amount: 8}}", 14, 82, "not sold in 'GBP'"),
    ("{EUR: {amount: 89}}", "{EUR: {}}", 14, 68, "the price in EUR needs 'amount'"),
    ("{EUR: {amount: 89}}", "{EUR: {amout: 89}}", 14, 69, "did you mean 'amount'"),
    ("[100, 200]", "[200, 100]", 12, 33, "must rise"),
    ("step: 500", "step: 0", 12, 51, "above 0"),
    ("thresholds: {USD:", "thresholds: {JPY:", 12, 18, "not sold in 'JPY'"),
    ("interval: month", "interval: month\n    trial: false\n    trial_days: 3", 11, 12, "disagree"),
    ("proration: day", "proration: dayly", 15, 56, "did you mean 'day'"),
    ("high_water", "highwater", 16, 88, "did you mean 'high_water'"),
    ("minimum_amount: 10", "minimum_amount: -1", 17, 26, "must not be negative"),
    ("minimum_amount: 10", "minimum_amount: 0", 17, 26, "remove it"),
    ("minimum_amount: 10", "minimum_amount: 10, maximum_amount: 5", 17, 46, "below the minimum"),
    ("minimum_amount: 10", "filters: {a: [b]}", 17, 10, "no key 'filters'"),
    ("amount: 20", "amount: 20, quantity_policy: high_water", 15, 45, "no key 'quantity_policy'"),
    ("amount: 99", "amount: 99, timing: arrears", 14, 58, "'timing' must be one of advance"),
    ("filters: {card: [eu], grade: gold}", "filters: {}", 18, 56, "must name a dimension"),
    ("filters: {card: [eu], grade: gold}", "filters: {card: []}", 18, 63, "at least one value"),
    ("card: [eu]", "cart: [eu]", 18, 56, "no dimension 'cart'; it has card, grade"),
    ("key: cards, type: metered, meter: paid,", "key: cards, type: metered, meter: paid,"
     " filters: {grade: [gold], card: [eu]},", 20, 9, "'eu' on line 18 has the same meter"),
    ("rate_percent: 1.5", "rate_percent: much", 19, 24, "decimal number"),
    ("rate_percent: 1.5", "rate: 1.5", 18, 9, "percentage needs 'rate_percent'"),
    ("free_events: 10", "free_events: 0", 21, 23, "whole number above zero"),
    ("free_events: 10", "included: 10", 21, 10, "no key 'included'"),
    ("event_maximum: 40", "event_minimum: 50, event_maximum: 40", 21, 61, "below the minimum"),
    ("meter: paid, model: percentage, rate_percent: 2.9", "meter: calls, model: percentage,"
     " rate_percent: 2.9", 20, 44, "needs a meter of aggregation sum"),
    ("rounding: down", "rounding: sideways", 23, 20, "'rounding' must be one of up, down"),
    ("factor: 1_000", "factor: 0", 24, 50, "conversion.factor: must be above zero"),
    ("factor: 1_000, ", "", 24, 22, "a conversion needs 'factor'"),
    ("percent: 20", "percent: 120", 26, 43, "at most 100"),
    ("percent: 20, ", "", 26, 5, "either a percentage or amounts"),
    ("months: 3", "months: 0", 26, 55, "from 1 to 1200"),
    ("months: 3", "duration: repeating", 26, 5, "run for months"),
    ("redeem_by: 2027-01-01", "redeem_by: soon", 26, 89, "must be an instant"),
    ("amounts: {USD: 5,", "amounts: {USD: 5.001,", 27, 41, "more decimals than USD"),
    ("plans: [shop]", "plans: [shoe]", 27, 66, "no plan 'shoe'"),
    ("prices: [seats]", "prices: [seat]", 27, 82, "no plan has a price 'seat'"),
    ("coupon: launch", "coupon: lunch", 29, 30, "no coupon 'lunch'"),
    ("coupon: launch", "coupon: launch, organization: nobody", 29, 5, "nobody"),
    ("code: launch20", "code: 20 %", 29, 12, "A promotion code is"),
    ("percent: 19", "percent: 190", 31, 48, "at most 100"),
    ("country: DE", "country: Germany", 31, 61, "two capitals"),
    ("from: 2021-01-01", "from: January", 31, 71, "a day such as"),
    ("from: 2021-01-01", "until: 2021-01-01", 31, 5, "needs 'from'"),
]  # fmt: skip


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(("old", "new", "line", "column", "said"), WRONG)
def test_what_is_wrong_is_named_with_its_place(
    old: str, new: str, line: int, column: int, said: str
) -> None:
    found = problems_of((old, new))
    assert any((line, column) == (row, at) and said in what for row, at, what in found), found
    assert not Plan.objects.exists()


@pytest.mark.usefixtures("ops")
def test_what_a_file_says_of_a_coupon_or_rate_stays() -> None:
    load()
    [(line, _, said)] = problems_of(("percent: 20", "percent: 30"))
    assert (line, "keeps its percent" in said) == (26, True)
    [(line, column, said)] = problems_of(("percent: 19", "percent: 20"))
    assert (line, column, "from 2021-01-01" in said) == (31, 48, True)
    assert selectors.coupon("launch").percent == 20
    load(("max_redemptions: 9", "max_redemptions: 99"))
    assert selectors.coupon("launch").max_redemptions == 99


@pytest.mark.usefixtures("ops")
def test_a_withdrawn_coupon_stays_withdrawn() -> None:
    load()
    services.retire_coupon("launch", actor=STAFF, at=AT)
    assert not load().changed
    assert not selectors.coupon("launch").active


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE plans_price SET minimum_amount = 1",
        "UPDATE plans_price SET maximum_amount = 1 WHERE type = 'metered'",
        "UPDATE plans_price SET conversion = NULL",
        "UPDATE plans_price SET proration = 'none'",
        "UPDATE plans_price SET quantity_policy = 'purchased'",
        "UPDATE plans_price SET filters = '{}'",
        "UPDATE plans_price SET currencies = '{}'",
        "UPDATE plans_price SET position = 9 WHERE filters <> '{}'",
        "UPDATE plans_planversion SET currencies = '[]'",
        "UPDATE plans_planversion SET thresholds = '{}'",
        "UPDATE plans_planversion SET trial_requires_card = true",
    ],
)
def test_the_new_columns_of_a_published_version_never_change(sql: str) -> None:
    load()
    before = sold()
    with (
        pytest.raises(DatabaseError, match="never changes"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    assert sold() == before


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"type": "licensed", "minimum_amount": 5, "maximum_amount": 4}, "price_bounds_are_sane"),
        ({"type": "licensed", "minimum_amount": 0}, "price_bounds_are_sane"),
        ({"type": "licensed", "filters": {"a": ["b"]}}, "only_usage_is_filtered"),
        ({"type": "flat", "conversion": {"factor": "2"}}, "only_usage_is_filtered"),
        ({"type": "flat", "quantity_policy": "high_water"}, "only_seats_have_a_policy"),
        ({"type": "one_time", "included": 1}, "included_units_are_sane"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(columns: dict[str, Any], constraint: str) -> None:
    load()
    draft = PlanVersion.objects.create(
        plan=Plan.objects.get(), number=2, interval_unit="month", currency="USD", content_hash="x"
    )
    row = {"version": draft, "key": "x", "terms": {}, "timing": "advance", "name": "X"} | columns
    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        Price.objects.create(**row)


@pytest.mark.usefixtures("ops")
def test_two_versions_are_compared_price_by_price() -> None:
    load()
    first = sold()
    load(("key: setup", "key: start"), ("amount: 20", "amount: 25"))
    found = selectors.compare(first, sold())
    assert [price.key for price in found.removed] == ["setup"]
    assert [price.key for price in found.added] == ["start"]
    assert (found.matched[0][0].key, found.matched[0][1].key) == ("base", "base")
    assert "prices.base.amount: 20 → 25" in [str(change) for change in found.changes]
    assert found.common_currencies == ("USD", "EUR")
    assert selectors.compare(first, first).changes == ()


@pytest.mark.usefixtures("ops")
def test_a_retired_plan_is_not_for_sale_until_a_file_sells_it_again() -> None:
    load()
    kept = sold()
    retired = services.retire_plan("shop", actor=STAFF, at=AT)
    assert (retired.number, retired.status) == (1, "retired")
    assert retired.prices == kept.prices
    with pytest.raises(UnknownPlan):
        sold()
    with pytest.raises(UnknownPlan):
        services.retire_plan("shop", actor=STAFF, at=AT)
    assert AuditEntry.objects.get(action="plan_version.retired").after == {
        "plan": "shop",
        "number": 1,
    }
    assert load().plans[0].version == 2


@pytest.mark.usefixtures("ops")
def test_the_payments_catalogue_uses_all_of_it() -> None:
    services.load_catalog(read_catalog("payments"), actor=STAFF, at=AT)
    yen = selectors.current_version("payments-standard").in_currency("JPY")
    assert (yen.trial_days, yen.trial_requires_card) == (14, False)
    assert yen.price("cards").minimum_amount == 3_500
    assert yen.threshold == ThresholdTerms((Decimal(70_000), Decimal(300_000)), Decimal(700_000))
    assert [price.key for price in yen.prices if price.filters] == ["eu_business_cards", "eu_cards"]
    assert selectors.promotion_code("hello").terms.prices == ("terminals",)
    assert {coupon.duration for coupon in selectors.coupons()} == {"once", "repeating", "forever"}


def test_a_code_may_be_kept_for_one_organization(ops: None) -> None:
    acme = make_organization("acme")
    load(("coupon: launch,", "coupon: launch, organization: acme,"))
    assert selectors.promotion_code("LAUNCH20").only_organization_id == acme.pk
