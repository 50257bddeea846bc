"""From rated lines to what is due: the one way a document's totals come about.

In this order: restricted discounts, general discounts, taxes, credit notes, credit grants, the
customer's balance. A preview and a final document both come from `settle`; its answer explains
itself, and `verify_settlement` redoes the sums from that explanation alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from typing import TypeVar

from apps.engine.credits import (
    Creditable,
    CreditGrant,
    Drawn,
    NoteBalance,
    Spent,
    draw,
    spend,
)
from apps.engine.decimals import exact_text
from apps.engine.discounts import Applied, Discount, Split, apply_discounts
from apps.engine.explanation import ROUNDING
from apps.engine.lines import Line
from apps.engine.money import Money, apportion
from apps.engine.proof import BrokenSettlement, verify_settlement
from apps.engine.tax import Taxable, Taxation, TaxedLine, TaxPolicy, TaxRate, tax_lines
from apps.engine.values import value_class

__all__ = [
    "BrokenSettlement",
    "SettledLine",
    "Settlement",
    "SettlementTotals",
    "settle",
    "verify_settlement",
]

NOTHING = Fraction(0)

Part = TypeVar("Part", Fraction, Money)


@value_class(frozen=True, slots=True)
class SettledLine:
    """A line with what came off it, what was added, and what was paid of it by credit.

    `discounts` are (discount id, part in minor units), `credits` (grant id, part). `owed` is the
    line's whole part of the document before any credit; the lines' sum to it.
    """

    line: Line
    discounts: tuple[tuple[str, Fraction], ...]
    taxed: TaxedLine
    owed: Money
    credits: tuple[tuple[str, Money], ...]

    @property
    def discount(self) -> Fraction:
        """All that came off, in minor units; whole unless discounts are split exactly."""
        return _total(self.discounts)

    @property
    def taxable(self) -> Fraction:
        """What its taxes are reckoned on, in minor units: after discounts, without taxes inside."""
        return self.taxed.taxable

    @property
    def tax(self) -> Money:
        """Its part of the document's tax."""
        return self.taxed.tax

    def creditable(self, credited: Money) -> Creditable:
        """The line as a credit note sees it, `credited` of it having been taken back before."""
        return Creditable(
            self.line.id,
            self.line.amount,
            self.discount,
            self.tax,
            self.taxed.included,
            credited,
        )

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: the line as it came, and what became of it."""
        return {
            "id": self.line.id,
            "kind": self.line.kind,
            "price": self.line.price,
            "amount_minor": self.line.amount.minor,
            "discountable": self.line.discountable,
            **({"reserved_minor": self.line.reserved} if self.line.reserved else {}),
            "treatment": self.line.treatment.value,
            "reason": self.line.reason,
            "discount_minor": exact_text(self.discount),
            "taxable_minor": exact_text(self.taxable),
            "taxes": [part.as_dict() for part in self.taxed.parts],
            "owed_minor": self.owed.minor,
        }


@value_class(frozen=True, slots=True)
class SettlementTotals:
    """The sums of a document.

    `net` = subtotal − discount. `tax` contains `tax_included`, the tax inside the prices.
    `total` = net + tax − tax_included − prepaid, where `prepaid` is credit used before tax.
    `amount_due` = total − credit_notes − credits − balance_used, and never below zero.
    """

    subtotal: Money
    discount: Money
    net: Money
    tax: Money
    tax_included: Money
    prepaid: Money
    total: Money
    credit_notes: Money
    credits: Money
    balance_used: Money
    amount_due: Money

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, in minor units."""
        return {f"{field.name}_minor": getattr(self, field.name).minor for field in fields(self)}


@value_class(frozen=True, slots=True)
class Settlement:
    """A document's sums, line by line and step by step.

    `balance` is what the customer has with us before and after: positive a credit, negative a debt.
    """

    lines: tuple[SettledLine, ...]
    discounts: tuple[Applied, ...]
    taxation: Taxation
    credit_notes: tuple[Drawn, ...]
    grants: tuple[Spent, ...]
    totals: SettlementTotals
    balance: Money
    balance_after: Money
    policy: TaxPolicy
    split: Split

    def as_dict(self) -> dict[str, object]:
        """Everything needed to redo the sums, as plain JSON; see `verify_settlement`.

        Keys that end in `_minor` are minor units: whole numbers, or exact ones in strings.
        """
        return {
            "rule": "settlement",
            "currency": self.balance.currency,
            "rounding": ROUNDING,
            "tax_rounding": self.policy.rounding.value,
            "inclusive_first": self.policy.inclusive.value,
            "discount_split": self.split.value,
            "lines": [line.as_dict() for line in self.lines],
            "discounts": [applied.as_dict() for applied in self.discounts],
            "rates": [rate.as_dict() for rate in self._rates()],
            "credit_notes": [drawn.as_dict() for drawn in self.credit_notes],
            "grants": [spent.as_dict() for spent in self.grants],
            "balance_minor": self.balance.minor,
            "balance_after_minor": self.balance_after.minor,
            "totals": self.totals.as_dict(),
        }

    def _rates(self) -> list[TaxRate]:
        parts = (part.rate for line in self.taxation.lines for part in line.parts)
        return list({rate.id: rate for rate in parts}.values())


def settle(
    lines: Sequence[Line],
    *,
    currency: str,
    discounts: Sequence[Discount] = (),
    split: Split = Split.LARGEST_REMAINDER,
    policy: TaxPolicy | None = None,
    credit_notes: Sequence[NoteBalance] = (),
    grants: Sequence[CreditGrant] = (),
    balance: Money | None = None,
) -> Settlement:
    """What the lines come to, and what of it is left to be paid.

    A negative total is owed to the customer: nothing is due and the balance grows by it. A balance
    below zero is a debt and is collected with this document. Raises ValueError when two lines have
    one id, InvalidTaxRate, and CurrencyMismatch.
    """
    for named in (lines, discounts, credit_notes, grants):
        _one_each([each.id for each in named])
    policy = policy or TaxPolicy()
    applied = apply_discounts(lines, discounts, currency=currency, split=split)
    off = _parts_by_line((turn.discount.id, turn.parts) for turn in applied)
    taxation = tax_lines(_taxables(lines, off), currency=currency, policy=policy)
    priced = _Priced.of(lines, applied, taxation, currency)
    balance = Money.zero(currency) if balance is None else balance
    paid = _pay(priced, credit_notes, grants, balance)
    return Settlement(
        lines=_settled(priced, off, paid),
        discounts=applied,
        taxation=taxation,
        credit_notes=paid.notes,
        grants=(*paid.before_tax, *paid.after_tax),
        totals=_totals(priced, paid),
        balance=paid.balance,
        balance_after=paid.balance + paid.amount_due - paid.open,
        policy=policy,
        split=split,
    )


@value_class(frozen=True, slots=True)
class _Priced:
    """The document before anything is paid of it."""

    lines: tuple[Line, ...]
    taxation: Taxation
    currency: str
    subtotal: Money
    discount: Money
    net: Money
    gross: Money

    @classmethod
    def of(
        cls, lines: Sequence[Line], applied: Sequence[Applied], taxation: Taxation, currency: str
    ) -> _Priced:
        subtotal = Money.sum((line.amount for line in lines), currency)
        discount = Money.sum((turn.amount for turn in applied), currency)
        net = subtotal - discount
        gross = net + taxation.tax - taxation.included
        return cls(tuple(lines), taxation, currency, subtotal, discount, net, gross)

    def sum(self, amounts: Iterable[Money]) -> Money:
        return Money.sum(amounts, self.currency)

    def net_by_line(self) -> list[Money]:
        return self._whole([line.amount for line in self.taxation.lines], self.net)

    def owed_by_line(self) -> list[Money]:
        on_top = [
            line.amount + (line.tax.minor - line.included.minor) if line.parts else line.amount
            for line in self.taxation.lines
        ]
        return self._whole(on_top, self.gross)

    def _whole(self, exact: list[Fraction], total: Money) -> list[Money]:
        # An exact split leaves fractions of a cent on the lines; what is paid is paid in cents.
        return [Money(part, self.currency) for part in apportion(exact, total.minor)]


@value_class(frozen=True, slots=True)
class _Paid:
    """What credit paid, and what is open after all but the balance; `open` may be negative."""

    before_tax: tuple[Spent, ...]
    notes: tuple[Drawn, ...]
    after_tax: tuple[Spent, ...]
    open: Money
    balance: Money

    @property
    def amount_due(self) -> Money:
        return max(self.open - self.balance, Money.zero(self.open.currency))


def _pay(
    priced: _Priced,
    notes: Sequence[NoteBalance],
    grants: Sequence[CreditGrant],
    balance: Money,
) -> _Paid:
    early = [grant for grant in grants if grant.before_tax]
    late = [grant for grant in grants if not grant.before_tax]
    before_tax: tuple[Spent, ...] = ()
    if early:
        nets = list(zip(priced.lines, priced.net_by_line(), strict=True))
        before_tax = spend(early, nets, limit=priced.net)
    total = priced.gross - priced.sum(spent.amount for spent in before_tax)
    drawn = draw(notes, total)
    due = total - priced.sum(note.amount for note in drawn)
    after_tax = spend(late, _still_owed(priced, before_tax), limit=due) if late else ()
    left = due - priced.sum(spent.amount for spent in after_tax)
    return _Paid(before_tax, drawn, after_tax, left, balance)


def _still_owed(priced: _Priced, spent: Iterable[Spent]) -> list[tuple[Line, Money]]:
    paid = _parts_by_line((each.grant.id, each.parts) for each in spent)
    return [
        (line, owed - priced.sum(part for _, part in paid[line.id]))
        for line, owed in zip(priced.lines, priced.owed_by_line(), strict=True)
    ]


def _totals(priced: _Priced, paid: _Paid) -> SettlementTotals:
    prepaid = priced.sum(spent.amount for spent in paid.before_tax)
    return SettlementTotals(
        subtotal=priced.subtotal,
        discount=priced.discount,
        net=priced.net,
        tax=priced.taxation.tax,
        tax_included=priced.taxation.included,
        prepaid=prepaid,
        total=priced.gross - prepaid,
        credit_notes=priced.sum(drawn.amount for drawn in paid.notes),
        credits=priced.sum(spent.amount for spent in paid.after_tax),
        balance_used=paid.open - paid.amount_due,
        amount_due=paid.amount_due,
    )


def _settled(
    priced: _Priced, off: Mapping[str, list[tuple[str, Fraction]]], paid: _Paid
) -> tuple[SettledLine, ...]:
    spent = (*paid.before_tax, *paid.after_tax)
    used = _parts_by_line((each.grant.id, each.parts) for each in spent)
    return tuple(
        SettledLine(line, tuple(off[line.id]), taxed, owed, tuple(used[line.id]))
        for line, taxed, owed in zip(
            priced.lines, priced.taxation.lines, priced.owed_by_line(), strict=True
        )
    )


def _taxables(
    lines: Sequence[Line], off: Mapping[str, list[tuple[str, Fraction]]]
) -> list[Taxable]:
    return [
        Taxable(
            line.id,
            Fraction(line.amount.minor) - _total(off[line.id])
            if line.id in off
            else Fraction(line.amount.minor),
            line.rates,
            line.treatment,
        )
        for line in lines
    ]


def _total(parts: Sequence[tuple[str, Fraction]]) -> Fraction:
    return sum((part for _, part in parts), NOTHING) if parts else NOTHING


def _parts_by_line(
    turns: Iterable[tuple[str, Iterable[tuple[str, Part]]]],
) -> defaultdict[str, list[tuple[str, Part]]]:
    """Who took how much of which line, turned round: line id → (who, part)."""
    found: defaultdict[str, list[tuple[str, Part]]] = defaultdict(list)
    for who, parts in turns:
        for line, part in parts:
            found[line].append((who, part))
    return found


def _one_each(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        raise ValueError(f"ids must differ: {', '.join(ids)}")
