"""Single charges, and invoices that do not wait for a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.amounts import MOST_MINOR
from apps.core.errors import Conflict, Invalid
from apps.engine.calendar import Interval, calendar_cycle
from apps.engine.charges import charge as price_of
from apps.engine.decimals import NotADecimal, plain
from apps.engine.money import Money, UnknownCurrency
from apps.engine.period import Period
from apps.invoicing import singles
from apps.invoicing.composition import Composed, compose_changes, waiting_lines
from apps.invoicing.errors import ChargeBilled, QuoteMoved, UnknownCharge
from apps.invoicing.models import Charge, Invoice, InvoiceLine
from apps.invoicing.services import drafts
from apps.invoicing.services.drafting import Bill, as_range, keep, write
from apps.invoicing.services.issuing import issue
from apps.invoicing.services.sources import refuse_other_terms
from apps.invoicing.singles import Single, cost
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

MOST_UNITS = Decimal(10) ** 12
MOST_A_UNIT = Decimal(10) ** 15  # major units; the column holds three digits more
MOST_PLACES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCharge:
    """A single amount to be billed: `quantity` × `unit_amount`, which is in major units, up to 12
    decimal places, and negative for an allowance.

    For one `subscription` (public id) or the whole organization; without a `currency` in that of
    either, without a `period` for the local day it is added. A `source` makes adding it repeatable.
    """

    name: str
    unit_amount: Decimal
    quantity: Decimal = Decimal(1)
    currency: str = ""
    subscription: str = ""
    key: str = "charge"
    period: Period | None = None
    source: str = ""


@transaction.atomic
def add_charge(organization_id: int, *, new: NewCharge, actor: Actor, at: datetime) -> Charge:
    """Put a single amount on the next invoice of the organization, or of one subscription.

    Of the same `source` the charge that is there is returned. Raises Invalid, and Conflict for a
    `source` with other terms.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    organization = tenants.lock(organization_id)
    facts = None
    if new.subscription:
        facts = subscription_selectors.get(new.subscription, organization_id=organization_id)
    _check(new)
    said = _said(new, organization, facts)
    known = Charge.objects.filter(organization_id=organization_id, source=new.source).first()
    if new.source and known is not None:
        refuse_other_terms(known, said)
        return known
    row = Charge.objects.create(
        **{"during": as_range(day_of(at, organization.timezone)), **said},
        organization_id=organization_id,
        source=new.source,
        recorded_at=at,
        recorded_by=actor.id,
    )
    after = {"amount": row.amount, "currency": row.currency, "quantity": plain(new.quantity)}
    _record(row, "charge.added", actor, at, after)
    return row


def _said(
    new: NewCharge, organization: Organization, facts: SubscriptionFacts | None
) -> dict[str, Any]:
    """Return what a charge says, by column; of its days only what was said of them."""
    currency = new.currency or (facts.currency if facts else organization.currency)
    said = {
        "subscription_id": facts.id if facts else None,
        "key": new.key,
        "name": new.name.strip()[:200],
        "currency": currency,
        "quantity": new.quantity,
        "unit_amount": new.unit_amount,
        "amount": _amount(new.quantity, new.unit_amount, currency),
    }
    return said if new.period is None else {**said, "during": as_range(new.period)}


def day_of(at: datetime, timezone: str) -> Period:
    """Return the local day of an instant: what a single charge is for, unless somebody says."""
    return calendar_cycle(Interval.of("day"), timezone).period_at(at)


def _check(new: NewCharge) -> None:
    if not new.name.strip():
        raise Invalid("Say what is charged: the invoice shows it.", param="name")
    if not new.quantity.is_finite() or new.quantity <= 0:
        raise Invalid("A quantity is more than nothing.", param="quantity")
    if new.quantity >= MOST_UNITS:
        raise Invalid(f"A quantity is less than {MOST_UNITS:,f}.", param="quantity")
    if not new.unit_amount.is_finite() or not -MOST_A_UNIT < new.unit_amount < MOST_A_UNIT:
        raise Invalid(f"A unit amount is less than {MOST_A_UNIT:,f}.", param="unit_amount")
    for param, value in (("quantity", new.quantity), ("unit_amount", new.unit_amount)):
        if value != round(value, MOST_PLACES):
            raise Invalid(f"This has at most {MOST_PLACES} decimal places.", param=param)


def _amount(quantity: Decimal, unit_amount: Decimal, currency: str) -> int:
    try:
        amount = price_of(quantity, unit_amount, currency)
    except (NotADecimal, UnknownCurrency) as error:
        raise Invalid(str(error), param="unit_amount") from error
    if not amount:
        raise Invalid("This comes to nothing; charge an amount.", param="unit_amount")
    if abs(amount.minor) >= MOST_MINOR:
        most = Money(MOST_MINOR, currency)
        raise Invalid(
            f"This comes to {amount}, and a charge to less than {most}.", param="unit_amount"
        )
    return amount.minor


@transaction.atomic
def withdraw_charge(charge_id: str, *, actor: Actor, at: datetime) -> Charge:
    """Take a charge back that no standing invoice bears; safe to repeat.

    Raises UnknownCharge and ChargeBilled.
    """
    row = Charge.objects.filter(public_id=charge_id).first()
    if row is None or actor.organization_id not in (None, row.organization_id):
        raise UnknownCharge(f"There is no charge '{charge_id}'.")
    require("manage_invoices", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    row.refresh_from_db()
    if InvoiceLine.objects.filter(charge=row, live=True).exists():
        raise ChargeBilled(f"{row.name} stands on an invoice; void that, or credit it.")
    if row.withdrawn_at is None:
        row.withdrawn_at = at
        row.save(update_fields=["withdrawn_at"])
        _record(row, "charge.withdrawn", actor, at, {})
    return row


@transaction.atomic
def invoice_charges(
    charge_ids: Sequence[str],
    *,
    actor: Actor,
    at: datetime,
    due_in_days: int | None = None,
    memo: str = "",
    draft: bool = False,
    quoted: Money | None = None,
) -> Invoice:
    """Bill charges of one organization at once, on an invoice of their own.

    `due_in_days` is 0 to 366; without it the issuer's terms. `draft` keeps it for review. What was
    `quoted` (see `quoting.quote_charges`) is what it must come to. Raises UnknownCharge,
    ChargeBilled, QuoteMoved, and Invalid for charges of several organizations or currencies.
    """
    rows = singles.named(charge_ids, organization_id=actor.organization_id)
    organization_id = rows[0].organization_id
    require("manage_invoices", actor=actor, organization_id=organization_id)
    tenants.lock(organization_id)
    singles.refuse_billed(charge_ids)
    made = bill_charges(rows, actor=actor, at=at, due_in_days=due_in_days, memo=memo, draft=draft)
    _check_quoted(quoted, made)
    return made


def _check_quoted(quoted: Money | None, made: Invoice) -> None:
    actual = cost(made.total, made.currency, credit=made.credits)
    if quoted is not None and quoted != actual:
        raise QuoteMoved(
            f"This was quoted at {quoted} and would be {actual} by now; look at it again.",
            quoted=str(quoted),
            actual=str(actual),
        )


def bill_charges(
    rows: Sequence[Charge],
    *,
    actor: Actor,
    at: datetime,
    due_in_days: int | None = None,
    memo: str = "",
    draft: bool = False,
) -> Invoice:
    """Bill charges that nobody has billed yet, of one organization whose lock is held.

    Raises Invalid for `due_in_days` beyond a year.
    """
    single = singles.of_charges(rows, due_in_days=due_in_days, memo=memo)
    return _bill_single(single, actor=actor, at=at, draft=draft)


@transaction.atomic
def bill_now(subscription_id: str, *, actor: Actor, at: datetime) -> Invoice:
    """Bill what waits on a subscription without waiting for its boundary: changes up to now,
    charges and corrections. Raises Conflict when nothing waits.
    """
    facts = subscription_selectors.get(subscription_id, organization_id=actor.organization_id)
    require("manage_invoices", actor=actor, organization_id=facts.organization_id)
    invoice = bill_waiting(facts.id, actor=actor, at=at, everything=True)
    if invoice is None:
        raise Conflict("Nothing waits to be billed on this subscription.")
    return invoice


@transaction.atomic
def bill_waiting(
    subscription_id: int, *, actor: Actor, at: datetime, everything: bool = False
) -> Invoice | None:
    """Bill changes up to now at once (`everything`: charges and corrections too)."""
    tenants.lock(subscription_selectors.by_id(subscription_id).organization_id)
    subscriptions.lock(subscription_id)
    facts = subscription_selectors.by_id(subscription_id)
    lines = waiting(facts, at=at, everything=everything)
    if not lines:
        return None
    return bill_lines(facts, lines, kind=Invoice.Kind.CHANGE, actor=actor, at=at)


def bill_lines(
    facts: SubscriptionFacts, lines: Sequence[Composed], *, kind: str, actor: Actor, at: datetime
) -> Invoice:
    """Bill lines of a locked subscription at once, on an invoice without a boundary."""
    single = Single(
        organization=tenant_selectors.organization(facts.organization_id),
        lines=lines,
        currency=facts.currency,
        kind=kind,
        timezone=facts.timezone,
        discounts=facts.discounts,
        collection=facts.collection,
        subscription_id=facts.id,
    )
    return _bill_single(single, actor=actor, at=at)


def waiting(facts: SubscriptionFacts, *, at: datetime, everything: bool = False) -> list[Composed]:
    """Return the lines that `bill_waiting` would bill."""
    lines = compose_changes(facts, at)
    if everything:
        (more,) = waiting_lines([(facts, facts.next_boundary)])
        lines += more
    return lines


def _bill_single(single: Single, *, actor: Actor, at: datetime, draft: bool = False) -> Invoice:
    bill = Bill(
        organization=single.organization,
        reckoned=single.reckoned(at),
        kind=single.kind,
        issued_at=at,
        due_at=single.due_at(at),
        timezone=single.timezone,
        collection=single.collection,
        subscription_id=single.subscription_id,
        memo=single.memo,
    )
    drafted = write([bill], actor=actor, at=at)
    if draft:
        keep(drafted)
    else:
        issue(drafts.keep_back(drafted, at=at, grace=False), actor=actor, at=at)
    return drafted[0].row


def _record(row: Charge, action: str, actor: Actor, at: datetime, after: dict[str, object]) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=after,
    )
