"""A change as a page shows it before it is confirmed, and what was confirmed.

A quote is good for the moment that it was computed for: the form carries that moment and the
amount, and confirming refuses when it would cost another amount by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from apps.engine.money import Money
from apps.invoicing import services as invoicing
from apps.invoicing.document import Document, Line
from apps.invoicing.errors import QuoteExpired, QuoteMoved
from apps.invoicing.paper.totals import Total, notices, totals
from apps.invoicing.quoting import Quoted, quote_change
from apps.invoicing.services import Changed, Confirmed
from apps.portal.access import PortalRequest
from apps.portal.formats import Formats
from apps.subscriptions.changes import Behaviour, Wish
from apps.subscriptions.selectors import SubscriptionFacts

WHEN: Mapping[str, Behaviour] = {
    "now": Behaviour.NEXT_INVOICE,
    "next_period": Behaviour.NEXT_PERIOD,
}


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """A line of a quoted invoice; `state` is same, new, or gone where it would be left out."""

    line: Line
    state: str


@dataclass(frozen=True, slots=True)
class QuotedInvoice:
    """One invoice of a quote: line by line, and what the lines come to."""

    document: Document
    lines: tuple[QuotedLine, ...]
    totals: tuple[Total, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """A change with its price: what is billed at once, and what the next invoice becomes."""

    quoted: Quoted
    at: datetime
    now: QuotedInvoice | None
    upcoming: QuotedInvoice | None

    @property
    def changes(self) -> bool:
        """Whether confirming it would change anything."""
        return self.quoted.considered.changes

    @property
    def before(self) -> int:
        """What the next invoice comes to without the change, in minor units."""
        return _total(self.quoted.before)

    @property
    def after(self) -> int:
        """What the next invoice comes to with the change, in minor units."""
        return _total(self.quoted.upcoming)

    @property
    def difference(self) -> int:
        """What the change adds to the next invoice; negative when it takes away."""
        return self.after - self.before


def ask(
    request: PortalRequest, facts: SubscriptionFacts, wish: Wish, behaviour: Behaviour
) -> Quote:
    """Return what the change costs if it is confirmed as of now. Raises what changing does."""
    at = request.at
    quoted = quote_change(
        facts.public_id,
        wish=wish,
        behaviour=behaviour,
        at=at,
        organization_id=request.organization.pk,
    )
    formats = request.formats
    return Quote(
        quoted,
        at,
        _invoice(quoted.now, None, formats),
        _invoice(quoted.upcoming, None if quoted.now else quoted.before, formats),
    )


def confirm(
    request: PortalRequest, facts: SubscriptionFacts, wish: Wish, behaviour: Behaviour
) -> Changed:
    """Carry out what the form confirms. Raises QuoteMoved, QuoteExpired and what changing does."""
    return invoicing.change_subscription(
        facts.public_id,
        wish=wish,
        behaviour=behaviour,
        actor=request.actor,
        at=request.at,
        confirmed=confirmed(request, facts.currency),
    )


def confirmed(request: PortalRequest, currency: str) -> Confirmed:
    """Read the quote from the form; one that is not there has never been shown."""
    try:
        at = datetime.fromisoformat(request.POST["quoted_at"])
        amount = int(request.POST["quoted_amount"])
    except (KeyError, ValueError):
        raise QuoteExpired("Look at what it costs first, and confirm that.") from None
    if at.tzinfo is None:
        raise QuoteExpired("Look at what it costs first, and confirm that.")
    return Confirmed(Money(amount, currency), at)


def is_stale(refusal: Exception) -> bool:
    """Whether looking at the quote again is all there is to do."""
    return isinstance(refusal, QuoteMoved | QuoteExpired)


def _invoice(
    document: Document | None, before: Document | None, formats: Formats
) -> QuotedInvoice | None:
    if document is None:
        return None
    words = formats.words(document.currency, document.timezone)
    return QuotedInvoice(
        document,
        tuple(_lines(document, before)),
        tuple(totals(document, words)),
        tuple(notices(document)),
    )


def _lines(document: Document, before: Document | None) -> Iterator[QuotedLine]:
    """Yield the lines, told apart from those of the invoice as it would be without the change."""
    if before is None:
        yield from (QuotedLine(line, "same") for line in document.lines)
        return
    known = Counter(_told(line) for line in before.lines)
    for line in document.lines:
        told = _told(line)
        yield QuotedLine(line, "same" if known[told] else "new")
        known[told] -= 1
    left = +known
    for line in before.lines:
        if left[_told(line)]:
            left[_told(line)] -= 1
            yield QuotedLine(line, "gone")


def _told(line: Line) -> tuple[object, ...]:
    return line.key, line.reason, line.name, line.period, line.quantity, line.amount


def _total(document: Document | None) -> int:
    return 0 if document is None else document.total
