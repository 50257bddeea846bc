"""An invoice of ours as lines of Stripe's: amounts only, which sum to what is due, to the cent.

Stripe neither rates nor rounds nor taxes anything of these: it is told amounts and words. A line of
ours is one of Stripe's; discounts, taxes that come on top, credit and what is paid already are
lines too. Beyond what Stripe takes on one invoice, lines of one kind are told as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from django.utils import translation
from django.utils.translation import gettext as _

from apps.engine.money import Money
from apps.engine.period import Period
from apps.invoicing.document import Document
from apps.payments.currencies import check_chargeable, to_provider
from apps.payments.errors import NotChargeable

MOST_LINES = 250  # of one invoice, at Stripe
MOST_LETTERS = 500  # of one description


@dataclass(frozen=True, slots=True)
class PushedLine:
    """One line for Stripe. `amount` is in our minor units and may be below zero; `key` names it
    among the lines of its invoice, for good.
    """

    key: str
    kind: str
    words: str
    amount: int
    period: Period | None = None


def pushed_lines(document: Document, *, most: int = MOST_LINES) -> list[PushedLine]:
    """Return what Stripe is told of a final invoice; the amounts sum to what is due now.

    Raises NotChargeable when even told by kinds there are too many.
    """
    with translation.override(translation.to_language(document.locale)):
        lines = [line for line in _lines(document) if line.amount]
    if len(lines) > most:
        lines = list(_by_kind(lines))
    if len(lines) > most:
        raise NotChargeable(f"Stripe takes {most} lines on an invoice; this has {len(lines)}.")
    told = sum(line.amount for line in lines)
    if told != document.amount_due:
        due, said = (Money(minor, document.currency) for minor in (document.amount_due, told))
        raise NotChargeable(f"The lines come to {said} and {due} is due: this is a fault of ours.")
    return lines


def provider_amounts(lines: Iterable[PushedLine], currency: str) -> list[int]:
    """Return the lines' amounts as Stripe writes them, if it charges their sum at all.

    Raises NotChargeable.
    """
    amounts = [Money(line.amount, currency) for line in lines]
    check_chargeable(sum(amounts, Money.zero(currency)))
    return [to_provider(amount) for amount in amounts]


def _lines(document: Document) -> Iterator[PushedLine]:
    for line in document.lines:
        yield PushedLine(line.id, line.kind, line.name, line.amount, line.period)
    for number, one in enumerate(document.discounts):
        yield PushedLine(f"discount-{number}", "discount", one.name, -one.amount)
    for number, tax in enumerate(document.taxes):
        if tax.is_charged and not tax.inclusive:
            yield PushedLine(f"tax-{number}", "tax", f"{tax.name} {tax.percent}%", tax.amount)
    for number, one in enumerate(document.credits):
        yield PushedLine(f"credit-{number}", "credit", one.name, -one.amount)
    yield PushedLine("credited", "credited", _("Credit notes"), -document.credited)
    yield PushedLine("paid", "paid", _("Paid"), -document.amount_paid)


def _by_kind(lines: list[PushedLine]) -> Iterator[PushedLine]:
    """Tell lines of the same words as one, over all their time."""
    ordered = sorted(lines, key=lambda line: (line.kind, line.words))
    for (kind, words), some in groupby(ordered, key=lambda line: (line.kind, line.words)):
        first, *rest = some
        if not rest:
            yield first
            continue
        periods = [one.period for one in (first, *rest) if one.period]
        spanned = Period(min(p.start for p in periods), max(p.end for p in periods))
        amount = sum(one.amount for one in (first, *rest))
        told = f"{words} ({len(rest) + 1} lines)"
        yield replace(first, key=f"{kind}:{first.key}", words=told, amount=amount, period=spanned)
