"""The catalogues that ship load, twice, in any order, and say what they are meant to."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from apps.engine.rating import rate
from apps.plans import selectors, services
from apps.plans.catalog import parse_catalog, read_catalog, shipped
from apps.plans.models import PlanVersion
from apps.plans.report import CatalogReport
from apps.plans.selectors import PriceTerms
from tests.conftest import AT, STAFF
from tests.plans.samples import gateway

pytestmark = pytest.mark.usefixtures("ops")

DOCS = Path(__file__).resolve().parents[2] / "docs" / "catalog.md"


def load(name: str) -> CatalogReport:
    return services.load_catalog(read_catalog(name), actor=STAFF, at=AT)


def cents(price: PriceTerms, quantity: int | str) -> int:
    rated = rate(
        price.terms,
        quantity=Decimal(quantity),
        included=price.included,
        share=Fraction(1),
        currency="USD",
    )
    return rated.amount.minor


# SHA-256 over the content hashes of the plans: what has been sold under these names stays as it is.
CONTENTS = [
    ("gateway", "6443dc1bc4dba26a"),
    ("industries", "190ce64f0d7ba634"),
    ("licences", "afe890bcb1e3e99a"),
    ("metered", "2e0fa282d27c11ed"),
    ("seats", "909e49c9e982814b"),
]


@pytest.mark.parametrize(("name", "digest"), CONTENTS)
def test_a_released_catalogue_makes_no_new_versions(name: str, digest: str) -> None:
    load(name)
    plans = [plan.code for plan in read_catalog(name).plans]
    hashes = [PlanVersion.objects.get(plan__code=code).content_hash for code in plans]
    assert hashlib.sha256("".join(hashes).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_catalogue_loads_twice(name: str) -> None:
    assert load(name).changed
    assert not load(name).changed


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_plan_waits_for_cards_that_nothing_saves(name: str) -> None:
    assert [plan.code for plan in read_catalog(name).plans if plan.trial_requires_card] == []


def test_the_shipped_catalogues_agree_with_each_other() -> None:
    for name in shipped():
        load(name)
    assert [name for name in reversed(shipped()) if load(name).changed] == []


def test_the_shipped_gateway_is_the_one_of_the_walk_through() -> None:
    assert read_catalog("gateway").plans[0].content() == gateway().plans[0].content()


@pytest.mark.parametrize(
    ("key", "quantity", "amount"),
    [
        ("ai_requests", 8_819, 190_95),
        ("context_tokens", 18_059_974, 20_56),
        ("generated_tokens", 245_896, 1_48),
        ("ai_requests", 19_366, 718_30),
        ("context_tokens", 22_361_870, 24_86),
        ("generated_tokens", 4_088_665, 24_53),
        ("base", 1, 50_00),
        ("seats", 3, 0),
        ("seats", 5, 24_00),
    ],
)
def test_the_gateways_prices_give_the_known_amounts(key: str, quantity: int, amount: int) -> None:
    load("gateway")
    assert cents(selectors.current_version("gateway").price(key), quantity) == amount


@pytest.mark.parametrize(
    ("plan", "amount", "devices", "days", "alerts", "branding"),
    [
        ("trial", None, 10, 30, False, False),
        ("starter", 29_00, 10, 30, False, False),
        ("professional", 99_00, 50, 365, True, False),
        ("enterprise", 1_250_00, None, None, True, True),
    ],
)
def test_a_licence_plan_has_its_price_and_limits(
    plan: str,
    amount: int | None,
    devices: int | None,
    days: int | None,
    alerts: bool,
    branding: bool,
) -> None:
    load("licences")
    terms = selectors.current_version(plan)
    assert [cents(price, 1) for price in terms.prices] == ([] if amount is None else [amount])
    granted = terms.entitlements
    assert (granted["max_devices"], granted["data_retention_days"]) == (devices, days)
    assert granted["has_advanced_alerts"] is alerts
    assert granted["has_custom_branding"] is branding
    assert (terms.custom, terms.trial_days) == (plan == "enterprise", 14 if plan == "trial" else 0)


@pytest.mark.parametrize(
    ("plan", "base", "included"),
    [
        ("business-basic", 50_00, 1_000),
        ("business-professional", 150_00, 5_000),
        ("business-enterprise", 500_00, 20_000),
    ],
)
def test_an_industry_plan_has_its_base_fee_and_overage(plan: str, base: int, included: int) -> None:
    load("industries")
    terms = selectors.current_version(plan)
    assert cents(terms.price("base"), 1) == base
    assert cents(terms.price("api_calls"), included) == 0
    assert cents(terms.price("api_calls"), included + 1) == 1
    assert cents(terms.price("data_exports"), 1) == 10
    assert cents(terms.price("ai_requests"), 1) == 5


@pytest.mark.parametrize("industry", ["hs", "rest", "auto", "ret", "edu", "payroll"])
def test_an_industry_sees_its_plans(industry: str) -> None:
    load("industries")
    offers = selectors.list_plans(application="business-os", industry=industry)
    assert [offer.name for offer in offers] == ["Basic", "Professional", "Enterprise"]
    assert selectors.list_plans(application="business-os", industry="mining") == []


@pytest.mark.parametrize("application", ["healos", "powerdialer", "openmic", "salesrole"])
def test_a_seat_product_sells_by_the_month_and_by_the_year(application: str) -> None:
    load("seats")
    month, year, large = selectors.list_plans(application=application)
    assert [str(o.version.interval.unit) for o in (month, year, large)] == [
        "month",
        "year",
        "month",
    ]
    monthly, yearly = (cents(offer.version.price("seats"), 1) for offer in (month, year))
    assert yearly == 10 * monthly
    assert cents(large.version.price("seats"), 10) == 0
    assert cents(large.version.price("seats"), 11) < monthly


def test_the_metered_platform_uses_every_aggregation_and_model() -> None:
    document = read_catalog("metered")
    assert len({str(meter.aggregation) for meter in document.meters}) == 5
    models = {price.terms.model for plan in document.plans for price in plan.prices}
    assert models == {"flat", "per_unit", "graduated", "volume", "package"}
    load("metered")
    requests = selectors.current_version("pay-as-you-go").price("requests")
    assert cents(requests, 100_000) == 0
    assert cents(requests, 2_100_000) == 4_00 + 3_00


def test_the_example_of_the_documentation_loads_twice() -> None:
    _, _, rest = DOCS.read_text(encoding="utf-8").partition("```yaml\n")
    example = parse_catalog(rest.partition("```")[0], source="docs/catalog.md")
    assert len(example.plans) >= 2
    assert services.load_catalog(example, actor=STAFF, at=AT).changed
    assert not services.load_catalog(example, actor=STAFF, at=AT).changed
