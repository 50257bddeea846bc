"""Charge models: one price applied to one usage."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.engine.money import exponent
from apps.engine.price_rules import (
    Commitment,
    Negative,
    Rules,
    parse_conversion,
    parse_rules,
)
from apps.engine.prices import Terms, parse_terms
from apps.engine.rating import Consumed, Move, Progress, Rated, RatedSum, rate, rate_sum
from tests.cases.records import Adapter, Record

Inputs = Mapping[str, Any]

OPTIONS = frozenset(
    {
        "blocks-per-tier",
        "capacity-tiers",
        "clamp-negative",
        "day-proration",
        "package-round-down",
        "tier-by-other-quantity",
        "window-commitment",
    }
)

# A currency for every number of decimals that a line is rounded to.
CURRENCIES = {0: "JPY", 2: "USD", 3: "KWD", 4: "CLF"}
ROUNDINGS = {"ceil": "up", "ceiling": "up", "floor": "down", "round": "half_up"}
TIER_QUANTITIES = ("tier_quantity", "tier_by", "full_quantity", "full_units")
FREE_UNITS = ("free_units", "usage_discount", "included", "included_units")
DISCOUNTS = ("discount_percent", "percentage_discount", "percent_discount")


def first(inputs: Inputs, names: tuple[str, ...]) -> Any:
    """The value under the first of the names that is there."""
    return next((inputs[name] for name in names if inputs.get(name) is not None), None)


def number(inputs: Inputs, *names: str) -> Decimal:
    """A decimal, zero when it is not there."""
    return Decimal(first(inputs, names) or 0)


def flat(inputs: Inputs) -> Terms:
    return parse_terms({"model": "flat", "amount": inputs["amount"]})


def standard(inputs: Inputs) -> Terms:
    if inputs.get("model") == "flat":
        return flat(inputs)
    return parse_terms({"model": "per_unit", "unit_amount": inputs["unit_amount"]})


def package(inputs: Inputs) -> Terms:
    return parse_terms(
        {
            "model": "package",
            "package_size": inputs["package_size"],
            "unit_amount": inputs["package_amount"],
            "rounding": ROUNDINGS.get(inputs.get("rounding", "up"), inputs.get("rounding", "up")),
        }
    )


def tiered(model: str, inputs: Inputs) -> Terms:
    tiers = inputs["tiers"]
    return parse_terms(
        {
            "model": model,
            "tiers": tiers,
            "zero_quantity_flat": pays_at_zero(inputs),
            "bounded": bool(tiers) and tiers[-1].get("up_to") is not None,
        }
    )


def pays_at_zero(inputs: Inputs) -> bool:
    return bool(inputs.get("zero_quantity") == "first_tier_flat")


def graduated(inputs: Inputs) -> Terms:
    return tiered("graduated", inputs)


def volume(inputs: Inputs) -> Terms:
    return tiered("volume", inputs)


def graduated_percentage(inputs: Inputs) -> Terms:
    return tiered("graduated_percentage", inputs)


def percentage(inputs: Inputs) -> Terms:
    # An allowance or a maximum of zero is how the peer writes that there is none.
    optional = {
        "free_events": int(number(inputs, "free_events")),
        "free_amount": first(inputs, ("free_amount",)),
        "event_minimum": first(inputs, ("per_transaction_min",)),
        "event_maximum": first(inputs, ("per_transaction_max",)),
    }
    used = {key: value for key, value in optional.items() if value and Decimal(value)}
    fixed = first(inputs, ("fixed_amount",)) or "0"
    rate_percent = inputs["rate_percent"]
    return parse_terms(
        {"model": "percentage", "rate_percent": rate_percent, "fixed_amount": fixed, **used}
    )


def dynamic(inputs: Inputs) -> Terms:
    return parse_terms({"model": "dynamic", "multiplier": inputs.get("multiplier", "1")})


def capacity(inputs: Inputs) -> Terms:
    return parse_terms({"model": "capacity", "tiers": inputs["tiers"]})


def blocks(inputs: Inputs, tiers: Any) -> Terms:
    mode = {"all_tiers": "graduated", "top_tier": "volume"}[inputs["mode"]]
    named = [
        {
            "block_size": tier["block_size"],
            "max_blocks": tier["max_blocks"],
            "block_amount": tier["block_price"],
        }
        for tier in tiers
    ]
    return parse_terms({"model": "blocks", "mode": mode, "tiers": named})


def rules_of(record: Record) -> Rules:
    """What the example says besides the terms."""
    inputs = record.inputs
    raw: dict[str, object] = {"negative": negative(record).value}
    # Where lines have a place in the period, a volume waits for the last of them.
    raw["on_last_line"] = record.kind == "volume"
    if inputs.get("conversion"):
        raw["conversion"] = conversion(inputs["conversion"])
    if (percent := first(inputs, DISCOUNTS)) is not None:
        raw["discount_percent"] = percent
    for name in ("maximum_amount", "minimum_amount"):
        raw[name] = inputs.get(name)
    return parse_rules(raw)


def conversion(raw: Inputs) -> dict[str, object]:
    rounding = raw.get("rounding") or "none"
    return {
        "operation": raw["operation"],
        "factor": raw["factor"],
        "rounding": ROUNDINGS.get(rounding, rounding),
        "places": int(raw.get("precision") or 0),
    }


def negative(record: Record) -> Negative:
    # The peer whose tiers owe their first flat amount at zero bills nothing below it; the others
    # refuse a quantity that cannot be bought.
    tiers = record.kind in {"graduated", "volume"} and not pays_at_zero(record.inputs)
    return Negative.REFUSE if tiers and record.option != "clamp-negative" else Negative.NOTHING


def progress_of(inputs: Inputs, before: Consumed | None) -> Progress:
    return Progress(
        before,
        before_amount=number(inputs, "minus_already_billed"),
        billed=number(inputs, "already_billed"),
        last=bool(inputs.get("is_last_line", True)),
    )


def consumed(inputs: Inputs) -> Consumed:
    """What the line bills; a flat price looks at nothing."""
    by = first(inputs, TIER_QUANTITIES)
    return Consumed(
        number(inputs, "quantity"),
        tier_quantity=None if by is None else Decimal(by),
        events=amounts(first(inputs, ("events", "event_amounts"))),
        units={unit: Decimal(n) for unit, n in inputs.get("usage", {}).items()},
    )


def consumed_before(inputs: Inputs) -> Consumed | None:
    """What an earlier line of the period has billed."""
    events = amounts(first(inputs, ("previous_events", "previous_event_amounts")))
    if events is not None:
        return Consumed(events=events)
    quantity = inputs.get("previous_quantity")
    return None if quantity is None else Consumed(Decimal(quantity))


def amounts(raw: Any) -> tuple[Decimal, ...] | None:
    return None if raw is None else tuple(Decimal(one) for one in raw)


def priced(terms: Any) -> Adapter:
    """An adapter for a model: its terms from the inputs, everything else the same for all."""

    def adapter(record: Record) -> Mapping[str, object]:
        inputs = record.inputs
        rules, currency = rules_of(record), currency_of(inputs)
        progress = progress_of(inputs, consumed_before(inputs))
        if inputs.get("buckets") is not None:
            parts = [
                rate(terms(inputs), quantity=Decimal(bucket), currency=currency)
                for bucket in inputs["buckets"]
            ]
            return results(inputs, rate_sum(parts, currency=currency, rules=rules))
        rated = rate(
            terms(inputs),
            quantity=consumed(inputs),
            included=number(inputs, *FREE_UNITS),
            currency=currency,
            rules=rules,
            progress=progress,
        )
        return results(inputs, rated) | {"billed_quantity": rated.billed_quantity}

    return adapter


def currency_of(inputs: Inputs) -> str:
    return CURRENCIES[int(inputs.get("line_round_places") or 2)]


def results(inputs: Inputs, rated: Rated | RatedSum) -> dict[str, object]:
    """Every figure that an example may name, in major units."""
    bounds = rated.bounds
    exact = rated.exact / 10 ** exponent(rated.currency)
    return {
        "amount": rated.amount.major if inputs.get("line_round_places") is not None else exact,
        "usage_amount": bounds.usage,
        "discount": bounds.discount,
        "percentage_discount": bounds.discount,
        "maximum_discount": bounds.maximum_discount,
        "true_up": bounds.true_up,
    }


def units_by_blocks(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    parts = [
        rate(blocks(inputs, unit["tiers"]), quantity=Decimal(unit["quantity"]), currency="USD")
        for unit in inputs["units"]
    ]
    progress = progress_of(inputs, None)
    return results(inputs, rate_sum(parts, currency="USD", progress=progress))


def prorated_graduated(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    pairs = zip(inputs["events"], inputs["prorated"], strict=True)
    moves = tuple(Move(Decimal(units), Decimal(prorated)) for units, prorated in pairs)
    # A peer's level with no events at all owes the first tier's flat amount.
    terms = tiered("graduated", {"zero_quantity": "first_tier_flat", **inputs})
    return results(inputs, rate(terms, quantity=Consumed(moves=moves), currency="USD"))


def quantity_conversion(record: Record) -> Mapping[str, object]:
    if first(record.inputs, FREE_UNITS) is not None:
        return usage_discount(record)
    quantity, raw = number(record.inputs, "quantity"), record.inputs.get("conversion")
    converted = parse_conversion(conversion(raw)).exact(quantity) if raw else quantity
    return {"billed_quantity": converted}


def usage_discount(record: Record) -> Mapping[str, object]:
    return priced(lambda inputs: standard({"unit_amount": "1", **inputs}))(record)


def commitment_windows(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    parts = [
        rate(
            standard(inputs["rules"][window["rule"]]),
            quantity=number(window, "quantity"),
            currency="USD",
            rules=Rules(commitment=commitment(inputs["rules"][window["rule"]])),
        )
        for window in inputs["windows"]
    ]
    held = [part.so_far.committed for part in parts]
    utilized = sum((one.utilized for one in held if one is not None), Fraction(0))
    true_up = sum((one.true_up for one in held if one is not None), Fraction(0))
    return results(inputs, rate_sum(parts, currency="USD")) | {
        "utilized": utilized,
        "true_up": true_up,
    }


def commitment(rule: Inputs) -> Commitment | None:
    amount, quantity = rule.get("commitment_amount"), rule.get("commitment_quantity")
    if amount is None and quantity is None:
        return None
    return Commitment(
        None if amount is None else Decimal(amount),
        None if quantity is None else Decimal(quantity),
        Decimal(rule.get("overage_factor") or 1),
        bool(rule.get("true_up", False)),
    )


ADAPTERS: dict[str, Adapter] = {
    "flat": priced(flat),
    "standard": priced(standard),
    "package": priced(package),
    "graduated": priced(graduated),
    "volume": priced(volume),
    "graduated_percentage": priced(graduated_percentage),
    "percentage": priced(percentage),
    "dynamic": priced(dynamic),
    "capacity": priced(capacity),
    "blocks": units_by_blocks,
    "prorated_graduated": prorated_graduated,
    "quantity_conversion": quantity_conversion,
    "usage_discount": usage_discount,
    "commitment_windows": commitment_windows,
}
