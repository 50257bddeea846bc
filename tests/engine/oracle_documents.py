"""Discounts, taxes, credits and totals, once more: minor units in lists, and Fractions.

Written from the conventions (docs/algorithms/settlement.md) and not from the engine, which it does
not import.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.engine import oracle

NEVER = math.inf
ALWAYS = -math.inf


@dataclass(frozen=True)
class Tax:
    """A rate in percent, on top of the price or inside it."""

    id: str
    percent: Fraction
    inside: bool


@dataclass(frozen=True)
class Item:
    """A line of a document. An untaxed one is exempt or under reverse charge.

    `reserved` of it another line takes back: no coupon comes off that.
    """

    id: str
    amount: int
    kind: str
    taxes: tuple[Tax, ...]
    taxed: bool
    discountable: bool
    reserved: int = 0


@dataclass(frozen=True)
class Coupon:
    """A percentage or an amount off some lines; None names nothing."""

    percent: Fraction | None
    amount: int | None
    most: int | None
    kinds: Collection[str] | None
    lines: Collection[str] | None


@dataclass(frozen=True)
class Grant:
    """Credit that pays lines of some kinds; times are seconds."""

    available: int
    priority: int
    expires: float
    since: float
    kinds: Collection[str] | None
    before_tax: bool


@dataclass(frozen=True)
class Taxes:
    """Taxes by line: all of them, and those inside the price."""

    by_line: list[int]
    inside: list[int]


@dataclass(frozen=True)
class Totals:
    """What a document comes to."""

    subtotal: int
    discount: int
    tax: int
    inside: int
    prepaid: int
    total: int
    notes: int
    credits: int
    due: int
    balance_after: int
    owed: list[int]


def discounts(items: Sequence[Item], coupons: Sequence[Coupon]) -> tuple[list[int], list[int]]:
    """What each coupon takes, in the order given, and what it leaves of each line."""
    left = [item.amount for item in items]
    taken = [0] * len(coupons)
    named = [n for n, c in enumerate(coupons) if not (c.kinds is None and c.lines is None)]
    general = [n for n in range(len(coupons)) if n not in named]
    for turn in (*named, *general):
        coupon = coupons[turn]
        free = [left[n] - item.reserved for n, item in enumerate(items)]
        touched = [n for n, item in enumerate(items) if _takes(coupon, item) and free[n] > 0]
        base = sum(free[n] for n in touched)
        wanted = coupon.amount
        if coupon.percent is not None:
            wanted = oracle.rounded(base * coupon.percent / 100)
        taken[turn] = min(w for w in (wanted, base, coupon.most) if w is not None)
        if base:
            parts = oracle.split(taken[turn], [Fraction(free[n]) for n in touched])
            for n, part in zip(touched, parts, strict=True):
                left[n] -= part
    return taken, left


def _takes(coupon: Coupon, item: Item) -> bool:
    return (
        item.discountable
        and (coupon.kinds is None or item.kind in coupon.kinds)
        and (coupon.lines is None or item.id in coupon.lines)
    )


def taxes(items: Sequence[Item], amounts: Sequence[int], rounding: str, first: str) -> Taxes:
    """The taxes on what is left of the lines, rounded by line, by rate or once."""
    exact: dict[tuple[int, Tax], Fraction] = {}
    for n, (item, amount) in enumerate(zip(items, amounts, strict=True)):
        net = amount / (1 + sum((t.percent / 100 for t in item.taxes if t.inside), Fraction(0)))
        for tax in item.taxes:
            exact[n, tax] = net * tax.percent / 100 if item.taxed else Fraction(0)
    found = Taxes([0] * len(items), [0] * len(items))
    for together in _rounded_together(list(exact), rounding, first):
        parts = [exact[each] for each in together]
        inside = together[0][1].inside
        gross = sum(amounts[n] for n in {n for n, _ in together})
        whole = oracle.rounded(sum(parts, Fraction(0)))
        if inside and first == "net":
            whole = gross - oracle.rounded(gross - sum(parts, Fraction(0)))
        for (n, _), part in zip(together, shared_out(parts, whole), strict=True):
            found.by_line[n] += part
            found.inside[n] += part if inside else 0
    return found


def _rounded_together(
    taxed: list[tuple[int, Tax]], rounding: str, first: str
) -> list[list[tuple[int, Tax]]]:
    def key(each: tuple[int, Tax]) -> object:
        line, tax = each
        if rounding == "once":
            return tax.inside
        if rounding == "per_rate":
            return tax.id
        return (line, "inside") if tax.inside and first == "net" else (line, tax.id)

    groups: dict[object, list[tuple[int, Tax]]] = {}
    for each in taxed:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())


def shared_out(parts: Sequence[Fraction], whole: int) -> list[int]:
    """Parts of either sign made whole: cut towards zero, then one unit to whoever lost most."""
    units = [int(part) for part in parts]
    while (missing := whole - sum(units)) != 0:
        step = 1 if missing > 0 else -1
        lost = [(part - unit) * step for part, unit in zip(parts, units, strict=True)]
        units[lost.index(max(lost))] += step
    return units


def spend(
    grants: Sequence[Grant], kinds: Sequence[str], owed: Sequence[int], limit: int
) -> tuple[list[int], list[int]]:
    """What each grant pays, and what is left to pay of each line."""
    left = [max(0, amount) for amount in owed]
    used = [0] * len(grants)
    rest = max(0, limit)
    by_turn = sorted(
        range(len(grants)),
        key=lambda n: (grants[n].priority, grants[n].expires, grants[n].since, n),
    )
    for turn in by_turn:
        grant = grants[turn]
        for n, kind in enumerate(kinds):
            if grant.kinds is None or kind in grant.kinds:
                part = min(left[n], grant.available - used[turn], rest)
                left[n] -= part
                used[turn] += part
                rest -= part
    return used, left


def totals(
    items: Sequence[Item],
    coupons: Sequence[Coupon],
    *,
    rounding: str,
    first: str,
    notes: Sequence[int],
    grants: Sequence[Grant],
    balance: int,
) -> Totals:
    """The document: discounts, taxes, prepaid credit, notes, grants, the balance."""
    taken, left = discounts(items, coupons)
    taxed = taxes(items, left, rounding, first)
    kinds = [item.kind for item in items]
    early = [grant for grant in grants if grant.before_tax]
    late = [grant for grant in grants if not grant.before_tax]
    paid_early, after_early = spend(early, kinds, left, sum(left))
    prepaid = sum(paid_early)
    on_top = [tax - inside for tax, inside in zip(taxed.by_line, taxed.inside, strict=True)]
    owed = [amount + tax for amount, tax in zip(left, on_top, strict=True)]
    total = sum(owed) - prepaid
    drawn = min(sum(notes), max(0, total))
    paid = [max(0, amount) - rest for amount, rest in zip(left, after_early, strict=True)]
    open_lines = [amount - part for amount, part in zip(owed, paid, strict=True)]
    used, _ = spend(late, kinds, open_lines, total - drawn)
    rest = total - drawn - sum(used)
    due = max(0, rest - balance)
    return Totals(
        subtotal=sum(item.amount for item in items),
        discount=sum(taken),
        tax=sum(taxed.by_line),
        inside=sum(taxed.inside),
        prepaid=prepaid,
        total=total,
        notes=drawn,
        credits=sum(used),
        due=due,
        balance_after=balance + due - rest,
        owed=owed,
    )


def credit_notes(
    lines: Mapping[str, tuple[int, int, int, int]], notes: Sequence[Mapping[str, int]]
) -> list[tuple[int, int]]:
    """(net, tax) of each note; a line is (amount, discount, tax, tax inside), credits are gross.

    What all notes so far take back is rounded, and a note is what its turn adds to that.
    """
    found = []
    so_far: dict[str, int] = {}
    before = (0, 0)
    for note in notes:
        for line, amount in note.items():
            so_far[line] = so_far.get(line, 0) + amount
        net = tax = Fraction(0)
        for line, credited in so_far.items():
            amount, discount, taxed, inside = lines[line]
            net += Fraction((amount - discount - inside) * credited, amount)
            tax += Fraction(taxed * credited, amount)
        after = (oracle.rounded(net), oracle.rounded(tax))
        found.append((after[0] - before[0], after[1] - before[1]))
        before = after
    return found
