"""Promotion codes over HTTP: checked, redeemed, taken away."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules, PromotionRules
from apps.subscriptions.models import Discount
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

PLAIN = """
currency: USD
applications: [{slug: side, name: Side}]
plans:
  - {code: plain, application: side, name: Plain, interval: month,
     prices: [{key: base, type: flat, amount: "60.00"}]}
"""


@pytest.fixture(autouse=True)
def _codes(world: World) -> None:
    launch = CouponRules(
        code="launch",
        name="Launch",
        percent=Decimal(20),
        duration="repeating",
        months=3,
        minimum_amounts={"USD": Decimal(50)},
    )
    huge = CouponRules(
        code="huge", name="Huge", percent=Decimal(50), minimum_amounts={"USD": Decimal(1000)}
    )
    with rls.ops_scope("test"):
        for rules in (launch, huge, CouponRules(code="gift", name="Gift", percent=Decimal(5))):
            plans.define_coupon(rules, actor=STAFF, at=NOW)
        for code, organization in (("SAVE20", ""), ("ACME20", "acme")):
            plans.define_promotion_code(
                PromotionRules(
                    code=code, coupon="launch", organization=organization, max_redemptions=1
                ),
                actor=STAFF,
                at=NOW,
            )
        for coupon in ("huge", "gift"):
            plans.define_promotion_code(
                PromotionRules(code=coupon, coupon=coupon), actor=STAFF, at=NOW
            )


def redeemed() -> int:
    with rls.ops_scope("test"):
        return Discount.objects.count()


def test_a_code_is_checked_without_being_used(api: Api, world: World) -> None:
    body = {"code": "save20", "subscription": world.subscription.public_id}
    for _ in range(2):
        found = api.post("organizations/acme/promotion-codes/validate", body).json()
        assert (found["promotion_code"], found["coupon"]["percent"]) == ("SAVE20", "20")
    assert redeemed() == 0


def test_a_redeemed_code_comes_off_the_next_invoices(api: Api, world: World) -> None:
    body = {"code": "SAVE20", "subscription": world.subscription.public_id}
    made = api.post("organizations/acme/discounts", body)
    assert made.status_code == 201
    discount = made.json()
    assert (discount["start"], discount["end"]) == ("2023-12-10T12:00:00Z", "2024-03-10T12:00:00Z")
    assert discount["whole_organization"] is False
    path = f"subscriptions/{world.subscription.public_id}"
    upcoming = api.get(f"{path}/upcoming-invoice").json()
    # 20 % of 51.51 are 10.302.
    assert (upcoming["subtotal"], upcoming["discount"], upcoming["total"]) == (51_51, 10_30, 41_21)
    assert upcoming["discounts"] == [{"name": "Launch", "amount": 10_30}]
    assert sum(line["discount"] for line in upcoming["lines"]) == 10_30
    assert api.get(path).json()["discounts"] == [discount]
    assert api.get("organizations/acme/discounts").json()["data"] == [discount]


def test_credit_pays_a_bill_and_makes_it_no_smaller(platform: Api, api: Api, world: World) -> None:
    platform.post("organizations/acme/credit-grants", {"amount": 40_00})
    # 51.51 are to be billed, of which credit pays 40.00; the code needs a bill of 50.00.
    body = {"code": "SAVE20", "subscription": world.subscription.public_id}
    assert api.post("organizations/acme/discounts", body).status_code == 201


def test_a_removed_discount_counts_no_more(api: Api, world: World) -> None:
    refused = api.post("organizations/acme/discounts", {"code": "SAVE20"})
    assert "say for which subscription" in refused.json()["detail"]
    made = api.post("organizations/acme/discounts", {"code": "GIFT"}).json()
    assert made["whole_organization"] is True
    for _ in range(2):
        gone = api.call("DELETE", f"organizations/acme/discounts/{made['id']}").json()
        assert gone["removed_at"] == "2023-12-10T12:00:00Z"
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    assert api.get(path).json()["total"] == 51_51


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("HUGE", 409, "not_redeemable"),  # 51.51 is less than 1,000.00
        ("NOTHING", 404, "unknown_promotion_code"),
        ("launch", 404, "unknown_promotion_code"),  # a coupon's own code is the platform's
    ],
)
def test_a_code_that_does_not_fit_is_refused_and_unused(
    api: Api, world: World, code: str, status: int, problem: str
) -> None:
    body = {"code": code, "subscription": world.subscription.public_id}
    for path in ("promotion-codes/validate", "discounts"):
        reply = api.post(f"organizations/acme/{path}", body)
        assert (reply.status_code, reply.json()["code"]) == (status, problem)
    assert redeemed() == 0


def test_a_code_kept_for_another_customer_is_unknown(
    platform: Api, world: World, stranger: World
) -> None:
    theirs = {"code": "ACME20", "subscription": stranger.subscription.public_id}
    for path in ("promotion-codes/validate", "discounts"):
        reply = platform.post(f"organizations/globex/{path}", theirs)
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_promotion_code")
    mine = {"code": "ACME20", "subscription": world.subscription.public_id}
    assert platform.post("organizations/acme/discounts", mine).status_code == 201


def test_the_last_use_is_gone(platform: Api, world: World, stranger: World) -> None:
    mine = {"code": "SAVE20", "subscription": world.subscription.public_id}
    assert platform.post("organizations/acme/discounts", mine).status_code == 201
    theirs = {"code": "SAVE20", "subscription": stranger.subscription.public_id}
    for path in ("promotion-codes/validate", "discounts"):
        problem = platform.post(f"organizations/globex/{path}", theirs).json()
        assert (problem["status"], problem["code"]) == (409, "not_redeemable")


def test_the_platform_names_a_coupon(platform: Api, world: World) -> None:
    wanted = {"code": "launch", "subscription": world.subscription.public_id}
    made = platform.post("organizations/acme/discounts", wanted).json()
    assert (made["coupon"]["code"], made["promotion_code"]) == ("launch", "")


def test_an_idempotency_key_uses_a_code_once(api: Api, world: World) -> None:
    wanted = {"code": "SAVE20", "subscription": world.subscription.public_id}
    replies = [
        api.post("organizations/acme/discounts", wanted, **{"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert replies[0].json() == replies[1].json()
    assert redeemed() == 1


def test_a_subscription_begins_with_its_code_or_not_at_all(api: Api, world: World) -> None:
    with rls.ops_scope("test"):
        plans.load_catalog(parse_catalog(PLAIN, source="test"), actor=STAFF, at=NOW)
    refused = api.post("subscriptions", {"plan": "plain", "promotion_code": "NOTHING"}).json()
    assert (refused["status"], refused["code"]) == (404, "unknown_promotion_code")
    assert len(api.get("subscriptions").json()["data"]) == 1
    made = api.post("subscriptions", {"plan": "plain", "promotion_code": "SAVE20"}).json()
    assert [one["promotion_code"] for one in made["discounts"]] == ["SAVE20"]
    # 20 % of 60.00.
    path = f"subscriptions/{made['id']}/upcoming-invoice"
    assert api.get(path).json()["total"] == 48_00
