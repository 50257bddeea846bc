"""Credit that is bought: by the customer, or by a rule when little is left."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.amounts import said_amount
from apps.core.errors import Invalid
from apps.engine.calendar import zone
from apps.engine.money import Money
from apps.invoicing import credit
from apps.invoicing.errors import ChargeBilled
from apps.invoicing.models import Charge, CreditGrant, Invoice, InvoiceLine, RechargeRule
from apps.invoicing.services.charges import bill_charges, day_of
from apps.invoicing.services.drafting import as_range
from apps.invoicing.services.grants import NAMES, GrantTerms, amount_of
from apps.invoicing.services.sources import clean, refuse_other_terms
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

Kind = CreditGrant.Kind
SOLD = (Kind.PURCHASED, Kind.COMMITMENT)
RECHARGE = "recharge "


@transaction.atomic
def buy_credit(  # noqa: PLR0913 - a purchase says this much
    organization_id: int,
    *,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    currency: str = "",
    kind: str = Kind.PURCHASED,
    terms: GrantTerms | None = None,
    source: str = "",
    due_in_days: int | None = None,
) -> Invoice:
    """Issue an invoice over credit, in major units; the credit is there when it is paid.

    `purchased`, or a `commitment`, which has to say when it expires. It bears no tax, as a voucher
    for several purposes; what it pays for later does. Of the same `source` the invoice that stands
    is returned. Raises Invalid, Forbidden, ChargeBilled when that invoice was voided, and Conflict
    for a `source` with other terms.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    terms = terms or GrantTerms()
    price, source = amount_of(amount, currency or organization.currency), clean(source)
    known = Charge.objects.filter(organization_id=organization_id, source=source).first()
    if source and known is not None:
        bought = (known.buys or {}).get("bought_at", "")
        refuse_other_terms(known, _columns(price, kind, terms, bought))
        return _invoice_of(known)
    terms.check(at)
    if kind not in SOLD:
        raise Invalid("Credit is bought as purchased, or as a commitment.", param="kind")
    if kind == Kind.COMMITMENT and terms.expires_at is None:
        raise Invalid("Say until when the commitment is to be used.", param="expires_at")
    charge = _charge(organization, price, kind, terms, source, actor=actor, at=at)
    return bill_charges([charge], actor=actor, at=at, due_in_days=due_in_days)


def _charge(
    organization: Organization,
    price: Money,
    kind: str,
    terms: GrantTerms,
    source: str,
    *,
    actor: Actor,
    at: datetime,
) -> Charge:
    row = Charge.objects.create(
        organization_id=organization.pk,
        key="credit",
        name=terms.name.strip()[:200] or NAMES[Kind(kind)],
        quantity=Decimal(1),
        unit_amount=price.major,
        during=as_range(day_of(at, organization.timezone)),
        source=source,
        **_columns(price, kind, terms, at.isoformat()),
        recorded_at=at,
        recorded_by=actor.id,
    )
    audit.record(
        action="credit.ordered",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization.pk,
        after={"kind": str(kind), "amount": price.minor, "currency": price.currency},
    )
    return row


def _columns(price: Money, kind: str, terms: GrantTerms, bought_at: str) -> dict[str, Any]:
    """Return what a purchase says, by column."""
    return {
        "currency": price.currency,
        "amount": price.minor,
        "buys": {"kind": str(kind), "bought_at": bought_at, **terms.as_dict()},
    }


def _invoice_of(charge: Charge) -> Invoice:
    line = InvoiceLine.objects.filter(charge=charge, live=True).select_related("invoice").first()
    if line is None:
        raise ChargeBilled("This purchase was billed, and its invoice is void; buy anew.")
    invoice: Invoice = line.invoice
    return invoice


@transaction.atomic
def set_recharge(
    organization_id: int,
    *,
    threshold: Decimal,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    monthly_cap: Decimal | None = None,
    currency: str = "",
) -> RechargeRule:
    """Buy `amount` of credit whenever less than `threshold` is left, at most `monthly_cap` in a
    calendar month of the organization's zone; all in major units. Replaces the rule before.

    Raises Invalid and Forbidden.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    code = currency or organization.currency
    least, more = _at_least(threshold, code, 0), _at_least(amount, code, 1)
    cap = 0 if monthly_cap is None else _at_least(monthly_cap, code, 1)
    _switch_off(organization_id, code)
    row = RechargeRule.objects.create(
        organization_id=organization_id,
        currency=code,
        threshold=least,
        amount=more,
        monthly_cap=cap,
    )
    after = {"currency": code, "threshold": least, "amount": more, "monthly_cap": cap}
    _record(row, "recharge.set", actor, at, after)
    return row


@transaction.atomic
def stop_recharge(
    organization_id: int, *, actor: Actor, at: datetime, currency: str = ""
) -> RechargeRule | None:
    """Stop buying credit by itself; None when nothing was set. Safe to repeat."""
    require("manage_billing", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    row = _switch_off(organization_id, currency or organization.currency)
    if row is not None:
        _record(row, "recharge.stopped", actor, at, {"currency": row.currency})
    return row


def _switch_off(organization_id: int, currency: str) -> RechargeRule | None:
    row = RechargeRule.objects.filter(
        organization_id=organization_id, currency=currency, active=True
    ).first()
    if row is not None:
        row.active = False
        row.save(update_fields=["active"])
    return row


def _at_least(amount: Decimal, currency: str, least: int) -> int:
    minor = said_amount(amount, currency).minor
    if minor < least:
        raise Invalid("A recharge adds credit, and its threshold is not below nothing.")
    return minor


@transaction.atomic
def recharge(
    organization_id: int, *, currency: str, cause: str, actor: Actor, at: datetime
) -> Invoice | None:
    """Buy what the organization's rule asks for, once a cause (a public id).

    None when there is no rule any more, when enough is left or on order, or when the month's cap
    is reached; what the cap leaves is bought. Safe to repeat.
    """
    organization = tenants.lock(organization_id)
    rule = RechargeRule.objects.filter(
        organization_id=organization_id, currency=currency, active=True
    ).first()
    source = f"{RECHARGE}{cause}"
    done = Charge.objects.filter(organization_id=organization_id, source=source).exists()
    if rule is None or done or _has_enough(rule, at):
        return None
    month = at.astimezone(zone(organization.timezone)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    wanted = rule.amount
    if rule.monthly_cap:
        wanted = min(wanted, rule.monthly_cap - _recharged(rule, month))
    if wanted <= 0:
        return None
    return buy_credit(
        organization_id,
        amount=Money(wanted, currency).major,
        currency=currency,
        source=source,
        actor=actor,
        at=at,
    )


def _has_enough(rule: RechargeRule, at: datetime) -> bool:
    left = credit.available([rule.organization_id], at)
    held = left.get((rule.organization_id, rule.currency), 0)
    return held + credit.on_order(rule.organization_id, rule.currency) >= rule.threshold


def _recharged(rule: RechargeRule, since: datetime) -> int:
    """Return what rules bought since then and stands, in minor units."""
    rows = InvoiceLine.objects.filter(
        organization_id=rule.organization_id,
        live=True,
        charge__currency=rule.currency,
        charge__source__startswith=RECHARGE,
        charge__recorded_at__gte=since,
    )
    return sum(rows.values_list("amount", flat=True))


def _record(
    row: RechargeRule, action: str, actor: Actor, at: datetime, after: dict[str, object]
) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=after,
    )
