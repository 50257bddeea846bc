"""What usage costs an organization: with what is set aside, and with what is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from apps.engine.decimals import EXACT, ZERO, exact_text
from apps.engine.money import exponent
from apps.entitlements.decisions import Held, NextUnits
from apps.entitlements.models import Reservation, SpendCap
from apps.invoicing import credit
from apps.invoicing.so_far import Extra, credit_promised, priced_by, usage_so_far
from apps.subscriptions.selectors import SubscriptionFacts


class Spending:
    """What the usage of some subscriptions comes to, as it stood when this was made.

    With `meters` only what they count is measured, which answers for the next units alone.
    Reservations are read before usage: one that is committed in between counts twice and never not
    at all.
    """

    def __init__(
        self,
        organization_id: int,
        subscriptions: Sequence[SubscriptionFacts],
        *,
        at: datetime,
        meters: Collection[str] | None = None,
    ) -> None:
        self._organization_id, self._at = organization_id, at
        self._facts = {facts.id: facts for facts in subscriptions}
        everything = meters is None
        self._reserved = reserved_units(organization_id, at=at) if everything else {}
        measured = usage_so_far(subscriptions, at=at, meters=meters)
        self._so_far = {one.subscription_id: one for one in measured}

    def next_units(self, held: Held, amount: Decimal) -> NextUnits | None:
        """Return what the amount will cost at the quantity of now; None where nothing prices it."""
        meter, facts = str(held.feature.meter_key), held.facts
        if priced_by(facts, meter, self._at) is None:
            return None
        so_far, currency = self._so_far[facts.id], facts.currency
        before, after = so_far.cost(), so_far.cost({meter: amount})
        exact = (after.exact - before.exact) / 10 ** exponent(currency)
        return NextUnits(currency, after.amount - before.amount, exact_text(exact))

    def costs_more(self, held: Held, amount: Decimal) -> bool:
        """Whether the amount costs anything beyond what is used and set aside."""
        so_far = self._so_far[held.facts.id]
        before = so_far.cost(self._extra(held.facts.id))
        return so_far.cost(self._extra(held.facts.id, held, amount)).exact > before.exact

    def spent(self, cap: SpendCap) -> int:
        """Return what the billing periods in the cap's scope come to, in minor units."""
        return sum(self._so_far[one].cost().amount for one in self._within(cap))

    def set_aside(self, cap: SpendCap) -> int:
        """Return what reservations will add to it, in minor units."""
        with_them = sum(self._so_far[i].cost(self._extra(i)).amount for i in self._within(cap))
        return with_them - self.spent(cap)

    def passes(self, cap: SpendCap, held: Held, amount: Decimal) -> bool:
        """Whether the amount would go beyond the cap."""
        within = self._within(cap)
        if held.facts.id not in within:
            return False
        total = sum(self._so_far[i].cost(self._extra(i, held, amount)).amount for i in within)
        return total > cap.amount

    def credit_covers(self, held: Held, amount: Decimal) -> bool:
        """Whether the credit in the subscription's currency pays for all that is not billed yet.

        What waits is read before the credit itself: an invoice that is issued in between counts
        twice and never not at all. Before taxes and discounts.
        """
        currency = held.facts.currency
        mine = [i for i, facts in self._facts.items() if facts.currency == currency]
        owed = sum(self._so_far[i].unbilled(self._extra(i, held, amount)) for i in mine)
        owed += credit_promised(self._organization_id, currency)
        available = credit.available([self._organization_id], self._at)
        return owed <= available.get((self._organization_id, currency), 0)

    def _within(self, cap: SpendCap) -> list[int]:
        return [
            facts.id
            for facts in self._facts.values()
            if facts.currency == cap.currency and cap.subscription_id in {None, facts.id}
        ]

    def _extra(
        self, subscription_id: int, held: Held | None = None, amount: Decimal = ZERO
    ) -> Extra:
        extra = dict(self._reserved.get(subscription_id, {}))
        if held is not None and held.facts.id == subscription_id:
            meter = str(held.feature.meter_key)
            extra[meter] = EXACT.add(extra.get(meter, ZERO), amount)
        return extra


def reserved_units(organization_id: int, *, at: datetime) -> dict[int, dict[str, Decimal]]:
    """Return what is set aside at the instant, {subscription: {meter: units}}, in one statement."""
    rows = Reservation.objects.filter(
        organization_id=organization_id, status=Reservation.Status.OPEN, expires_at__gt=at
    ).order_by()
    found: defaultdict[int, dict[str, Decimal]] = defaultdict(dict)
    sums = rows.values_list("subscription_id", "feature__meter__key").annotate(units=Sum("amount"))
    for subscription_id, meter, units in sums:
        found[subscription_id][meter] = units
    return dict(found)
