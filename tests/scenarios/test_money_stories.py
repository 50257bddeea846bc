"""Stories of money: commitments and caps, promotions, other currencies, taxes abroad."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.invoicing import books
from apps.subscriptions import services as subscriptions
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop


@pytest.fixture(autouse=True)
def _shop(db: None) -> None:
    shop.open_shop()


def test_usage_between_a_commitment_and_a_cap() -> None:
    acme = shop.customer("acme")
    shop.buy(acme, "committed", day(1, 1))
    shop.call(acme, day(1, 10), 6, at=day(1, 11))
    shop.call(acme, day(2, 10), 50, at=day(2, 11))
    shop.call(acme, day(3, 10), 100, at=day(3, 11))
    shop.bill(day(4, 1))
    # 6 × 0.50 = 3.00, committed to 10.00; 50 × 0.50 = 25.00; 100 × 0.50 = 50.00, capped at 40.00
    assert [document.total for document in shop.invoices(acme)] == [10_00, 25_00, 40_00]
    assert books.verify().hold


def test_half_the_price_for_three_months() -> None:
    acme = shop.customer("acme")
    shop.coupon("welcome", 50, months=3)
    facts = shop.buy(acme, "basic", day(1, 31))
    with rls.tenant_scope(acme.pk):
        subscriptions.apply_discount(
            acme.pk,
            code="welcome",
            subscription_id=facts.public_id,
            actor=STAFF,
            at=day(1, 31),
        )
    shop.bill(day(5, 1))
    # 31 January, 28 February and 31 March are within three months of it; 30 April is not
    assert [document.total for document in shop.invoices(acme)] == [10_00, 10_00, 10_00, 20_00]
    assert books.verify().hold


def test_what_was_half_paid_is_half_given_back() -> None:
    acme = shop.customer("acme")
    shop.coupon("welcome", 50, months=3)
    facts = shop.buy(acme, "basic", day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.apply_discount(
            acme.pk,
            code="welcome",
            subscription_id=facts.public_id,
            actor=STAFF,
            at=day(6, 1),
        )
    shop.bill(day(6, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.change_plan(facts.public_id, plan="pro", actor=STAFF, at=day(6, 16))
    shop.bill(day(7, 1))
    june, july = shop.invoices(acme)
    assert june.total == 10_00
    # 10.00 were paid for June, so half of that comes back; half of pro's June (25.00) and all of
    # its July (50.00) are halved again by the coupon: 37.50 − 5.00
    assert shop.lines(july) == [
        ("base ended", -5_00),
        ("base recurring", 50_00),
        ("base started", 25_00),
    ]
    assert (july.discount, july.total) == (37_50, 32_50)
    assert books.verify().hold


def test_a_yen_has_no_part() -> None:
    tanaka = shop.customer("tanaka", currency="JPY", timezone="Asia/Tokyo")
    facts = shop.buy(tanaka, "world", day(6, 30, 15), seats=2)  # midnight of 1 July in Tokyo
    shop.bill(day(6, 30, 15))
    with rls.tenant_scope(tanaka.pk):
        subscriptions.change_quantity(facts.public_id, quantity=3, actor=STAFF, at=day(7, 21, 15))
    shop.call(tanaka, day(7, 5), 5, at=day(7, 6))
    shop.bill(day(7, 31, 15))
    july, august = shop.invoices(tanaka)
    assert july.total == 2_980 + 2 * 980
    # a seat for 10 of 31 days: 316.13; 5 calls of 0.3 are 1.5, a half goes up
    assert shop.lines(august) == [
        ("base recurring", 2_980),
        ("seats recurring", 3 * 980),
        ("seats quantity_changed", 316),
        ("calls usage", 2),
    ]
    assert books.verify().hold


def test_a_dinar_has_a_thousand_parts() -> None:
    salem = shop.customer("salem", currency="KWD", timezone="Asia/Kuwait")
    facts = shop.buy(salem, "world", day(5, 31, 21), seats=1)  # midnight of 1 June in Kuwait
    shop.bill(day(5, 31, 21))
    with rls.tenant_scope(salem.pk):
        subscriptions.change_quantity(facts.public_id, quantity=2, actor=STAFF, at=day(6, 23, 21))
    shop.call(salem, day(6, 5), 3, at=day(6, 6))
    shop.bill(day(6, 30, 21))
    june, july = shop.invoices(salem)
    assert june.total == 6_125 + 3_050
    # a seat for 7 of 30 days: 0.71166… rounds to 0.712; 3 calls of 0.0005 are 0.0015, so 0.002
    assert shop.lines(july) == [
        ("base recurring", 6_125),
        ("seats recurring", 6_100),
        ("seats quantity_changed", 712),
        ("calls usage", 2),
    ]
    assert books.verify().hold


def test_vat_at_home_and_reverse_charge_in_the_union() -> None:
    shop.sell_from_germany()
    berlin = shop.customer("berlin", country="DE")
    paris = shop.customer("paris", country="FR", tax_id="FR40303265045")
    lyon = shop.customer("lyon", country="FR")
    for one in (berlin, paris, lyon):
        shop.buy(one, "basic", day(1, 1))
    shop.bill(day(1, 1))
    # 20.00 and 19 % = 3.80 at home; a business in France owes the tax itself; a consumer in France
    # pays the seller's, as the seller is not registered there
    [at_home] = shop.invoices(berlin)
    [business] = shop.invoices(paris)
    [consumer] = shop.invoices(lyon)
    assert [d.total for d in (at_home, business, consumer)] == [23_80, 20_00, 23_80]
    [reversed_] = business.taxes
    assert (reversed_.treatment, reversed_.amount) == ("reverse_charge", 0)
    assert reversed_.ground == "VATEX-EU-AE"
    assert books.verify().hold
