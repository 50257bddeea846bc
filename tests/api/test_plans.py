"""Plans over HTTP: exact prices, and what is not for everybody."""

from __future__ import annotations

from apps.core import rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

SECRET = """
currency: USD
applications: [{slug: side, name: Side}]
plans:
  - {code: secret, application: side, name: Secret, visibility: private, interval: month,
     prices: [{key: base, type: flat, amount: "5.00"}]}
  - {code: care, application: side, name: Care, industries: [healthcare], interval: year,
     prices: [{key: base, type: flat, amount: "7.00"}]}
"""


def load(text: str = SECRET) -> None:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(text, source="test"), actor=STAFF, at=NOW)


def codes(api: Api, **query: str) -> set[str]:
    return {one["code"] for one in api.get("plans", query).json()["data"]}


def test_prices_are_exact_decimal_strings(api: Api) -> None:
    plan = api.get("plans/gateway").json()
    prices = {price["key"]: price for price in plan["version"]["prices"]}
    assert prices["base"]["terms"] == {"model": "flat", "amount": "50"}
    assert prices["context_tokens"]["terms"]["tiers"][0] == {
        "up_to": "5000000",
        "unit_amount": "0.0000015",
        "flat_amount": "0",
    }
    assert prices["ai_requests"]["included"] == "5000"
    assert plan["version"]["entitlements"] == {"can_export": True, "max_devices": 50}


def test_a_plan_is_found_by_code_and_id(api: Api) -> None:
    plan = api.get("plans/gateway").json()
    assert api.get(f"plans/{plan['id']}").json() == plan


def test_a_private_plan_is_unknown_to_customers(api: Api, platform: Api) -> None:
    load()
    assert codes(api) == {"gateway", "care"}
    assert codes(platform) == {"gateway", "care", "secret"}
    hidden, missing = api.get("plans/secret"), api.get("plans/nothing")
    assert hidden.status_code == missing.status_code == 404
    assert {**hidden.json(), "instance": "", "request_id": ""} == {
        **missing.json(),
        "instance": "",
        "request_id": "",
    }
    assert platform.get("plans/secret").status_code == 200


def test_a_private_plan_is_shown_to_who_has_it(api: Api, world: World) -> None:
    load()
    worlds.subscribe(world.organization, "secret", start=NOW)
    assert "secret" in codes(api)
    assert api.get("plans/secret").json()["name"] == "Secret"


def test_plans_are_filtered_by_application_and_industry(api: Api) -> None:
    load()
    assert codes(api, application="side") == {"care"}
    assert codes(api, industry="healthcare") == {"gateway", "care"}
    assert codes(api, industry="retail") == {"gateway"}


def test_versions_are_listed_newest_first(api: Api) -> None:
    load()
    load(SECRET.replace("7.00", "8.00"))
    versions = api.get("plans/care/versions").json()["data"]
    assert [(one["number"], one["status"]) for one in versions] == [
        (2, "published"),
        (1, "retired"),
    ]
    assert [one["prices"][0]["terms"]["amount"] for one in versions] == ["8", "7"]
    assert api.get("plans/care").json()["version"]["number"] == 2


WORLD = """
currency: USD
applications: [{slug: world, name: World}]
plans:
  - {code: world, application: world, name: World, currencies: [EUR], interval: month, prices: [
      {key: base, type: flat, amount: "20.00", currencies: {EUR: {amount: "18.00"}}}]}
"""


def test_plans_are_listed_in_a_currency_that_they_are_sold_in(api: Api) -> None:
    load(WORLD)
    assert codes(api) == codes(api, currency="USD") == {"gateway", "world"}
    [plan] = api.get("plans", {"currency": "EUR"}).json()["data"]
    version = plan["version"]
    assert (plan["code"], version["currency"]) == ("world", "EUR")
    assert version["currencies"] == ["USD", "EUR"]
    assert version["prices"][0]["terms"] == {"model": "flat", "amount": "18"}
    assert codes(api, currency="SEK") == set()
    assert api.get("plans", {"currency": "euro"}).status_code == 400
