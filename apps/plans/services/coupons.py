"""Coupons and promotion codes: defining, withdrawing and redeeming them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid
from apps.engine.decimals import plain
from apps.plans import selectors
from apps.plans.errors import CouponStays, NotRedeemable, UnknownCoupon, UnknownPromotionCode
from apps.plans.models import Coupon, Plan, Price, PromotionCode
from apps.plans.offers import Amounts, CouponRules, PromotionRules
from apps.plans.report import Outcome
from apps.plans.selectors import CouponTerms, PromotionTerms
from apps.tenants import selectors as tenants

COUPON_MAY_CHANGE = ("name", "max_redemptions", "redeem_by", "position")
CODE_MAY_CHANGE = ("max_redemptions", "expires_at")


@transaction.atomic
def define_coupon(rules: CouponRules, *, actor: Actor, at: datetime) -> tuple[CouponTerms, Outcome]:
    """Create the coupon, or bring its name, place and limits in time and number to what is said.

    Repeating it changes nothing. Needs the ops scope. Raises CouponStays when it is there and takes
    something else off, Conflict for fewer redemptions than there were, and Invalid for plans or
    prices that nobody sells, and for an end that has passed.
    """
    require("manage_catalog", actor=actor)
    row = Coupon.objects.filter(code=rules.code).first()
    if row is None:
        _refuse_unsold(rules)
    if row is None or row.redeem_by != rules.redeem_by:
        _refuse_past(rules.redeem_by, "redeem_by", at)
    return put_coupon(rules, actor=actor, at=at)


@transaction.atomic
def put_coupon(rules: CouponRules, *, actor: Actor, at: datetime) -> tuple[CouponTerms, Outcome]:
    """Do so for a catalogue: its plans may come with the coupon, and its offers may have ended."""
    require("manage_catalog", actor=actor)
    row = Coupon.objects.select_for_update().filter(code=rules.code).first()
    if row is None:
        row = Coupon.objects.create(code=rules.code, **_columns(rules))
        outcome = Outcome.CREATED
        _record("coupon.created", row, after=rules.as_dict(), actor=actor, at=at)
    else:
        outcome = _bring_up(row, _columns(rules), COUPON_MAY_CHANGE, "coupon", actor=actor, at=at)
    return selectors.coupon(row.code), outcome


@transaction.atomic
def define_promotion_code(
    rules: PromotionRules, *, actor: Actor, at: datetime
) -> tuple[PromotionTerms, Outcome]:
    """Create the promotion code, or bring its limits in time and number to what is said.

    Repeating it changes nothing. Needs the ops scope. Raises UnknownCoupon, UnknownOrganization,
    CouponStays when it is there for something else, and Conflict and Invalid like `define_coupon`.
    """
    require("manage_catalog", actor=actor)
    row = PromotionCode.objects.filter(code=rules.code).first()
    if row is None or row.expires_at != rules.expires_at:
        _refuse_past(rules.expires_at, "expires_at", at)
    return put_promotion_code(rules, actor=actor, at=at)


@transaction.atomic
def put_promotion_code(
    rules: PromotionRules, *, actor: Actor, at: datetime
) -> tuple[PromotionTerms, Outcome]:
    """Do so for a catalogue, whose offers may have ended."""
    require("manage_catalog", actor=actor)
    columns = _code_columns(rules)
    row = PromotionCode.objects.select_for_update().filter(code=rules.code).first()
    if row is None:
        row = PromotionCode.objects.create(code=rules.code, **columns)
        outcome = Outcome.CREATED
        _record("promotion_code.created", row, after=rules.as_dict(), actor=actor, at=at)
    else:
        outcome = _bring_up(row, columns, CODE_MAY_CHANGE, "promotion_code", actor=actor, at=at)
    return selectors.promotion_code(row.code), outcome


@transaction.atomic
def retire_coupon(code: str, *, actor: Actor, at: datetime) -> CouponTerms:
    """Let nobody redeem it any more, by no promotion code either; who has it keeps it.

    Safe to repeat. Needs the ops scope. Raises UnknownCoupon.
    """
    require("manage_catalog", actor=actor)
    row = Coupon.objects.select_for_update().filter(pk=selectors.coupon(code).id).get()
    _withdraw(row, "coupon", actor=actor, at=at)
    return selectors.coupon(row.code)


@transaction.atomic
def retire_promotion_code(code: str, *, actor: Actor, at: datetime) -> PromotionTerms:
    """Let nobody redeem the coupon by this code any more.

    Safe to repeat. Needs the ops scope. Raises UnknownPromotionCode.
    """
    require("manage_catalog", actor=actor)
    found = selectors.promotion_code(code)
    row = PromotionCode.objects.select_for_update().get(pk=found.id)
    _withdraw(row, "promotion_code", actor=actor, at=at)
    return selectors.promotion_code(row.code)


@transaction.atomic
def redeem(
    wanted: CouponTerms | PromotionTerms, *, organization_id: int, actor: Actor, at: datetime
) -> CouponTerms:
    """Count one use of the coupon, and of the promotion code it is redeemed by; return its terms.

    Works in the organization's scope. The count stands with the caller's transaction, and until
    its end nobody else redeems the same coupon: of two who want the last use, one gets it. What
    depends on the organization's own facts (`limits`: first time, so often, so much) is checked by
    the caller, under its lock. Not safe to repeat: each call is a use. Raises NotRedeemable, and
    UnknownPromotionCode for one that is kept for another organization.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    _refuse_foreign(wanted, organization_id)
    _refuse_late(wanted, at)
    code_id = wanted.id if isinstance(wanted, PromotionTerms) else None
    terms = wanted.terms if isinstance(wanted, PromotionTerms) else wanted
    _count(terms, wanted, code_id)
    audit.record(
        action="coupon.redeemed",
        target=terms.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after={"coupon": terms.code, "promotion_code": terms.promotion_code},
    )
    return terms


def unknown_plans(codes: Collection[str]) -> list[str]:
    """Return those of the codes that no plan bears."""
    known = Plan.objects.filter(code__in=codes).values_list("code", flat=True) if codes else ()
    return sorted(set(codes).difference(known))


def unknown_prices(keys: Collection[str]) -> list[str]:
    """Return those of the keys that no plan has a price of."""
    known = Price.objects.filter(key__in=keys).values_list("key", flat=True) if keys else ()
    return sorted(set(keys).difference(known))


def _refuse_unsold(rules: CouponRules) -> None:
    # What a coupon is good for never changes: a slip would be there for good.
    for missing in unknown_plans(rules.plans):
        raise Invalid(f"There is no plan '{missing}'.", param="plans")
    for missing in unknown_prices(rules.prices):
        raise Invalid(f"No plan has a price '{missing}'.", param="prices")


def _refuse_past(end: datetime | None, param: str, at: datetime) -> None:
    if end is not None and end <= at:
        raise Invalid("It would be over already; name an end that is to come.", param=param)


def _refuse_foreign(wanted: CouponTerms | PromotionTerms, organization_id: int) -> None:
    if isinstance(wanted, CouponTerms) or wanted.only_organization_id in {None, organization_id}:
        return
    raise UnknownPromotionCode(
        f"There is no promotion code '{wanted.code}'.", param="promotion_code"
    )


def _refuse_late(wanted: CouponTerms | PromotionTerms, at: datetime) -> None:
    terms = wanted.terms if isinstance(wanted, PromotionTerms) else wanted
    ends = [terms.redeem_by, wanted.expires_at if isinstance(wanted, PromotionTerms) else None]
    if any(end is not None and end <= at for end in ends):
        raise NotRedeemable(f"'{wanted.code}' is over.", param="coupon")


def _count(terms: CouponTerms, wanted: CouponTerms | PromotionTerms, code_id: int | None) -> None:
    # Tenants only read these rows: the function, which runs as their owner, moves the counters.
    with connection.cursor() as cursor:
        cursor.execute("SELECT plans_redeem(%s, %s)", [terms.id, code_id])
        [(refused,)] = cursor.fetchall()
    if refused:
        raise NotRedeemable(f"'{wanted.code}' is used up or was withdrawn.", param=refused)


def _columns(rules: CouponRules) -> dict[str, Any]:
    return {
        "name": rules.name,
        "percent": rules.percent,
        "amounts": _texts(rules.amounts),
        "duration": str(rules.duration),
        "months": rules.months,
        "plans": sorted(rules.plans),
        "prices": sorted(rules.prices),
        "minimum_amounts": _texts(rules.minimum_amounts),
        "first_time_only": rules.first_time_only,
        "max_redemptions": rules.max_redemptions,
        "max_per_organization": rules.max_per_organization,
        "redeem_by": rules.redeem_by,
        "stackable": rules.stackable,
        "position": rules.position,
    }


def _code_columns(rules: PromotionRules) -> dict[str, Any]:
    only = tenants.get_organization(rules.organization).pk if rules.organization else None
    coupon = Coupon.objects.filter(code=rules.coupon).first()
    if coupon is None:
        raise UnknownCoupon(f"There is no coupon '{rules.coupon}'.", param="coupon")
    return {
        "coupon_id": coupon.pk,
        "only_organization_id": only,
        "minimum_amounts": _texts(rules.minimum_amounts),
        "first_time_only": rules.first_time_only,
        "max_redemptions": rules.max_redemptions,
        "max_per_organization": rules.max_per_organization,
        "expires_at": rules.expires_at,
    }


def _texts(amounts: Amounts) -> dict[str, str]:
    return {code: plain(amount) for code, amount in amounts.items()}


def _bring_up(
    row: Coupon | PromotionCode,
    wanted: Mapping[str, Any],
    may_change: Sequence[str],
    what: str,
    *,
    actor: Actor,
    at: datetime,
) -> Outcome:
    before = {key: getattr(row, key) for key, value in wanted.items() if getattr(row, key) != value}
    if not before:
        return Outcome.UNCHANGED
    _refuse_other_terms(row, before.keys() - set(may_change))
    _refuse_fewer(row, wanted["max_redemptions"])
    for key in before:
        setattr(row, key, wanted[key])
    row.save(update_fields=list(before))
    after = {key: _plain(wanted[key]) for key in before}
    earlier = {key: _plain(value) for key, value in before.items()}
    _record(f"{what}.updated", row, before=earlier, after=after, actor=actor, at=at)
    return Outcome.UPDATED


def _refuse_other_terms(row: Coupon | PromotionCode, moved: set[str]) -> None:
    if moved:
        named = ", ".join(sorted(moved))
        raise CouponStays(
            f"'{row.code}' is there and keeps its {named}: give the new one a code of its own.",
            param=min(moved),
        )


def _refuse_fewer(row: Coupon | PromotionCode, most: int | None) -> None:
    if most is not None and most < row.redeemed:
        raise Conflict(
            f"'{row.code}' was redeemed {row.redeemed} times already.", param="max_redemptions"
        )


def _withdraw(row: Coupon | PromotionCode, what: str, *, actor: Actor, at: datetime) -> None:
    if row.active:
        row.active = False
        row.save(update_fields=["active"])
        _record(f"{what}.retired", row, after={"code": row.code}, actor=actor, at=at)


def _record(
    action: str,
    row: Coupon | PromotionCode,
    *,
    after: Mapping[str, Any],
    actor: Actor,
    at: datetime,
    before: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        action=action, target=row.public_id, actor=actor, at=at, before=before, after=after
    )


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
