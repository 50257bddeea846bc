"""A price list in words: what each price says, and what a plan grants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from apps.engine.decimals import plain
from apps.engine.prices import (
    Blocks,
    Capacity,
    Dynamic,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Terms,
    Tier,
    Volume,
)
from apps.plans.document import Value
from apps.plans.selectors import FeatureWords, PriceTerms
from apps.portal.formats import Formats

Special = Percentage | GraduatedPercentage | Dynamic | Blocks | Capacity


@dataclass(frozen=True, slots=True)
class PriceWords:
    """A price as a list shows it: its name, its amount, what is included, its tiers."""

    name: str
    amount: str
    included: str
    tiers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a plan grants of a feature: a switch has no value, and is on (`has`) or off."""

    name: str
    value: str
    has: bool


def price_words(price: PriceTerms, terms: Terms, formats: Formats, currency: str) -> PriceWords:
    """Return the price in words; `terms` are the customer's own where they were agreed."""
    unit = price.unit or (_("seat") if price.type == "licensed" else _("unit"))
    included = ""
    if price.included:
        included = _("%(count)s included") % {"count": formats.number(price.included)}
    return PriceWords(
        price.name,
        _amount(terms, unit, formats, currency),
        included,
        _tiers(terms, formats, currency),
    )


def _amount(terms: Terms, unit: str, formats: Formats, currency: str) -> str:
    def write(value: Decimal) -> str:
        return formats.exact(plain(value), currency)

    match terms:
        case Flat():
            return write(terms.amount)
        case PerUnit():
            return _("%(amount)s per %(unit)s") % {"amount": write(terms.unit_amount), "unit": unit}
        case Package():
            size = formats.number(terms.package_size)
            amount = write(terms.unit_amount)
            return _("%(amount)s per %(size)s") % {"amount": amount, "size": size}
        case Graduated():
            lowest = min(tier.unit_amount for tier in terms.tiers)
            return _("from %(amount)s per %(unit)s") % {"amount": write(lowest), "unit": unit}
        case Volume():
            lowest = min(tier.unit_amount for tier in terms.tiers)
            return _("from %(amount)s per %(unit)s, by volume") % {
                "amount": write(lowest),
                "unit": unit,
            }
        case _:
            return _measured(terms, write)


def _measured(terms: Special, write: Callable[[Decimal], str]) -> str:
    match terms:
        case Percentage():
            fixed = f" + {write(terms.fixed_amount)}" if terms.fixed_amount else ""
            return f"{plain(terms.rate_percent)} %{fixed}"
        case GraduatedPercentage():
            return "; ".join(f"{plain(tier.rate_percent)} %" for tier in terms.tiers)
        case Dynamic():
            return f"× {plain(terms.multiplier)}"
        case Blocks():
            return "; ".join(
                f"{write(tier.block_amount)} / {plain(tier.block_size)}" for tier in terms.tiers
            )
        case Capacity():
            return "; ".join(write(tier.amount) for tier in terms.tiers)


def _tiers(terms: Terms, formats: Formats, currency: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(terms, Graduated | Volume):
        return ()
    return tuple((_up_to(tier, formats), _each(tier, formats, currency)) for tier in terms.tiers)


def _up_to(tier: Tier, formats: Formats) -> str:
    if tier.up_to is None:
        return _("above")
    return _("up to %(count)s") % {"count": formats.number(tier.up_to)}


def _each(tier: Tier, formats: Formats, currency: str) -> str:
    each = formats.exact(plain(tier.unit_amount), currency)
    if not tier.flat_amount:
        return each
    return f"{each} + {formats.exact(plain(tier.flat_amount), currency)}"


def grants(
    entitlements: Mapping[str, Value], features: Mapping[str, FeatureWords], formats: Formats
) -> Iterator[Grant]:
    """Yield what a version grants, in words; a limit without a number is unlimited."""
    for key, value in entitlements.items():
        name = features[key].name if key in features else key
        yield Grant(name, _value(value, formats), value is not False)


def _value(value: Value, formats: Formats) -> str:
    if value is None:
        return _("Unlimited")
    if isinstance(value, bool):
        return ""
    return formats.number(value) if isinstance(value, int | Decimal) else str(value)
