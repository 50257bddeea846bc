"""Coupons redeemed for a subscription, or for everything that an organization pays."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Q
from psycopg.types.range import TimestamptzRange

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import NotFound
from apps.engine.calendar import Cycle, Interval, Unit
from apps.engine.money import Money
from apps.plans import selectors as plans
from apps.plans import services as plan_services
from apps.plans.errors import NotRedeemable, UnknownPromotionCode
from apps.plans.offers import Limits
from apps.plans.selectors import CouponTerms, PromotionTerms
from apps.subscriptions import selectors
from apps.subscriptions.errors import WrongState
from apps.subscriptions.facts import DiscountFacts, SubscriptionFacts
from apps.subscriptions.models import Discount, Subscription
from apps.subscriptions.services.rows import lock
from apps.tenants import services as tenants


@transaction.atomic
def apply_discount(
    organization_id: int,
    *,
    code: str,
    actor: Actor,
    at: datetime,
    subscription_id: str = "",
    owed: Money | None = None,
) -> DiscountFacts:
    """Redeem a promotion code, or a coupon by its own code, from now on.

    For one subscription, by its public id, or without one for all of the organization's. `owed` is
    what the next invoice comes to without it, held against a minimum amount. Not safe to repeat:
    each call is a use; the same coupon is not taken twice where it still counts, and by customers
    not again when it has months: removing it would wind them back.
    Raises NotRedeemable, UnknownCoupon, UnknownPromotionCode, NotFound, WrongState.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    tenants.lock(organization_id)
    facts = _subscription(subscription_id, organization_id)
    if facts is not None:
        lock(facts.id)
    wanted = _find(code, actor)
    _check(wanted, facts, organization_id, actor=actor, at=at, owed=owed)
    taken = plan_services.redeem(wanted, organization_id=organization_id, actor=actor, at=at)
    row = Discount.objects.create(
        organization_id=organization_id,
        subscription_id=None if facts is None else facts.id,
        coupon=taken.code,
        promotion_code=taken.promotion_code,
        terms=taken.as_dict(),
        during=TimestamptzRange(at, _until(taken, facts, at), "[)"),
        position=_position(organization_id, taken),
    )
    _record(row, "subscription.discount_applied", actor, at)
    return selectors.discount(row.public_id)


def check_discount(
    organization_id: int,
    *,
    code: str,
    actor: Actor,
    at: datetime,
    subscription_id: str = "",
    owed: Money | None = None,
) -> CouponTerms:
    """Return what `apply_discount` would take, or raise what it would; stores nothing.

    Somebody else may still take the last use before it is redeemed.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    facts = _subscription(subscription_id, organization_id)
    wanted = _find(code, actor)
    if isinstance(wanted, PromotionTerms) and wanted.only_organization_id not in {
        None,
        organization_id,
    }:
        raise UnknownPromotionCode(f"There is no promotion code '{code}'.", param="promotion_code")
    if not wanted.open_at(at):
        raise NotRedeemable(f"'{wanted.code}' is used up, over or withdrawn.", param="coupon")
    return _check(wanted, facts, organization_id, actor=actor, at=at, owed=owed)


@transaction.atomic
def remove_discount(discount_id: str, *, actor: Actor, at: datetime) -> DiscountFacts:
    """Let a discount count no more from now on; safe to repeat. What it took off stays off."""
    row = Discount.objects.filter(public_id=discount_id).first()
    if row is None or actor.organization_id not in {None, row.organization_id}:
        raise NotFound(f"There is no discount '{discount_id}'.")
    require("manage_billing", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    row = Discount.objects.select_for_update().get(pk=row.pk)
    if row.removed_at is None:
        row.removed_at = at
        row.save(update_fields=["removed_at"])
        _record(row, "subscription.discount_removed", actor, at)
    return selectors.discount(row.public_id)


def spend_discounts(discount_ids: Iterable[int], *, actor: Actor, at: datetime) -> None:
    """Note that discounts that are taken off once have been; billing calls this, by integer ids.

    Those that repeat or stay are left as they are.
    """
    rows = Discount.objects.select_for_update().filter(pk__in=list(discount_ids), spent_at=None)
    for row in rows.order_by("pk"):
        if row.terms["duration"] == "once":
            row.spent_at = at
            row.save(update_fields=["spent_at"])
            _record(row, "subscription.discount_spent", actor, at)


def restore_discounts(public_ids: Iterable[str], *, actor: Actor, at: datetime) -> None:
    """Let discounts count again whose invoice is void or was thrown away; billing calls this."""
    rows = Discount.objects.select_for_update().filter(
        public_id__in=list(public_ids), spent_at__isnull=False
    )
    for row in rows.order_by("pk"):
        row.spent_at = None
        row.save(update_fields=["spent_at"])
        _record(row, "subscription.discount_restored", actor, at)


def _subscription(subscription_id: str, organization_id: int) -> SubscriptionFacts | None:
    if not subscription_id:
        return None
    facts = selectors.get(subscription_id, organization_id=organization_id)
    if not facts.is_live:
        raise WrongState("The subscription has ended; subscribe again.")
    return facts


def _check(
    wanted: CouponTerms | PromotionTerms,
    facts: SubscriptionFacts | None,
    organization_id: int,
    *,
    actor: Actor,
    at: datetime,
    owed: Money | None,
) -> CouponTerms:
    """Return the coupon when the organization may have it, as far as its own facts say."""
    terms = wanted.terms if isinstance(wanted, PromotionTerms) else wanted
    _check_fits(terms, facts, organization_id, at)
    if actor.organization_id is not None:
        _check_first_months(terms, facts, organization_id)
    all_limits = wanted.all_limits if isinstance(wanted, PromotionTerms) else (terms.limits,)
    if owed is None and any(_has_minimum(limits, facts) for limits in all_limits):
        _check_minimum_known(terms, facts, actor)
    for limits in all_limits:
        _check_limits(limits, terms, organization_id, owed)
    return terms


def _find(code: str, actor: Actor) -> CouponTerms | PromotionTerms:
    """Return what the code names: customers type promotion codes, staff may name a coupon."""
    if actor.organization_id is not None:
        return plans.promotion_code(code)
    known = {one.code for one in plans.coupons()} | {one.public_id for one in plans.coupons()}
    return plans.coupon(code) if code in known else plans.promotion_code(code)


def _check_fits(
    terms: CouponTerms, facts: SubscriptionFacts | None, organization_id: int, at: datetime
) -> None:
    if facts is not None:
        if terms.plans and facts.version.plan_code not in terms.plans:
            raise NotRedeemable(f"'{terms.name}' is not meant for this plan.", param="coupon")
        if not terms.works_in(facts.currency):
            raise NotRedeemable(f"'{terms.name}' is not in {facts.currency}.", param="coupon")
    held = _held(organization_id, facts, at)
    if any(one.coupon.code == terms.code for one in held):
        raise NotRedeemable(f"'{terms.name}' counts already.", param="coupon")
    if held and not (terms.stackable and all(one.coupon.stackable for one in held)):
        raise NotRedeemable(f"'{terms.name}' cannot be added to another discount.", param="coupon")


def _held(
    organization_id: int, facts: SubscriptionFacts | None, at: datetime
) -> list[DiscountFacts]:
    """Return what counts where the new one would: for all of them, on any that stands."""
    live = [] if facts is not None else selectors.of_organization(organization_id, live=True)
    mine = {None, *(one.id for one in live)} if facts is None else {None, facts.id}
    return [
        one
        for one in selectors.discounts_of(organization_id)
        if one.subscription_id in mine and one.counts_at(at)
    ]


def _check_first_months(
    terms: CouponTerms, facts: SubscriptionFacts | None, organization_id: int
) -> None:
    """Raise when a coupon of some months has had its start: removing it does not wind them back."""
    rows = Discount.objects.filter(organization_id=organization_id, coupon=terms.code)
    if facts is not None:
        rows = rows.filter(Q(subscription_id=facts.id) | Q(subscription_id=None))
    if terms.months is not None and rows.exists():
        raise NotRedeemable(f"'{terms.name}' was redeemed before.", param="coupon")


def _has_minimum(limits: Limits, facts: SubscriptionFacts | None) -> bool:
    if facts is None:
        return bool(limits.minimum_amounts)
    return facts.currency in limits.minimum_amounts


def _check_minimum_known(terms: CouponTerms, facts: SubscriptionFacts | None, actor: Actor) -> None:
    """Raise when there is no bill to hold a minimum against; for one subscription staff decide."""
    if facts is None:
        raise NotRedeemable(
            f"'{terms.name}' needs a bill of some amount: say for which subscription it is meant.",
            param="subscription",
        )
    if actor.organization_id is not None:
        raise NotRedeemable(
            f"'{terms.name}' needs a bill of some amount, and none is to come.", param="coupon"
        )


def _check_limits(
    limits: Limits, terms: CouponTerms, organization_id: int, owed: Money | None
) -> None:
    most = limits.max_per_organization
    rows = Discount.objects.filter(organization_id=organization_id, coupon=terms.code)
    if most is not None and rows.count() >= most:
        raise NotRedeemable(f"'{terms.name}' was redeemed {most} times already.", param="coupon")
    if limits.first_time_only and _has_paid(organization_id):
        raise NotRedeemable(f"'{terms.name}' is for new customers.", param="coupon")
    least = None if owed is None else limits.minimum_amounts.get(owed.currency)
    if owed is not None and least is not None and owed < Money.of(least, owed.currency):
        raise NotRedeemable(
            f"'{terms.name}' needs a bill of {Money.of(least, owed.currency)} or more.",
            param="coupon",
        )


def _has_paid(organization_id: int) -> bool:
    """Whether anything was billed before: a boundary of any subscription has passed."""
    return Subscription.objects.filter(
        organization_id=organization_id, next_boundary__gt=0
    ).exists()


def _until(terms: CouponTerms, facts: SubscriptionFacts | None, at: datetime) -> datetime | None:
    """Return the end of a repeating discount: so many months on the local wall clock."""
    if terms.months is None:
        return None
    timezone = "UTC" if facts is None else facts.timezone
    return Cycle(at, Interval(Unit.MONTH), timezone).boundary(terms.months)


def _position(organization_id: int, terms: CouponTerms) -> int:
    """Return its place: by the coupon's position, then in the order of redemption."""
    base = terms.position * 10_000
    rows = Discount.objects.filter(
        organization_id=organization_id, position__gte=base, position__lt=base + 10_000
    )
    last = rows.aggregate(last=Max("position"))["last"]
    return base if last is None else last + 1


def _record(row: Discount, action: str, actor: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"coupon": row.coupon, "promotion_code": row.promotion_code},
    )
