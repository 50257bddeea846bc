"""Invoices that no boundary makes: what they consist of, quoted and billed by the same sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from apps.core.errors import Invalid
from apps.engine.money import Money
from apps.invoicing.composition import Composed, charge_line
from apps.invoicing.errors import ChargeBilled, UnknownCharge
from apps.invoicing.models import Charge, Invoice, InvoiceLine
from apps.invoicing.reckoning import Customer, Reckoned, conditions_of, reckon
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.facts import DiscountFacts
from apps.tenants import selectors as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

MOST_DAYS = 366  # to pay


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """What an invoice without a boundary is made of."""

    organization: Organization
    lines: Sequence[Composed]
    currency: str
    kind: str
    timezone: str
    discounts: Sequence[DiscountFacts] = ()
    collection: str = "manual"
    subscription_id: int | None = None
    due_in_days: int | None = None
    memo: str = ""

    def reckoned(self, at: datetime) -> Reckoned:
        """Return what it comes to when it is issued at this moment."""
        customer = Customer(self.organization, self.currency, at, self.discounts)
        (conditions,) = conditions_of([customer])
        return reckon(self.lines, conditions)

    def due_at(self, at: datetime) -> datetime:
        """Return when it is due: in the days said, or else by the issuer's terms."""
        usual = self.organization.billing_entity.payment_terms_days
        return at + timedelta(days=usual if self.due_in_days is None else self.due_in_days)


def of_charges(rows: Sequence[Charge], *, due_in_days: int | None = None, memo: str = "") -> Single:
    """Return the invoice of charges of one organization and currency.

    A discount of a subscription counts only where one of its charges is billed. Raises Invalid for
    `due_in_days` beyond a year.
    """
    if due_in_days is not None and not 0 <= due_in_days <= MOST_DAYS:
        raise Invalid(f"An invoice is due in 0 to {MOST_DAYS} days.", param="due_in_days")
    organization = tenants.organization(rows[0].organization_id)
    return Single(
        organization=organization,
        lines=[charge_line(row) for row in rows],
        currency=rows[0].currency,
        kind=Invoice.Kind.ONE_OFF,
        timezone=organization.timezone,
        discounts=_discounts_of(rows),
        due_in_days=due_in_days,
        memo=memo,
    )


def _discounts_of(rows: Sequence[Charge]) -> list[DiscountFacts]:
    """Return the organization's own discounts, and those of the charges' subscriptions."""
    mine = {None, *(row.subscription_id for row in rows)}
    found = subscriptions.discounts_of(rows[0].organization_id)
    return [facts for facts in found if facts.subscription_id in mine]


def named(charge_ids: Sequence[str], *, organization_id: int | None) -> list[Charge]:
    """Return charges that may share an invoice, in the order they were added.

    Raises UnknownCharge, and Invalid for charges of several organizations or currencies.
    """
    rows = list(Charge.objects.filter(public_id__in=charge_ids).order_by("id"))
    mine = [row for row in rows if organization_id in (None, row.organization_id)]
    if not charge_ids or len(mine) < len(set(charge_ids)):
        raise UnknownCharge("Name charges that exist; add_charge makes one.")
    if len({(row.organization_id, row.currency) for row in rows}) > 1:
        raise Invalid("One invoice bills one organization in one currency.", param="charges")
    if len(rows) > 1 and any(row.buys is not None for row in rows):
        raise Invalid("Credit is bought on an invoice of its own.", param="charges")
    return rows


def refuse_billed(charge_ids: Sequence[str]) -> None:
    """Raise ChargeBilled when one of them stands on an invoice or was withdrawn."""
    rows = Charge.objects.filter(public_id__in=charge_ids)
    billed = InvoiceLine.objects.filter(charge__in=rows, live=True)
    if billed.exists() or rows.filter(withdrawn_at__isnull=False).exists():
        raise ChargeBilled("One of the charges is billed already, or was withdrawn.")


def cost(total: int, currency: str, *, credit: int) -> Money:
    """Return what a document costs: its total, or below zero what it keeps as credit.

    A document below zero has nothing to pay and is no nothing.
    """
    return Money(total + min(0, credit), currency)
