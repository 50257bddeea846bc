"""Redo a document's totals from its explanation alone, trusting none of the numbers that follow.

This reads stored JSON and nothing else: no coupon, no tax rate, no row. It is written apart from
`settlement` on purpose, so that a stored document stands or falls by its own arithmetic.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import TypeGuard, TypeVar

from apps.engine.explanation import ROUNDING, BrokenExplanation
from apps.engine.money import round_half_away

Stored = Mapping[str, object]
# Whole numbers stay whole, as in `explanation`: divided by nothing but `Fraction(…)`.
Number = int | Fraction
Left = dict[str, Number]
Key = TypeVar("Key", bound=Hashable)

_CHOICES = {
    "tax_rounding": ("per_line", "per_rate", "once"),
    "inclusive_first": ("net", "tax"),
    "discount_split": ("largest_remainder", "exact"),
}


class BrokenSettlement(BrokenExplanation):
    """Totals that do not follow from the lines, or an explanation that lacks a number."""


def verify_settlement(settlement: Stored) -> int:
    """The amount due in minor units, recomputed from `Settlement.as_dict()` alone.

    Takes as given: the lines as they came, the terms of discounts, rates, credits and the balance.
    Checks everything else (order, bases, parts, taxes, what credit paid, totals) and raises
    BrokenSettlement at the first number that does not follow.
    """
    if settlement.get("rule") != "settlement" or settlement.get("rounding") != ROUNDING:
        raise BrokenSettlement("not a settlement, or rounded in an unknown way")
    for key, choices in _CHOICES.items():
        if settlement.get(key) not in choices:
            raise BrokenSettlement(f"unknown {key} {settlement.get(key)!r}")
    lines = {_text(line, "id"): line for line in _list(settlement, "lines")}
    _same(len(_list(settlement, "lines")), len(lines), "lines with an id of their own")
    net: Left = {name: _whole(line, "amount_minor") for name, line in lines.items()}
    subtotal = _sum(net)
    _discounts(settlement, lines, net)
    taxes, inside = _taxes(settlement, lines, net)
    _check_totals(
        settlement,
        subtotal=subtotal,
        discount=subtotal - _sum(net),
        net=_sum(net),
        tax=sum(taxes.values()),
        tax_included=sum(inside.values()),
    )
    owed = {name: net[name] + taxes[name] - inside[name] for name in lines}
    return _payments(settlement, lines, net, owed)


def _discounts(settlement: Stored, lines: Mapping[str, Stored], left: Left) -> None:
    """Take each discount off `left` in its turn, checking its base, what it took and its parts."""
    discounts = _list(settlement, "discounts")
    restricted = [bool(_map(discount, "scope")) for discount in discounts]
    if restricted != sorted(restricted, reverse=True):
        raise BrokenSettlement("a restricted discount came after a general one")
    for discount in discounts:
        touched = _touched(discount, lines, left)
        shares = _shares(discount, touched, settlement.get("discount_split") == "exact")
        for name, share in shares.items():
            left[name] -= share
    for name, line in lines.items():
        off = _whole(line, "amount_minor") - left[name]
        _same(_exact(line, "discount_minor"), off, f"discount of {name}")


def _touched(discount: Stored, lines: Mapping[str, Stored], left: Left) -> Left:
    scope = _map(discount, "scope")
    free = {name: left[name] - _reserved(line) for name, line in lines.items()}
    return {
        name: free[name]
        for name, line in lines.items()
        if line.get("discountable") is True and free[name] > 0 and _covers(scope, line)
    }


def _reserved(line: Stored) -> int:
    """What another line of the document takes back of this one, so that no discount touches it."""
    return _whole(line, "reserved_minor") if "reserved_minor" in line else 0


def _shares(discount: Stored, touched: Left, exactly: bool) -> Left:
    base = sum(touched.values())
    _same(_exact(discount, "base_minor"), base, "base of a discount")
    taken = _taken(discount, base)
    _same(_whole(discount, "taken_minor"), taken, "discount")
    shares: Left = {name: Fraction(taken * part) / base for name, part in touched.items()}
    shares = shares if exactly else _in_whole_units(shares, taken)
    _check_parts(discount, shares)
    return shares


def _taken(discount: Stored, base: Number) -> int:
    if "percent" in discount:
        wanted = round_half_away(Fraction(base * _exact(discount, "percent")) / 100)
    else:
        wanted = _whole(discount, "amount_minor")
    if "cap_minor" in discount:
        wanted = min(wanted, _whole(discount, "cap_minor"))
    return max(0, min(wanted, base.numerator // base.denominator))


def _taxes(
    settlement: Stored, lines: Mapping[str, Stored], net: Left
) -> tuple[dict[str, int], dict[str, int]]:
    """Each line's tax and the part of it inside the price, every number of it checked."""
    rates = {_text(rate, "id"): rate for rate in _list(settlement, "rates")}
    exact = {
        (name, rate): tax
        for name, line in lines.items()
        for rate, tax in _line_taxes(line, rates, net[name]).items()
    }
    whole: dict[tuple[str, str], Number] = {}
    for group in _tax_groups(settlement, rates, exact):
        parts = {key: exact[key] for key in group}
        tax = sum(parts.values())
        inclusive = rates[group[0][1]].get("inclusive") is True
        if inclusive and settlement.get("inclusive_first") == "net":
            prices = int(sum(net[name] for name in {name for name, _ in group}))
            whole |= _in_whole_units(parts, prices - round_half_away(prices - tax))
        else:
            whole |= _in_whole_units(parts, round_half_away(tax))
    return _tax_sums(lines, rates, net, whole)


def _line_taxes(line: Stored, rates: Mapping[str, Stored], net: Number) -> dict[str, Number]:
    taxes = _list(line, "taxes")
    if not {_text(tax, "rate") for tax in taxes} <= rates.keys():
        raise BrokenSettlement(f"{line.get('id')} is taxed by a rate that is not there")
    percents = {_text(tax, "rate"): _exact(rates[_text(tax, "rate")], "percent") for tax in taxes}
    inside = sum((p for name, p in percents.items() if rates[name].get("inclusive")))
    charged = 1 if _text(line, "treatment") == "taxed" else 0
    for tax in taxes:
        expected = Fraction(charged * net * percents[_text(tax, "rate")]) / (100 + inside)
        _same(_exact(tax, "exact_minor"), expected, f"exact tax of {line.get('id')}")
    return {_text(tax, "rate"): _exact(tax, "exact_minor") for tax in taxes}


def _tax_groups(
    settlement: Stored,
    rates: Mapping[str, Stored],
    exact: Mapping[tuple[str, str], Number],
) -> list[list[tuple[str, str]]]:
    """The (line, rate) pairs that are rounded together."""
    groups: dict[object, list[tuple[str, str]]] = {}
    for line, rate in exact:
        inclusive = rates[rate].get("inclusive") is True
        key: object = inclusive
        if settlement.get("tax_rounding") == "per_rate":
            key = rate
        elif settlement.get("tax_rounding") == "per_line":
            together = inclusive and settlement.get("inclusive_first") == "net"
            key = (line, "" if together else rate)
        groups.setdefault(key, []).append((line, rate))
    return list(groups.values())


def _tax_sums(
    lines: Mapping[str, Stored],
    rates: Mapping[str, Stored],
    net: Left,
    whole: Mapping[tuple[str, str], Number],
) -> tuple[dict[str, int], dict[str, int]]:
    taxes, inside = dict.fromkeys(lines, 0), dict.fromkeys(lines, 0)
    for name, line in lines.items():
        for tax in _list(line, "taxes"):
            rate, units = _text(tax, "rate"), _whole(tax, "minor")
            _same(units, whole[name, rate], f"tax of {name}")
            taxes[name] += units
            inside[name] += units if rates[rate].get("inclusive") is True else 0
        _same(_exact(line, "taxable_minor"), net[name] - inside[name], f"taxable of {name}")
    return taxes, inside


def _payments(settlement: Stored, lines: Mapping[str, Stored], net: Left, owed: Left) -> int:
    """Credit before tax, credit notes, grants and the balance; the amount due."""
    net, owed = (_in_whole_units(each, _sum(each)) for each in (net, owed))
    for name, line in lines.items():
        _same(_whole(line, "owed_minor"), owed[name], f"owed of {name}")
    grants = _list(settlement, "grants")
    early = [grant for grant in grants if grant.get("before_tax") is True]
    late = [grant for grant in grants if grant.get("before_tax") is not True]
    prepaid = _spent(early, lines, net, _sum(net))
    total = _sum(owed) - prepaid
    notes = _drawn(_list(settlement, "credit_notes"), total)
    spent = _spent(late, lines, _less(owed, early), total - notes)
    still_open, balance = total - notes - spent, _whole(settlement, "balance_minor")
    due = max(0, still_open - balance)
    _check_totals(
        settlement,
        prepaid=prepaid,
        total=total,
        credit_notes=notes,
        credits=spent,
        balance_used=still_open - due,
        amount_due=due,
    )
    _same(_whole(settlement, "balance_after_minor"), balance - still_open + due, "balance after")
    return due


def _less(owed: Left, grants: Sequence[Stored]) -> Left:
    """What is still owed of each line after what the grants paid."""
    left = dict(owed)
    for grant in grants:
        for part in _list(grant, "parts"):
            left[_text(part, "line")] -= _whole(part, "minor")
    return left


def _spent(grants: Sequence[Stored], lines: Mapping[str, Stored], owed: Left, limit: int) -> int:
    """What the grants paid altogether, each checked against what it could."""
    turns = [_turn(grant) for grant in grants]
    if turns != sorted(turns):
        raise BrokenSettlement("credit was not used by priority, then expiry, then age")
    rest = max(0, limit)
    left = {name: max(0, amount) for name, amount in owed.items()}
    for grant in grants:
        able: Number = min(_whole(grant, "available_minor"), rest)
        parts: Left = {}
        for name, line in lines.items():
            if _covers(_map(grant, "scope"), line):
                parts[name] = min(left[name], able)
                left[name], able = left[name] - parts[name], able - parts[name]
        _check_parts(grant, parts)
        _same(_whole(grant, "used_minor"), _sum(parts), "credit used")
        rest -= _sum(parts)
    return max(0, limit) - rest


def _turn(grant: Stored) -> tuple[int, datetime, datetime]:
    """Where a grant stands in the order; what never expires comes last."""
    return (
        _whole(grant, "priority"),
        _moment(grant, "expires_at", datetime.max.replace(tzinfo=UTC)),
        _moment(grant, "granted_at", datetime.min.replace(tzinfo=UTC)),
    )


def _moment(stored: Stored, key: str, otherwise: datetime) -> datetime:
    if stored.get(key) is None:
        return otherwise
    try:
        return datetime.fromisoformat(_text(stored, key))
    except ValueError as error:
        raise BrokenSettlement(f"{key} is no moment: {stored[key]!r}") from error


def _drawn(notes: Sequence[Stored], total: int) -> int:
    rest = max(0, total)
    for note in notes:
        used = min(_whole(note, "available_minor"), rest)
        _same(_whole(note, "used_minor"), used, "credit note used")
        rest -= used
    return max(0, total) - rest


def _in_whole_units(parts: Mapping[Key, Number], total: int) -> dict[Key, Number]:
    """Whole parts that sum to the total: unit by unit to the part that lacks most."""
    units: dict[Key, Number] = {key: int(part) for key, part in parts.items()}
    spare = total - int(sum(units.values()))
    if abs(spare) > len(units):
        raise BrokenSettlement(f"{total} cannot be shared out as it was")
    step = 1 if spare > 0 else -1
    for _ in range(abs(spare)):
        lacking = {key: step * (parts[key] - units[key]) for key in units}
        units[max(lacking, key=lambda key: lacking[key])] += step
    return units


def _covers(scope: Stored, line: Stored) -> bool:
    fields = {"lines": "id", "kinds": "kind", "prices": "price"}
    if not scope.keys() <= fields.keys():
        raise BrokenSettlement(f"a scope of {', '.join(scope)}")
    return all(_text(line, fields[key]) in _names(scope, key) for key in scope)


def _check_parts(turn: Stored, expected: Mapping[str, Number]) -> None:
    stored = {_text(part, "line"): _exact(part, "minor") for part in _list(turn, "parts")}
    if stored != {name: part for name, part in expected.items() if part}:
        raise BrokenSettlement(f"the parts of {turn.get('id')} are not what they come to")


def _check_totals(settlement: Stored, **expected: Number) -> None:
    totals = _map(settlement, "totals")
    for name, value in expected.items():
        _same(_whole(totals, f"{name}_minor"), value, name)


def _sum(parts: Left) -> int:
    """The sum of parts that make up whole units."""
    return int(sum(parts.values()))


def _same(stored: object, expected: object, what: str) -> None:
    if stored != expected:
        raise BrokenSettlement(f"{what}: {stored} is stored, the arithmetic gives {expected}")


def _exact(stored: Stored, key: str) -> Number:
    """A number written as a string, or a whole one as it is."""
    value = stored.get(key)
    if type(value) is int:
        return value
    try:
        return _read(_text(stored, key))
    except (ValueError, ZeroDivisionError) as error:
        raise BrokenSettlement(f"{key} is no number: {value!r}") from error


@lru_cache(maxsize=4096)
def _read(text: str) -> Number:
    """Read a number; those of many documents are the same few."""
    found = Fraction(text)
    return found.numerator if found.denominator == 1 else found


def _whole(stored: Stored, key: str) -> int:
    value = stored.get(key)
    if type(value) is not int:
        raise BrokenSettlement(f"{key} must be a whole number, not {value!r}")
    return value


def _text(stored: Stored, key: str) -> str:
    value = stored.get(key)
    if not isinstance(value, str):
        raise BrokenSettlement(f"{key} must be a string, not {value!r}")
    return value


def _map(stored: Stored, key: str) -> Stored:
    value = stored.get(key)
    if not _is_map(value):
        raise BrokenSettlement(f"{key} must be a mapping, not {value!r}")
    return value


def _is_map(value: object) -> TypeGuard[Stored]:
    # Of what JSON makes the type is enough, and an abstract class is slow to ask.
    return type(value) is dict or isinstance(value, Mapping)


def _list(stored: Stored, key: str) -> list[Stored]:
    value = stored.get(key)
    if not isinstance(value, list) or not all(_is_map(part) for part in value):
        raise BrokenSettlement(f"{key} must be a list of mappings, not {value!r}")
    return value


def _names(stored: Stored, key: str) -> list[str]:
    value = stored.get(key)
    if not isinstance(value, list):
        raise BrokenSettlement(f"{key} must be a list of names, not {value!r}")
    return value
