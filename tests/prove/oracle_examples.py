"""Examples for the engine and its oracle: drawn at random, priced by both, and compared.

Every subject draws one example from a `random.Random` and says what the engine and what the oracle
make of it. Hypothesis plays the same subjects with a Random of its own, which it can make smaller
(tests/engine/test_properties.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

from apps.engine import calendar, discounts, money, proration, rating, settlement, tax
from apps.engine import credits as credit_rules
from apps.engine.consumption import Consumed
from apps.engine.daycount import Proration, ProrationRule
from apps.engine.decimals import plain
from apps.engine.explanation import replay
from apps.engine.lines import Line, Scope
from apps.engine.money import Money, exponent
from apps.engine.period import Period
from apps.engine.price_rules import parse_rules
from apps.engine.prices import parse_terms
from apps.engine.rating import NoPrice, Progress
from tests.engine import oracle, oracle_documents, oracle_prices, oracle_time
from tests.engine.oracle_documents import Coupon, Grant, Item, Tax
from tests.engine.oracle_prices import Asked, Refused, Used

CURRENCIES = ("USD", "JPY", "KWD", "CLF")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia", "Asia/Tokyo")
KINDS = ("usage", "fixed", "seats")
REFUSED = "no price"
ORIGIN = datetime(2011, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Example:
    """What was drawn, and the two answers to it."""

    said: str
    ours: Callable[[], object]
    wanted: Callable[[], object]

    def difference(self) -> str | None:
        """A sentence when the two disagree, or when one of them fails."""
        ours, wanted = _answer("ours", self.ours), _answer("the oracle", self.wanted)
        return None if ours == wanted else f"{self.said}: ours {ours}, the oracle {wanted}"


def _answer(who: str, ask: Callable[[], object]) -> object:
    try:
        return ask()
    except (NoPrice, Refused):
        return REFUSED
    except Exception as error:  # noqa: BLE001 - whatever breaks is a difference
        return f"{who} failed: {type(error).__name__}: {error}"


# Prices


def price(chance: Random) -> Example:
    """One line: any model, any rule, a share of the period, what was billed before."""
    asked, currency = _asked(chance), chance.choice(CURRENCIES)
    scale = 10 ** exponent(currency)

    def ours() -> object:
        rated = _rated(asked, currency)
        return rated.exact, rated.amount.minor, replay(rated.explain())

    def wanted() -> object:
        exact = oracle_prices.line(asked) * scale
        return exact, oracle.rounded(exact), oracle.rounded(exact)

    return Example(f"{asked} in {currency}", ours, wanted)


def sum_of_prices(chance: Random) -> Example:
    """Buckets priced apart, on one line."""
    terms, rules = _terms(chance), _bounds(chance)
    bare = [
        Asked(terms, _used(chance, terms), share=_share(chance))
        for _ in range(chance.randint(1, 4))
    ]
    currency = chance.choice(CURRENCIES)

    def ours() -> object:
        parts = [_rated(asked, currency) for asked in bare]
        found = rating.rate_sum(parts, currency=currency, rules=parse_rules(rules))
        return found.amount.minor, replay(found.explain())

    def wanted() -> object:
        exact = oracle_prices.sum_of(bare, rules) * 10 ** exponent(currency)
        return oracle.rounded(exact), oracle.rounded(exact)

    return Example(f"{bare} by {rules} in {currency}", ours, wanted)


def _rated(asked: Asked, currency: str) -> rating.Rated:
    return rating.rate(
        parse_terms(asked.terms),
        quantity=_consumed(asked.used),
        included=_decimal(asked.included),
        share=asked.share,
        currency=currency,
        rules=parse_rules(asked.rules),
        progress=Progress(
            before=None if asked.before is None else _consumed(asked.before),
            billed=_decimal(asked.billed),
            last=asked.last,
        ),
    )


def _consumed(used: Used) -> Consumed:
    return Consumed(
        _decimal(used.quantity),
        None if used.tier_quantity is None else _decimal(used.tier_quantity),
        None if used.events is None else tuple(map(_decimal, used.events)),
        {unit: _decimal(quantity) for unit, quantity in used.units.items()},
    )


def _asked(chance: Random) -> Asked:
    terms = _terms(chance)
    alone = terms["model"] in ("percentage", "capacity")
    rules = _bounds(chance)
    if not alone and chance.random() < 0.3:
        rules["conversion"] = _conversion(chance)
    if chance.random() < 0.2:
        rules["commitment"] = _commitment(chance, of_units=not alone and not _bounded(terms))
    return Asked(
        terms,
        _used(chance, terms),
        included=Fraction(0) if alone else _fraction(chance, 30, 1) * chance.randint(0, 1),
        share=_share(chance),
        rules=rules,
        before=_used(chance, terms) if chance.random() < 0.3 else None,
        billed=_fraction(chance, 200, 2) if chance.random() < 0.3 else Fraction(0),
        last=chance.random() < 0.7,
    )


def _bounded(terms: dict[str, Any]) -> bool:
    return bool(terms.get("bounded"))


def _terms(chance: Random) -> dict[str, Any]:
    return chance.choice(_MODELS)(chance)


def _flat(chance: Random) -> dict[str, Any]:
    return {"model": "flat", "amount": _amount(chance)}


def _per_unit(chance: Random) -> dict[str, Any]:
    return {"model": "per_unit", "unit_amount": _amount(chance)}


def _package(chance: Random) -> dict[str, Any]:
    return {
        "model": "package",
        "package_size": _number(chance, 20, 1, least=1),
        "unit_amount": _amount(chance),
        "rounding": chance.choice(("up", "up", "down")),
    }


def _tiered(chance: Random) -> dict[str, Any]:
    model = chance.choice(("graduated", "volume", "graduated_percentage"))
    unit = "rate_percent" if model == "graduated_percentage" else "unit_amount"
    bounded = chance.random() < 0.2
    ends: list[str | None] = [*_rising(chance, least=1 if bounded else 0)]
    tiers = [
        {"up_to": end, unit: _amount(chance), "flat_amount": _amount(chance)}
        for end in (ends if bounded else [*ends, None])
    ]
    zero = chance.random() < 0.6
    return {"model": model, "tiers": tiers, "zero_quantity_flat": zero, "bounded": bounded}


def _rising(chance: Random, *, least: int) -> list[str]:
    ends = {chance.randint(1, 400) for _ in range(chance.randint(least, 4))}
    return [plain(Decimal(end).scaleb(-1)) for end in sorted(ends)]


def _blocks(chance: Random) -> dict[str, Any]:
    counts: list[str | None] = [str(chance.randint(1, 5)) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.5:
        counts[-1] = None
    tiers = [
        {
            "block_size": _number(chance, 15, 1, least=1),
            "max_blocks": count,
            "block_amount": _amount(chance),
        }
        for count in counts
    ]
    return {"model": "blocks", "mode": chance.choice(("graduated", "volume")), "tiers": tiers}


def _percentage(chance: Random) -> dict[str, Any]:
    terms: dict[str, Any] = {"model": "percentage", "rate_percent": _number(chance, 30, 2)}
    if chance.random() < 0.5:
        terms["fixed_amount"] = _number(chance, 3, 2)
    if chance.random() < 0.4:
        terms["free_events"] = chance.randint(1, 4)
    if chance.random() < 0.4:
        terms["free_amount"] = _number(chance, 100, 1, least=1)
    low = chance.randint(0, 800)
    if chance.random() < 0.4:
        terms["event_minimum"] = plain(Decimal(low).scaleb(-2))
    if chance.random() < 0.4:
        terms["event_maximum"] = plain(Decimal(low + chance.randint(0, 900)).scaleb(-2))
    return terms


def _dynamic(chance: Random) -> dict[str, Any]:
    return {"model": "dynamic", "multiplier": _number(chance, 3, 3)}


def _capacity(chance: Random) -> dict[str, Any]:
    seats = _rising(chance, least=1)
    return {
        "model": "capacity",
        "tiers": [
            {
                "amount": _amount(chance),
                "limits": {
                    "seats": end,
                    "sites": chance.choice((None, str(chance.randint(1, 30)))),
                },
            }
            for end in seats
        ],
    }


_MODELS = (
    _flat, _per_unit, _package, _tiered, _tiered, _tiered, _blocks, _percentage, _dynamic, _capacity
)  # fmt: skip


def _used(chance: Random, terms: dict[str, Any]) -> Used:
    model = terms["model"]
    if model == "capacity":
        units = ("seats", "sites")[: chance.randint(0, 2)]
        return Used(units={unit: _fraction(chance, 45, 1) for unit in units})
    if model in ("percentage", "dynamic"):
        count = chance.randint(0, 6)
        return Used(events=tuple(_fraction(chance, 60, 1) for _ in range(count)))
    quantity = _near_a_bound(chance, terms) if chance.random() < 0.3 else _fraction(chance, 60, 3)
    if chance.random() < 0.05:
        quantity = -quantity
    by_another = model == "volume" and chance.random() < 0.15
    return Used(quantity, tier_quantity=_fraction(chance, 60, 1) if by_another else None)


def _near_a_bound(chance: Random, terms: dict[str, Any]) -> Fraction:
    tier = chance.choice(terms.get("tiers", [{"up_to": terms.get("package_size", "10")}]))
    bound = Fraction(tier.get("up_to") or tier.get("block_size") or 0)
    return max(Fraction(0), bound + Fraction(chance.choice((-1, 0, 0, 1)), 1000))


def _bounds(chance: Random) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if chance.random() < 0.2:
        rules["discount_percent"] = _number(chance, 100, 1)
    low = chance.randint(0, 30_000)
    if chance.random() < 0.3:
        rules["minimum_amount"] = plain(Decimal(low).scaleb(-2))
        rules["prorate_minimum"] = chance.random() < 0.3
    if chance.random() < 0.3:
        rules["maximum_amount"] = plain(Decimal(low + chance.randint(0, 30_000)).scaleb(-2))
    rules["on_last_line"] = chance.random() < 0.1
    return rules


def _conversion(chance: Random) -> dict[str, Any]:
    rounding = chance.choice(("none", "up", "down", "half_up"))
    factor = _number(chance, 9, 2, least=1) if rounding != "none" else chance.choice(("4", "0.5"))
    return {
        "operation": chance.choice(("multiply", "divide")),
        "factor": factor,
        "rounding": rounding,
        "places": chance.randint(0, 2),
    }


def _commitment(chance: Random, *, of_units: bool) -> dict[str, Any]:
    by = "quantity" if of_units and chance.random() < 0.5 else "amount"
    return {
        by: _number(chance, 50, 2),
        "overage_factor": _number(chance, 3, 1),
        "true_up": chance.random() < 0.5,
    }


# Time


def shares(chance: Random) -> Example:
    """How much of a period a part is, what is charged, given back and split, in every mode."""
    mode, zone, whole = chance.choice(list(Proration)), chance.choice(ZONES), _span(chance)
    rule, period = ProrationRule(mode, zone), Period(*whole)
    cuts = sorted({_inside(chance, whole) for _ in range(chance.randint(2, 5))})
    if len(cuts) < 2 or chance.random() < 0.3:
        cuts = [whole[0], *(cut for cut in cuts if whole[0] < cut < whole[1]), whole[1]]
    at, day_used = _inside(chance, whole), chance.random() < 0.5
    parts = [Period(*part) for part in pairwise(cuts)]

    def ours() -> object:
        split = None if mode is Proration.FIXED_30 else rule.split(parts, period)
        return (
            [rule.share(part, period) for part in parts],
            rule.share_after(at, period),
            rule.unused_after(at, period, day_used=day_used),
            split,
        )

    def wanted() -> object:
        split = None
        if mode is not Proration.FIXED_30:
            split = oracle_time.stretches(mode, zone, cuts, whole)
        return (
            [oracle_time.share(mode, zone, (part.start, part.end), whole) for part in parts],
            oracle_time.share_after(mode, zone, at, whole),
            oracle_time.unused_after(mode, zone, at, whole, day_used),
            split,
        )

    return Example(f"{mode} in {zone}: {cuts}, {at} of {whole}", ours, wanted)


def change_of_quantity(chance: Random) -> Example:
    """More or fewer units inside a period: the difference of two full prices, by its share."""
    terms = chance.choice((_flat, _per_unit, _package, _tiered, _blocks))(chance)
    terms |= {"bounded": False} if "bounded" in terms else {}
    if terms["model"] in ("graduated", "volume", "graduated_percentage"):
        terms["tiers"][-1]["up_to"] = None
    old, new = _fraction(chance, 60, 1), _fraction(chance, 60, 1)
    new += old == new  # a change that changes nothing is refused
    included, currency = _fraction(chance, 10, 0), chance.choice(CURRENCIES)
    mode, zone, whole = chance.choice(list(Proration)), chance.choice(ZONES), _span(chance)
    at = _inside(chance, whole)

    def ours() -> object:
        moved = proration.prorate_quantity_change(
            parse_terms(terms),
            included=_decimal(included),
            old=_decimal(old),
            new=_decimal(new),
            period=Period(*whole),
            at=at,
            currency=currency,
            rule=ProrationRule(mode, zone),
        )
        return moved.amount.minor, replay(moved.explain())

    def wanted() -> object:
        before, after = (oracle_prices.price_of(terms, Used(n), included) for n in (old, new))
        if after < before:
            share = oracle_time.unused_after(mode, zone, at, whole, day_used=False)
        else:
            share = oracle_time.share_after(mode, zone, at, whole)
        cents = oracle.rounded((after - before) * share * 10 ** exponent(currency))
        return cents, cents

    said = f"{terms} less {included}: {old} to {new} at {at} of {whole} by {mode} in {zone}"
    return Example(f"{said}, {currency}", ours, wanted)


def quantity_over_time(chance: Random) -> Example:
    """A period billed at its end, whose quantity changed on the way."""
    terms, currency = _per_unit(chance) if chance.random() < 0.5 else _package(chance), "USD"
    mode = chance.choice([mode for mode in Proration if mode is not Proration.FIXED_30])
    zone, whole = chance.choice(ZONES), _span(chance)
    cuts = sorted({*whole, *(_inside(chance, whole) for _ in range(chance.randint(0, 3)))})
    quantities = [_fraction(chance, 40, 1) for _ in cuts[1:]]

    def ours() -> object:
        segments = [
            (
                Period(start, end),
                rating.rate(parse_terms(terms), quantity=_decimal(units), currency=currency),
            )
            for start, end, units in zip(cuts[:-1], cuts[1:], quantities, strict=True)
        ]
        rule = ProrationRule(mode, zone)
        found = proration.price_segments(segments, whole=Period(*whole), rule=rule)
        return found.amount.minor, replay(found.explain())

    def wanted() -> object:
        shares = oracle_time.stretches(mode, zone, cuts, whole)
        prices = [oracle_prices.price_of(terms, Used(units)) for units in quantities]
        exact = sum((p * s for p, s in zip(prices, shares, strict=True)), Fraction(0))
        return (oracle.rounded(exact * 100),) * 2

    return Example(f"{terms}: {quantities} at {cuts} by {mode} in {zone}", ours, wanted)


def change_of_plan(chance: Random) -> Example:
    """Out of one plan and into another, and seats billed by their highest number."""
    billed = [chance.randint(0, 20_000) for _ in range(chance.randint(0, 4))]
    new = [chance.randint(0, 20_000) for _ in range(chance.randint(0, 4))]
    unused, left = _share(chance), _share(chance)
    credited = chance.choice((0, 0, chance.randint(0, 30_000)))
    units = [_fraction(chance, 40, 0) for _ in range(chance.randint(1, 5))]
    terms = _per_unit(chance)

    def ours() -> object:
        changed = proration.change_plan(
            [_usd(amount) for amount in billed],
            [_usd(amount) for amount in new],
            unused=unused,
            left=left,
            credited=_usd(credited),
            currency="USD",
        )
        prices = [
            rating.rate(parse_terms(terms), quantity=_decimal(n), currency="USD") for n in units
        ]
        highest = [money.minor for money in proration.high_water(prices)]
        return changed.credit.minor, changed.charge.minor, highest

    def wanted() -> object:
        prices = [oracle_prices.price_of(terms, Used(n)) * 100 for n in units]
        back, charged = oracle_time.plan_change(billed, new, unused, left, credited)
        return back, charged, oracle_time.high_water(prices)

    return Example(f"{billed} to {new}, {unused}, {left}, {credited}; {units}", ours, wanted)


def boundaries(chance: Random) -> Example:
    """Billing periods on the customer's wall clock, and the one that a moment lies in."""
    unit, count = chance.choice((("month", 1), ("month", 3), ("quarter", 1), ("year", 1)))
    months = {"month": 1, "quarter": 3, "year": 12}[unit] * count
    zone, anchor = chance.choice(ZONES), ORIGIN + _while(chance, days=4000)
    steps = chance.randint(1, 30 // months + 4)

    def ours() -> object:
        cycle = calendar.Cycle(anchor, calendar.Interval.of(unit, count), zone)
        middle = cycle.boundary(steps) + timedelta(hours=1)
        return cycle.boundary(steps), cycle.index_at(middle)

    def wanted() -> object:
        wall = oracle.months_later(oracle.wall_clock(anchor, zone), months * steps)
        return oracle.first_instant(wall, zone), steps

    return Example(f"{anchor} in {zone} and {steps} times {count} {unit}", ours, wanted)


# Documents


def splits(chance: Random) -> Example:
    """An amount shared out by weight."""
    weights = [_fraction(chance, 50, 2) for _ in range(chance.randint(1, 8))]
    if chance.random() < 0.3:
        weights = [Fraction(chance.randint(0, 3)) for _ in weights]  # so that parts tie
    weights[chance.randrange(len(weights))] += 1
    total = chance.randint(-10_000, 10_000)
    return Example(
        f"{total} by {weights}",
        lambda: money.allocate(total, weights),
        lambda: oracle.split(total, weights),
    )


def coupons(chance: Random) -> Example:
    """Discount after discount, restricted ones first."""
    items, drawn = _items(chance), _coupons(chance)

    def ours() -> object:
        turns = discounts.apply_discounts(_lines(items), _discounts(drawn), currency="USD")
        left = {item.id: item.amount for item in items}
        taken = [0] * len(drawn)
        for turn in turns:
            taken[int(turn.discount.id)] = turn.amount.minor
            for line, part in turn.parts:
                left[line] -= int(part)
        return taken, list(left.values())

    return Example(f"{items} less {drawn}", ours, lambda: oracle_documents.discounts(items, drawn))


def taxation(chance: Random) -> Example:
    """Several rates a line, on top and inside, rounded three ways, inside two ways."""
    items = _items(chance)
    rounding, first = chance.choice(list(tax.TaxRounding)), chance.choice(list(tax.Inclusive))

    def ours() -> object:
        taxables = [
            tax.Taxable(line.id, Fraction(line.amount.minor), line.rates, line.treatment)
            for line in _lines(items)
        ]
        policy = tax.TaxPolicy(rounding, first)
        found = tax.tax_lines(taxables, currency="USD", policy=policy)
        by_line = [line.tax.minor for line in found.lines]
        return by_line, [line.included.minor for line in found.lines], found.tax.minor

    def wanted() -> object:
        amounts = [item.amount for item in items]
        found = oracle_documents.taxes(items, amounts, rounding, first)
        return found.by_line, found.inside, sum(found.by_line)

    return Example(f"{items} {rounding}, {first} first", ours, wanted)


def totals(chance: Random) -> Example:
    """A whole document: discounts, taxes, prepaid credit, notes, grants in order, the balance."""
    items, drawn, given = _items(chance), _coupons(chance), _grants(chance)
    rounding, first = chance.choice(list(tax.TaxRounding)), chance.choice(list(tax.Inclusive))
    notes = [chance.randint(0, 20_000) for _ in range(chance.choice((0, 0, 1, 2)))]
    balance = chance.choice((0, 0, chance.randint(-5_000, 20_000)))

    def ours() -> object:
        found = settlement.settle(
            _lines(items),
            currency="USD",
            discounts=_discounts(drawn),
            policy=tax.TaxPolicy(rounding, first),
            credit_notes=[
                credit_rules.NoteBalance(str(n), _usd(note)) for n, note in enumerate(notes)
            ],
            grants=_credit(given),
            balance=_usd(balance),
        )
        settlement.verify_settlement(found.as_dict())
        return _sums(found)

    def wanted() -> object:
        return oracle_documents.totals(
            items, drawn, rounding=rounding, first=first, notes=notes, grants=given, balance=balance
        )

    said = f"{items} less {drawn}, {rounding}, {first}, {notes}, {given}, {balance}"
    return Example(said, ours, wanted)


def _sums(found: settlement.Settlement) -> oracle_documents.Totals:
    sums = found.totals
    return oracle_documents.Totals(
        subtotal=sums.subtotal.minor,
        discount=sums.discount.minor,
        tax=sums.tax.minor,
        inside=sums.tax_included.minor,
        prepaid=sums.prepaid.minor,
        total=sums.total.minor,
        notes=sums.credit_notes.minor,
        credits=sums.credits.minor,
        due=sums.amount_due.minor,
        balance_after=found.balance_after.minor,
        owed=[line.owed.minor for line in found.lines],
    )


def credit(chance: Random) -> Example:
    """Grants pay lines in their order, never beyond the limit."""
    kinds = [chance.choice(KINDS) for _ in range(chance.randint(0, 5))]
    owed = [chance.randint(-2_000, 20_000) for _ in kinds]
    given, limit = _grants(chance), chance.randint(-100, 50_000)

    def ours() -> object:
        lines = [
            (Line(str(n), _usd(amount), kind=kind), _usd(amount))
            for n, (kind, amount) in enumerate(zip(kinds, owed, strict=True))
        ]
        used = [0] * len(given)
        left = [max(0, amount) for amount in owed]
        for spent in credit_rules.spend(_credit(given), lines, limit=_usd(limit)):
            used[int(spent.grant.id)] = spent.amount.minor
            for line, part in spent.parts:
                left[int(line)] -= part.minor
        return used, left

    said = f"{given} pay {kinds}, {owed} up to {limit}"
    return Example(said, ours, lambda: oracle_documents.spend(given, kinds, owed, limit))


def notes_in_turn(chance: Random) -> Example:
    """Credit notes one after another on the lines of one invoice, the last one taking the rest."""
    lines = {str(n): _credited_line(chance) for n in range(chance.randint(1, 4))}
    turns: list[dict[str, int]] = []
    left = {line: amounts[0] for line, amounts in lines.items()}
    for _ in range(chance.randint(1, 3)):
        turns.append({line: chance.randint(1, most) for line, most in left.items() if most > 0})
        left = {line: most - turns[-1].get(line, 0) for line, most in left.items()}
    turns.append({line: most for line, most in left.items() if most > 0})

    def ours() -> object:
        credited = dict.fromkeys(lines, 0)
        found = []
        for turn in turns:
            note = credit_rules.credit_note(
                [_creditable(line, lines[line], credited[line]) for line in lines],
                {line: _usd(amount) for line, amount in turn.items()},
                currency="USD",
            )
            for line, amount in turn.items():
                credited[line] += amount
            found.append((note.net.minor, note.tax.minor))
        return found

    said = f"{turns} of {lines}"
    return Example(said, ours, lambda: oracle_documents.credit_notes(lines, turns))


def _credited_line(chance: Random) -> tuple[int, int, int, int]:
    amount = chance.randint(1, 20_000)
    discount = chance.choice((0, chance.randint(0, amount)))
    taxed = chance.randint(0, amount - discount)
    return amount, discount, taxed, chance.choice((0, chance.randint(0, taxed)))


def _creditable(
    line: str, amounts: tuple[int, int, int, int], credited: int
) -> credit_rules.Creditable:
    amount, discount, taxed, inside = amounts
    return credit_rules.Creditable(
        line, _usd(amount), Fraction(discount), _usd(taxed), _usd(inside), _usd(credited)
    )


def _items(chance: Random) -> list[Item]:
    rates = [
        Tax(str(n), Fraction(chance.choice((0, 19, 20, 100, chance.randint(0, 3000) / 100)) * 1000)
            / 1000, chance.random() < 0.4)
        for n in range(chance.randint(0, 3))
    ]  # fmt: skip
    return [
        Item(
            str(n),
            chance.choice((0, chance.randint(-3_000, 0), *(chance.randint(0, 30_000),) * 4)),
            chance.choice(KINDS),
            tuple(rate for rate in rates if chance.random() < 0.6),
            taxed=chance.random() < 0.85,
            discountable=chance.random() < 0.85,
        )
        for n in range(chance.randint(0, 5))
    ]


def _coupons(chance: Random) -> list[Coupon]:
    return [
        Coupon(
            percent=Fraction(chance.randint(0, 10_000), 100) if by_percent else None,
            amount=None if by_percent else chance.randint(0, 30_000),
            most=chance.choice((None, None, chance.randint(0, 10_000))),
            kinds=_some(chance, KINDS),
            lines=_some(chance, "01234") if chance.random() < 0.3 else None,
        )
        for by_percent in (chance.random() < 0.5 for _ in range(chance.randint(0, 4)))
    ]


def _grants(chance: Random) -> list[Grant]:
    return [
        Grant(
            available=chance.randint(0, 20_000),
            priority=chance.randint(0, 2),
            expires=chance.choice((oracle_documents.NEVER, float(chance.randint(0, 3)))),
            since=chance.choice((oracle_documents.ALWAYS, float(chance.randint(0, 3)))),
            kinds=_some(chance, KINDS),
            before_tax=chance.random() < 0.2,
        )
        for _ in range(chance.randint(0, 4))
    ]


def _some(chance: Random, names: tuple[str, ...] | str) -> frozenset[str] | None:
    if chance.random() < 0.6:
        return None
    return frozenset(name for name in names if chance.random() < 0.6)


def _lines(items: list[Item]) -> list[Line]:
    return [
        Line(
            item.id,
            _usd(item.amount),
            kind=item.kind,
            rates=tuple(tax.TaxRate(t.id, _decimal(t.percent), t.inside) for t in item.taxes),
            treatment=tax.Treatment.TAXED if item.taxed else tax.Treatment.REVERSE_CHARGE,
            discountable=item.discountable,
        )
        for item in items
    ]


def _discounts(drawn: list[Coupon]) -> list[discounts.Discount]:
    return [
        discounts.Discount(
            str(n),
            percent=None if coupon.percent is None else _decimal(coupon.percent),
            amount=None if coupon.amount is None else _usd(coupon.amount),
            cap=None if coupon.most is None else _usd(coupon.most),
            scope=Scope.of(kinds=coupon.kinds, lines=coupon.lines),
        )
        for n, coupon in enumerate(drawn)
    ]


def _credit(given: list[Grant]) -> list[credit_rules.CreditGrant]:
    return [
        credit_rules.CreditGrant(
            str(n),
            _usd(grant.available),
            priority=grant.priority,
            expires_at=_moment(grant.expires),
            granted_at=_moment(grant.since),
            scope=Scope.of(kinds=grant.kinds),
            before_tax=grant.before_tax,
        )
        for n, grant in enumerate(given)
    ]


def _moment(seconds: float) -> datetime | None:
    endless = seconds in (oracle_documents.NEVER, oracle_documents.ALWAYS)
    return None if endless else EPOCH + timedelta(seconds=seconds)


SUBJECTS: dict[str, Callable[[Random], Example]] = {
    "price": price,
    "sum of prices": sum_of_prices,
    "shares": shares,
    "change of quantity": change_of_quantity,
    "quantity over time": quantity_over_time,
    "change of plan": change_of_plan,
    "boundaries": boundaries,
    "splits": splits,
    "coupons": coupons,
    "taxation": taxation,
    "totals": totals,
    "credit": credit,
    "notes in turn": notes_in_turn,
}


# Numbers


def _decimal(value: Fraction) -> Decimal:
    """A fraction drawn as a decimal, as that decimal."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    return Decimal(int(value * 10**places)).scaleb(-places)


def _fraction(chance: Random, most: int, places: int) -> Fraction:
    return Fraction(chance.randint(0, most * 10**places), 10**places)


def _number(chance: Random, most: int, places: int, *, least: int = 0) -> str:
    return plain(Decimal(chance.randint(least, most * 10**places)).scaleb(-places))


def _amount(chance: Random) -> str:
    return _number(chance, *chance.choice(((50, 2), (2, 12), (500, 3), (20, 0))))


def _share(chance: Random) -> Fraction:
    if chance.random() < 0.5:
        return Fraction(1)
    of = chance.choice((30, 31, 28, 365, 2_678_400_000_000))
    return Fraction(chance.randint(0, of), of)


def _usd(minor: int) -> Money:
    return Money(minor, "USD")


def _while(chance: Random, *, days: int) -> timedelta:
    whole = timedelta(days=chance.randint(0, days))
    if chance.random() < 0.5:
        return whole + timedelta(hours=chance.randint(0, 23))
    return whole + timedelta(microseconds=chance.randint(0, 86_400_000_000 - 1))


def _span(chance: Random) -> tuple[datetime, datetime]:
    start = ORIGIN + _while(chance, days=5000)
    length = chance.choice((timedelta(days=chance.choice((1, 7, 28, 30, 31, 365))), None))
    return start, start + (length or timedelta(microseconds=1) + _while(chance, days=400))


def _inside(chance: Random, span: tuple[datetime, datetime]) -> datetime:
    if chance.random() < 0.15:
        return chance.choice(span)
    micros = (span[1] - span[0]) // timedelta(microseconds=1)
    exact = span[0] + timedelta(microseconds=chance.randint(0, micros))
    if chance.random() < 0.5:
        midnight = exact.replace(hour=0, minute=0, second=0, microsecond=0)
        return max(span[0], midnight)
    return exact
