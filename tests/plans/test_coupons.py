"""Coupons take off what they said, and are redeemed as often as they may and never more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Conflict, Forbidden, Invalid
from apps.engine.money import Money
from apps.plans import selectors, services
from apps.plans.errors import (
    CouponStays,
    NotRedeemable,
    UnknownCoupon,
    UnknownPromotionCode,
)
from apps.plans.models import Coupon, PromotionCode
from apps.plans.offers import CouponRules, PromotionRules, coupon_rules
from apps.plans.report import Outcome
from apps.plans.selectors import CouponTerms, PromotionTerms
from apps.tenants.models import Organization
from tests.conftest import AT, STAFF

LAUNCH = CouponRules(
    code="launch",
    name="Launch offer",
    percent=Decimal(20),
    duration="repeating",
    months=3,
    max_redemptions=2,
)
WELCOME = CouponRules(
    code="welcome", name="Welcome", amounts={"USD": Decimal(10), "JPY": Decimal(1000)}
)
PROMO = PromotionRules(code="Launch20", coupon="launch", max_redemptions=1)


def define(rules: CouponRules = LAUNCH) -> CouponTerms:
    return services.define_coupon(rules, actor=STAFF, at=AT)[0]


def promote(rules: PromotionRules = PROMO) -> PromotionTerms:
    return services.define_promotion_code(rules, actor=STAFF, at=AT)[0]


def redeem(
    wanted: CouponTerms | PromotionTerms, organization: Organization, at: Any = AT
) -> CouponTerms:
    return services.redeem(wanted, organization_id=organization.pk, actor=STAFF, at=at)


@pytest.fixture
def sold(db: None) -> CouponTerms:
    with rls.ops_scope("test"):
        found = define()
        promote()
    return found


@pytest.mark.usefixtures("ops")
def test_a_coupon_is_found_as_it_was_defined() -> None:
    terms = define()
    assert selectors.coupon("launch") == selectors.coupon(terms.public_id) == terms
    assert terms.as_dict() == LAUNCH.as_dict()
    assert coupon_rules(terms.as_dict()) == LAUNCH
    assert define(WELCOME).worth("USD") == Money(10_00, "USD")
    assert selectors.coupon("welcome").worth("JPY") == Money(1_000, "JPY")
    assert not selectors.coupon("welcome").works_in("EUR")
    assert [one.code for one in selectors.coupons()] == ["launch", "welcome"]


@pytest.mark.usefixtures("ops")
def test_defining_it_again_changes_nothing() -> None:
    define()
    entries = AuditEntry.objects.count()
    assert services.define_coupon(LAUNCH, actor=STAFF, at=AT)[1] is Outcome.UNCHANGED
    promote()
    again = services.define_promotion_code(replace(PROMO, code="LAUNCH20"), actor=STAFF, at=AT)
    assert again[1] is Outcome.UNCHANGED
    assert AuditEntry.objects.count() == entries + 1


@pytest.mark.usefixtures("ops")
def test_limits_and_words_change_in_place_and_are_recorded() -> None:
    define()
    more = replace(LAUNCH, name="Launch", max_redemptions=5, redeem_by=AT + timedelta(days=9))
    terms, outcome = services.define_coupon(more, actor=STAFF, at=AT)
    assert (outcome, terms.name, terms.max_redemptions) == (Outcome.UPDATED, "Launch", 5)
    entry = AuditEntry.objects.get(action="coupon.updated")
    assert entry.before == {"name": "Launch offer", "max_redemptions": 2, "redeem_by": None}
    assert entry.after["redeem_by"] == "2026-03-10T00:00:00+00:00"


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"percent": Decimal(30)}, "percent"),
        ({"percent": None, "amounts": {"USD": Decimal(5)}}, "amounts"),
        ({"duration": "forever", "months": None}, "duration"),
        ({"months": 4}, "months"),
        ({"plans": ("gateway",)}, "plans"),
        ({"first_time_only": True}, "first_time_only"),
        ({"minimum_amounts": {"USD": Decimal(1)}}, "minimum_amounts"),
    ],
)
def test_what_a_coupon_takes_off_never_changes(change: dict[str, Any], param: str) -> None:
    before = define()
    with pytest.raises(CouponStays) as refusal:
        services.define_coupon(replace(LAUNCH, **change), actor=STAFF, at=AT)
    assert refusal.value.param == param
    assert selectors.coupon("launch") == before


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"code": "Big"}, "code"),
        ({"name": " "}, "name"),
        ({"percent": None}, "percent"),
        ({"amounts": {"USD": Decimal(5)}}, "percent"),
        ({"percent": Decimal(0)}, "percent"),
        ({"percent": Decimal("100.000001")}, "percent"),
        ({"percent": Decimal("1.0000001")}, "percent"),
        ({"percent": None, "amounts": {"USD": Decimal("0.001")}}, "amounts"),
        ({"percent": None, "amounts": {"JPY": Decimal("0.5")}}, "amounts"),
        ({"percent": None, "amounts": {"XXQ": Decimal(5)}}, "amounts"),
        ({"percent": None, "amounts": {"USD": Decimal(-5)}}, "amounts"),
        ({"duration": "twice"}, "duration"),
        ({"months": None}, "months"),
        ({"months": 0}, "months"),
        ({"duration": "once"}, "months"),
        ({"max_redemptions": 0}, "max_redemptions"),
        ({"max_per_organization": 0}, "max_per_organization"),
        ({"minimum_amounts": {"USD": Decimal(0)}}, "minimum_amounts"),
        ({"position": -1}, "position"),
    ],
)
def test_a_coupon_that_makes_no_sense_is_refused(change: dict[str, Any], param: str) -> None:
    with pytest.raises(Invalid) as refusal:
        replace(LAUNCH, **change)
    assert refusal.value.param == param


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"plans": ("nobodys",)}, "plans"),
        ({"prices": ("seast",)}, "prices"),
        ({"redeem_by": AT}, "redeem_by"),
    ],
)
def test_a_coupon_for_what_nobody_sells_or_that_is_over_is_not_made(
    change: dict[str, Any], param: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        define(replace(LAUNCH, **change))
    assert refusal.value.param == param
    assert not Coupon.objects.exists()


@pytest.mark.usefixtures("ops")
def test_an_offer_that_has_ended_may_be_said_again_but_not_be_ended_in_the_past() -> None:
    define(replace(LAUNCH, redeem_by=AT + timedelta(days=1)))
    later = AT + timedelta(days=9)
    again = replace(LAUNCH, redeem_by=AT + timedelta(days=1))
    assert services.define_coupon(again, actor=STAFF, at=later)[1] is Outcome.UNCHANGED
    with pytest.raises(Invalid):
        services.define_coupon(replace(LAUNCH, redeem_by=AT), actor=STAFF, at=later)
    with pytest.raises(Invalid) as refusal:
        promote(replace(PROMO, expires_at=AT))
    assert refusal.value.param == "expires_at"


def test_an_amount_that_is_too_large_is_not_called_too_small() -> None:
    with pytest.raises(Invalid, match="is too much"):
        replace(WELCOME, amounts={"USD": Decimal(10) ** 20})


def amounts(least: int) -> st.SearchStrategy[dict[str, Decimal]]:
    money = st.decimals(1, 10**6, places=2)
    return st.dictionaries(st.sampled_from(["USD", "EUR"]), money, min_size=least, max_size=2)


@given(
    percent=st.none() | st.decimals(1, 100, places=6),
    off=amounts(1),
    least=amounts(0),
    months=st.none() | st.integers(1, 1200),
    most=st.none() | st.integers(1, 10**6),
    by=st.none() | st.integers(0, 10**6).map(lambda hours: AT + timedelta(hours=hours)),
    keys=st.lists(st.sampled_from(["base", "seats"]), unique=True).map(tuple),
    stackable=st.booleans(),
)
def test_a_coupon_reads_back_from_what_is_kept_of_it(
    percent: Decimal | None, off: Any, least: Any, months: Any, most: Any, by: Any,
    keys: tuple[str, ...], stackable: bool,
) -> None:  # fmt: skip
    rules = CouponRules(
        code="x",
        name="X",
        percent=percent,
        amounts={} if percent else off,
        duration="repeating" if months else "forever",
        months=months,
        prices=keys,
        plans=keys,
        minimum_amounts=least,
        first_time_only=stackable,
        max_redemptions=most,
        max_per_organization=most,
        redeem_by=by,
        stackable=stackable,
        position=months or 0,
    )
    assert coupon_rules(rules.as_dict()) == rules


def test_a_use_is_counted_in_the_organizations_scope(
    sold: CouponTerms, organization: Organization
) -> None:
    with rls.tenant_scope(organization.pk):
        taken = redeem(selectors.promotion_code(" launch20 "), organization)
        assert (taken.code, taken.promotion_code) == ("launch", "LAUNCH20")
        assert selectors.coupon("launch").redeemed == 1
        assert selectors.promotion_code("LAUNCH20").redeemed == 1
        entry = AuditEntry.objects.get(action="coupon.redeemed")
        assert entry.after == {"coupon": "launch", "promotion_code": "LAUNCH20"}


def test_a_use_that_was_taken_back_is_not_counted(
    sold: CouponTerms, organization: Organization
) -> None:
    with rls.ops_scope("test"), transaction.atomic():
        redeem(sold, organization)
        transaction.set_rollback(True)
    with rls.ops_scope("test"):
        assert selectors.coupon("launch").redeemed == 0


def test_it_is_redeemed_as_often_as_it_may_and_never_more(
    sold: CouponTerms, organization: Organization
) -> None:
    with rls.ops_scope("test"):
        promotion = selectors.promotion_code("LAUNCH20")
        redeem(promotion, organization)
        assert not selectors.promotion_code("LAUNCH20").open_at(AT)
        with pytest.raises(NotRedeemable) as refusal:
            redeem(promotion, organization)
        assert refusal.value.param == "promotion_code"
        assert selectors.coupon("launch").redeemed == 1  # a refused code uses up no coupon
        redeem(sold, organization)
        assert not selectors.coupon("launch").open_at(AT)
        with pytest.raises(NotRedeemable):
            redeem(sold, organization)
        assert selectors.coupon("launch").redeemed == 2


def test_one_that_is_over_or_withdrawn_is_not_redeemed(organization: Organization) -> None:
    with rls.ops_scope("test"):
        end = AT + timedelta(days=1)
        timed = define(replace(LAUNCH, redeem_by=end))
        assert redeem(timed, organization, end - timedelta(seconds=1)).code == "launch"
        with pytest.raises(NotRedeemable, match="over"):
            redeem(timed, organization, end)
        welcome = define(WELCOME)
        code = promote(PromotionRules(code="HI", coupon="welcome", expires_at=end))
        with pytest.raises(NotRedeemable, match="over"):
            redeem(code, organization, end)
        services.retire_coupon("welcome", actor=STAFF, at=AT)
        services.retire_coupon("welcome", actor=STAFF, at=AT)
        with pytest.raises(NotRedeemable, match="withdrawn"):
            redeem(welcome, organization)
        assert AuditEntry.objects.filter(action="coupon.retired").count() == 1
        assert [one.code for one in selectors.coupons(active=True)] == ["launch"]


def test_a_withdrawn_code_leaves_the_coupon(sold: CouponTerms, organization: Organization) -> None:
    with rls.ops_scope("test"):
        code = services.retire_promotion_code("launch20", actor=STAFF, at=AT)
        with pytest.raises(NotRedeemable):
            redeem(code, organization)
        assert redeem(sold, organization).code == "launch"


def test_a_code_that_is_kept_for_one_organization_is_nobody_elses(
    sold: CouponTerms, organization: Organization, other_organization: Organization
) -> None:
    with rls.ops_scope("test"):
        kept = promote(PromotionRules(code="ACME", coupon="launch", organization="acme"))
        assert kept.organization == "acme"
        with pytest.raises(UnknownPromotionCode):
            redeem(kept, other_organization)
    with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownPromotionCode):
        selectors.promotion_code("ACME")
    with rls.tenant_scope(organization.pk):
        assert redeem(selectors.promotion_code("ACME"), organization).promotion_code == "ACME"


def test_a_strangers_use_is_refused(
    sold: CouponTerms, organization: Organization, other_organization: Organization
) -> None:
    member = Actor("user", "u", "U", other_organization.pk, frozenset({"manage_billing"}))
    with rls.ops_scope("test"):
        with pytest.raises(Forbidden):
            services.redeem(sold, organization_id=organization.pk, actor=member, at=AT)
        assert selectors.coupon("launch").redeemed == 0


def test_tenants_read_coupons_and_write_none(sold: CouponTerms, organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        for sql in (
            "UPDATE plans_coupon SET redeemed = 0",
            "UPDATE plans_promotioncode SET max_redemptions = 99",
            "DELETE FROM plans_coupon",
        ):
            with (
                pytest.raises(DatabaseError, match="permission denied"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE plans_coupon SET percent = 90",
        "UPDATE plans_coupon SET months = 9",
        'UPDATE plans_coupon SET amounts = \'{"USD": "9"}\', percent = NULL',
        "DELETE FROM plans_coupon",
        "UPDATE plans_promotioncode SET first_time_only = true",
        "UPDATE plans_promotioncode SET code = 'OTHER'",
        "UPDATE plans_coupon SET redeemed = 3",
        "UPDATE plans_coupon SET max_redemptions = 0, redeemed = 1",
    ],
)
def test_the_database_keeps_coupons_as_they_were(sold: CouponTerms, sql: str) -> None:
    with rls.ops_scope("test"):
        with (
            pytest.raises(DatabaseError, match=r"never changes|permission denied|uses_left"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
        assert selectors.coupon("launch") == sold


@pytest.mark.usefixtures("ops")
def test_fewer_uses_than_there_were_cannot_be_said(organization: Organization) -> None:
    terms = define()
    redeem(terms, organization)
    redeem(terms, organization)
    with pytest.raises(Conflict, match="2 times"):
        define(replace(LAUNCH, max_redemptions=1))
    assert define(replace(LAUNCH, max_redemptions=3)).open_at(AT)


@pytest.mark.usefixtures("ops")
def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownCoupon):
        selectors.coupon("nothing")
    with pytest.raises(UnknownPromotionCode):
        selectors.promotion_code("NOTHING")
    with pytest.raises(UnknownCoupon):
        promote()
    with pytest.raises(Invalid):
        PromotionRules(code="Ünter", coupon="launch")
    assert not PromotionCode.objects.exists()


@pytest.mark.usefixtures("ops")
def test_only_who_may_change_the_catalogue_defines_coupons() -> None:
    clerk = Actor("staff", "u", "U", None, frozenset({"manage_billing"}))
    with pytest.raises(Forbidden):
        services.define_coupon(LAUNCH, actor=clerk, at=AT)
    assert not Coupon.objects.exists()
