"""What lines come to: a customer's discounts, taxes and credit, as they stand on the invoice's day.

A preview, a bill and its later proof all go through the engine's `settle`; this reads what it has
to be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from django.db.models import F, Q

from apps.engine import tax
from apps.engine.calendar import zone
from apps.engine.credits import CreditGrant as Credit
from apps.engine.discounts import Discount
from apps.engine.lines import EVERYTHING, Scope
from apps.engine.lines import Line as EngineLine
from apps.engine.money import Money
from apps.engine.settlement import Settlement, settle
from apps.engine.values import value_class
from apps.invoicing.composition import CREDIT_PURCHASE, Composed
from apps.invoicing.document import Deduction, Tax
from apps.invoicing.models import CreditGrant
from apps.plans import selectors as plans
from apps.plans.selectors import TaxTerms
from apps.subscriptions.facts import DiscountFacts
from apps.tenants.tax import TaxStanding, Treatment, standing

if TYPE_CHECKING:
    from apps.tenants.models import BillingEntity, Organization

# A grant used before tax would still leave tax due on what it paid; ours are means of payment.
_ROUNDING = {
    "per_line": tax.TaxRounding.PER_LINE,
    "per_rate": tax.TaxRounding.PER_RATE,
    "once": tax.TaxRounding.ONCE,
}
_INCLUSIVE = {"net_first": tax.Inclusive.NET_FIRST, "tax_first": tax.Inclusive.TAX_FIRST}
_TREATMENTS = {
    Treatment.EXEMPT: tax.Treatment.EXEMPT,
    Treatment.REVERSE_CHARGE: tax.Treatment.REVERSE_CHARGE,
}


@value_class(frozen=True, slots=True)
class Conditions:
    """Everything beside its lines that an invoice's total depends on."""

    currency: str
    standing: TaxStanding
    rates: tuple[TaxTerms, ...]
    policy: tax.TaxPolicy
    discounts: tuple[DiscountFacts, ...]
    grants: tuple[CreditGrant, ...]

    def tax_rates(self) -> tuple[tax.TaxRate, ...]:
        """Return the rates as the engine wants them."""
        return tuple(
            tax.TaxRate(rate.public_id, rate.percent, rate.inclusive, rate.jurisdiction)
            for rate in self.rates
        )


@dataclass(frozen=True)
class Reckoned:
    """Lines with what they come to. All amounts in minor units of one currency."""

    lines: tuple[Composed, ...]
    conditions: Conditions
    settlement: Settlement

    @property
    def currency(self) -> str:
        """The currency of all of it."""
        return self.conditions.currency

    @cached_property
    def gross(self) -> int:
        """What the lines come to with discounts and taxes, before any credit."""
        return self.settlement.totals.total.minor

    @property
    def credits(self) -> int:
        """Credit used up; negative when the lines are a credit themselves, which is then kept."""
        return self.gross if self.gross < 0 else self.settlement.totals.credits.minor

    @property
    def total(self) -> int:
        """What is to be paid."""
        return self.gross - self.credits

    def deductions(self) -> tuple[Deduction, ...]:
        """Return what the discounts took off, as documents show it."""
        names = {facts.public_id: facts.coupon.name for facts in self.conditions.discounts}
        return tuple(
            Deduction(names[turn.discount.id], turn.amount.minor)
            for turn in self.settlement.discounts
            if turn.amount
        )

    def credits_used(self) -> tuple[Deduction, ...]:
        """Return what credit paid, as documents show it."""
        names = {grant.public_id: grant.name for grant in self.conditions.grants}
        return tuple(
            Deduction(names[spent.grant.id], spent.amount.minor)
            for spent in self.settlement.grants
            if spent.amount
        )

    def taxes(self) -> tuple[Tax, ...]:
        """Return the taxes of the whole document, by rate, as documents show them."""
        if self.conditions.rates:
            return self._summed(range(len(self.lines)))
        return (untaxed(self.conditions.standing, self.settlement.totals.net.minor),)

    def taxes_of(self, index: int) -> tuple[Tax, ...]:
        """Return the taxes on one line, as documents show them."""
        if self.conditions.rates:
            return self._summed([index])
        return (untaxed(self.conditions.standing, int(self.settlement.lines[index].taxable)),)

    def _summed(self, indexes: Iterable[int]) -> tuple[Tax, ...]:
        base: defaultdict[str, Decimal] = defaultdict(Decimal)
        amount: defaultdict[str, int] = defaultdict(int)
        for index in indexes:
            taxed = self.settlement.lines[index].taxed
            for part in taxed.parts:
                base[part.rate.id] += int(taxed.taxable)
                amount[part.rate.id] += part.amount.minor
        return tuple(
            _tax(rate, self.conditions.standing, int(base[rate.public_id]), amount[rate.public_id])
            for rate in self.conditions.rates
            if rate.public_id in amount
        )


_NAMES = {
    Treatment.EXEMPT: "Exempt",
    Treatment.REVERSE_CHARGE: "Reverse charge",
    Treatment.EXPORT: "Not subject to tax",
}


def untaxed(said: TaxStanding, base: int) -> Tax:
    """Return why no tax is charged, as documents say it; a place without rates charges none."""
    if said.treatment not in _NAMES:
        return Tax(name="", percent=Decimal(0), base=base, amount=0, treatment="none")
    return Tax(
        name=_NAMES[said.treatment],
        percent=Decimal(0),
        base=base,
        amount=0,
        jurisdiction=said.country,
        treatment=said.treatment.value,
        ground=said.reason_code or said.reason,
    )


def _tax(rate: TaxTerms, said: TaxStanding, base: int, amount: int) -> Tax:
    return Tax(
        name=rate.name,
        percent=rate.percent,
        base=base,
        amount=amount,
        jurisdiction=rate.jurisdiction,
        treatment=said.treatment.value,
        inclusive=rate.inclusive,
        kind=rate.kind,
        ground=said.reason_code or said.reason,
    )


def reckon(lines: Sequence[Composed], conditions: Conditions) -> Reckoned:
    """Return what the lines come to under these conditions."""
    if any(line.kind == CREDIT_PURCHASE for line in lines):
        conditions = _of_a_voucher(conditions)
    rates = conditions.tax_rates()
    return Reckoned(
        tuple(lines),
        conditions,
        settle(
            [_engine_line(str(n), line, conditions, rates) for n, line in enumerate(lines, 1)],
            currency=conditions.currency,
            discounts=[_discount(facts, lines, conditions) for facts in conditions.discounts],
            policy=conditions.policy,
            grants=[as_credit(grant) for grant in conditions.grants],
        ),
    )


def _of_a_voucher(conditions: Conditions) -> Conditions:
    """Nothing is supplied when credit is bought: it is a multi-purpose voucher, and what it pays is
    taxed later (Directive 2006/112/EC, art. 30b (2)). No coupon and no credit pays for it.
    """
    untaxed = TaxStanding(conditions.standing.country, "", Treatment.NONE)
    return replace(conditions, standing=untaxed, rates=(), discounts=(), grants=())


def _engine_line(
    line_id: str, line: Composed, conditions: Conditions, rates: tuple[tax.TaxRate, ...]
) -> EngineLine:
    return EngineLine(
        id=line_id,
        amount=line.amount,
        kind=line.kind,
        price=line.key,
        rates=rates,
        treatment=_TREATMENTS.get(conditions.standing.treatment, tax.Treatment.TAXED),
        reason=conditions.standing.reason_code,
        discountable=line.discountable,
        reserved=line.reserved,
    )


def _discount(facts: DiscountFacts, lines: Sequence[Composed], conditions: Conditions) -> Discount:
    worth = facts.coupon.worth(conditions.currency)
    return Discount(
        id=facts.public_id,
        percent=None if worth is not None else facts.coupon.percent,
        amount=worth,
        scope=_scope(facts, lines),
    )


def _scope(facts: DiscountFacts, lines: Sequence[Composed]) -> Scope:
    """Return the lines that the coupon is for; it stays general when it names none."""
    rules = facts.coupon
    mine = facts.subscription_id
    of_one = mine is not None and any(line.subscription_id != mine for line in lines)
    if not (rules.plans or rules.prices or of_one):
        return EVERYTHING
    return Scope.of(
        lines=[
            str(n)
            for n, line in enumerate(lines, 1)
            if (not rules.plans or line.plan in rules.plans)
            and (not rules.prices or line.key in rules.prices)
            and facts.subscription_id in (None, line.subscription_id)
        ]
    )


def as_credit(grant: CreditGrant) -> Credit:
    """Return a grant as the engine wants it."""
    return Credit(
        id=grant.public_id,
        available=Money(grant.remaining, grant.currency),
        priority=grant.priority,
        expires_at=grant.expires_at,
        granted_at=grant.granted_at,
        scope=Scope.of(kinds=grant.line_kinds or None, prices=grant.price_keys or None),
    )


@value_class(frozen=True, slots=True)
class Customer:
    """Whose lines, in which currency, dated when, and which discounts may come off them.

    `counted` are discounts (public ids) that the draft counts already, spent ones included.
    """

    organization: Organization
    currency: str
    at: datetime
    discounts: Sequence[DiscountFacts] = ()
    counted: frozenset[str] = frozenset()

    def in_force(self) -> tuple[DiscountFacts, ...]:
        """Return the discounts that count on that day and say something in that currency."""
        known = {facts.public_id: facts for facts in self.discounts}
        return tuple(
            facts
            for facts in known.values()
            if (facts.public_id in self.counted or facts.counts_at(self.at))
            and facts.coupon.works_in(self.currency)
        )


def conditions_of(
    customers: Sequence[Customer], *, grants: Mapping[int, Sequence[CreditGrant]] | None = None
) -> list[Conditions]:
    """Read the conditions of many invoices in a handful of statements, in their order.

    `grants` are what `grants_of` the organizations found, where that was asked already.
    """
    if grants is None:
        grants = grants_of({customer.organization.pk for customer in customers})
    rates = _Rates()
    return [
        Conditions(
            currency=customer.currency,
            standing=(said := standing_of(customer)),
            rates=rates.of(said, customer),
            policy=policy_of(customer.organization.billing_entity),
            discounts=customer.in_force(),
            grants=tuple(
                grant
                for grant in grants.get(customer.organization.pk, ())
                if grant.currency == customer.currency and is_usable(grant, customer.at)
            ),
        )
        for customer in customers
    ]


def standing_of(customer: Customer) -> TaxStanding:
    """Return whose tax applies."""
    return standing(customer.organization.billing_entity, customer.organization, customer.at)


def policy_of(entity: BillingEntity) -> tax.TaxPolicy:
    """Return how the issuer rounds taxes."""
    return tax.TaxPolicy(_ROUNDING[entity.tax_rounding], _INCLUSIVE[entity.inclusive_rounding])


def is_usable(grant: CreditGrant, at: datetime) -> bool:
    """Tell whether a grant may pay an invoice of that day."""
    ended = grant.expires_at is not None and grant.expires_at <= at
    return grant.remaining > 0 and grant.voided_at is None and not ended


def grants_of(organization_ids: Collection[int]) -> dict[int, list[CreditGrant]]:
    """Return what is left of grants by organization, in the order in which they are used.

    `is_usable` tells which of them may pay on a day.
    """
    rows = CreditGrant.objects.filter(
        Q(organization_id__among=organization_ids), remaining__gt=0, voided_at=None
    ).order_by("priority", F("expires_at").asc(nulls_last=True), "granted_at", "id")
    found: defaultdict[int, list[CreditGrant]] = defaultdict(list)
    for row in rows:
        found[row.organization_id].append(row)
    return found


class _Rates:
    """Tax rates by place and local day, read once each."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, object], tuple[TaxTerms, ...]] = {}

    def of(self, said: TaxStanding, customer: Customer) -> tuple[TaxTerms, ...]:
        if said.treatment is not Treatment.STANDARD or not said.country:
            return ()
        day = customer.at.astimezone(zone(customer.organization.timezone)).date()
        place = (said.country, said.region, day)
        if place not in self._known:
            self._known[place] = tuple(plans.tax_rates_for(said.country, said.region, day))
        return self._known[place]
