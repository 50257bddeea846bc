"""Questions about tax rates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Q

from apps.core import ids
from apps.plans.errors import UnknownTaxRate
from apps.plans.models import TaxRate
from apps.plans.offers import TaxRules


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxTerms(TaxRules):
    """A tax rate with its ids; `valid_until` is the first day without it."""

    id: int
    public_id: str
    valid_until: date | None
    active: bool

    @property
    def jurisdiction(self) -> str:
        """Return the place as one word: DE, US-CA."""
        return f"{self.country}-{self.region}" if self.region else self.country


def tax_rates_for(country: str, region: str, at: date | datetime) -> list[TaxTerms]:
    """Return what is taken in that place on that day, all of it together, in a steady order.

    Rates of the whole country and of the region both count. An instant is read as the day that it
    is in its own zone: hand it over in the zone of the place. None: nothing is taken there.
    """
    day = at.date() if isinstance(at, datetime) else at
    of_place = Q(country=country.upper(), region__in={"", region.upper()}, active=True)
    in_force = Q(valid_from__lte=day) & (Q(valid_until=None) | Q(valid_until__gt=day))
    return [tax_terms(row) for row in TaxRate.objects.filter(of_place & in_force)]


def tax_rate(code: str, at: date | None = None) -> TaxTerms:
    """Return the rate with this public id, or the one with this code on that day (None: the last).

    Raises UnknownTaxRate.
    """
    rows = TaxRate.objects.filter(
        Q(public_id=code) if ids.is_public_id(code, "tax") else Q(code=code)
    )
    if at is not None:
        rows = rows.filter(Q(valid_until=None) | Q(valid_until__gt=at), valid_from__lte=at)
    row = rows.order_by("valid_from").last()
    if row is None:
        raise UnknownTaxRate(f"There is no tax rate '{code}'.", param="tax_rate")
    return tax_terms(row)


def tax_rates(*, active: bool | None = None) -> list[TaxTerms]:
    """Return the tax rates by place, code and time; `active` None shows all."""
    rows = TaxRate.objects.all() if active is None else TaxRate.objects.filter(active=active)
    return [tax_terms(row) for row in rows]


def tax_terms(row: TaxRate) -> TaxTerms:
    """Return a row's terms."""
    return TaxTerms(
        id=row.pk,
        public_id=row.public_id,
        valid_until=row.valid_until,
        active=row.active,
        code=row.code,
        name=row.name,
        kind=row.kind,
        percent=row.percent,
        country=row.country,
        region=row.region,
        inclusive=row.inclusive,
        valid_from=row.valid_from,
    )
