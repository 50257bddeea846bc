"""What is to be billed: the lines of a boundary, by the one composition that previews and bills.

A line comes from the agreement, from a single charge, or from the correction of an old line. Here
they all become the same kind of line; what they add up to is `reckoning`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.fields.json import KT

from apps.engine.charges import explain_charge
from apps.engine.consumption import Consumed
from apps.engine.invoice import (
    Billed,
    BilledKey,
    BilledOf,
    Item,
    LineKind,
    Measured,
    Proposal,
    Reason,
    Window,
    propose,
    propose_changes,
    subtract_billed,
    windows_needed,
)
from apps.engine.money import Money, round_half_away
from apps.engine.period import Period
from apps.engine.prices import Dynamic, Percentage
from apps.engine.rating import ratio
from apps.engine.rules import matches
from apps.engine.values import value_class
from apps.invoicing.document import Line
from apps.invoicing.models import Charge, Correction, CreditNoteLine, Invoice, InvoiceLine
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors as usage

Boundary = tuple[SubscriptionFacts, int]
Counts = dict[Window, usage.Measured]

PER_EVENT = (Percentage, Dynamic)
CREDIT_PURCHASE = "credit_purchase"
PROGRESSIVE = "progressive"
CORRECTION = "correction"
CHARGE = "charge"
Waiting = tuple[int, str, "Composed"]
"""A line that no invoice bills yet, after its organization's integer id and its currency."""


@value_class(frozen=True, slots=True)
class Composed:
    """A line that is to be billed: what it is for, its arithmetic, and the usage it counted."""

    key: str
    kind: str
    reason: str
    name: str
    period: Period
    quantity: Decimal
    amount: Money
    explanation: dict[str, Any]
    item_id: int | None = None
    step_id: int | None = None
    price_id: int | None = None
    charge_id: int | None = None
    corrects_id: int | None = None
    revision: int = 0
    usage_epoch: int | None = None
    usage_snapshot: str = ""
    unit: str = ""
    plan: str = ""
    subscription_id: int | None = None
    discountable: bool = True
    reserved: int = 0

    def line(self, line_id: str = "") -> Line:
        """Return the line as documents show it."""
        return Line(
            line_id,
            self.key,
            self.kind,
            self.reason,
            self.name,
            self.period,
            self.quantity,
            self.amount.minor,
            self.explanation,
            unit=self.unit,
        )


def compose(facts: SubscriptionFacts, boundary: int) -> list[Composed]:
    """Return every line that the boundary bills and no standing invoice bills yet.

    The invoice run and every preview call this and nothing else: a quote and a bill cannot differ.
    Measures the usage of the period behind the boundary as it stands now.
    """
    return compose_all([(facts, boundary)])[0]


def compose_all(boundaries: Sequence[Boundary]) -> list[list[Composed]]:
    """Compose many boundaries with one measurement and one look at what is billed.

    Charges and corrections that wait go with the first of their organization's boundaries that they
    suit.
    """
    counts = measure(boundaries)
    billed = _Billed(boundaries)
    extra = waiting_lines(boundaries)
    return [
        [*_unbilled(boundary, counted, billed), *more]
        for boundary, counted, more in zip(boundaries, counts, extra, strict=True)
    ]


def _unbilled(at: Boundary, counted: Counts, billed: _Billed) -> Iterable[Composed]:
    facts, boundary = at
    used = as_usage(facts, counted)
    proposals = propose(facts.agreement, boundary, used, billed_of=billed.of)
    for proposal in subtract_billed(proposals, billed.keys):
        yield _beyond(_composed(facts, proposal, counted), billed)


def _beyond(line: Composed, billed: _Billed) -> Composed:
    """Return the line less what progressive invoices have billed of it.

    When usage was taken back since, less than nothing is left: then what was paid too much is given
    back, at the part of the prices that was left after the discounts of those invoices, and never
    more than credit notes have left of them.
    """
    before = billed.progressive(line)
    if line.kind != LineKind.ARREARS or not before.amount:
        return line
    if line.amount.minor >= before.amount:
        return less_billed(line, before.amount)
    share = before.share if before.discount else None
    return given_back(line, before.net, share, before.left if before.credited else None)


def less_billed(line: Composed, before: int) -> Composed:
    """Return the line less what was billed of it before, in minor units."""
    return given_back(line, before, None)


def given_back(
    line: Composed, before: int, share: Fraction | None, left: int | None = None
) -> Composed:
    """Return what there is of the line now, less what was billed of it before; minor units.

    With a share both count after discounts, and none comes off any more. No more than what is
    `left` of what was billed is given back; None where no credit note took anything of it.
    """
    whole = line.amount.minor if share is None else _net(line.amount.minor, share)
    amount = whole - before if left is None else max(whole - before, -left)
    explained = difference(line.explanation, before, amount)
    if share is not None:
        explained["net_of_discounts"] = ratio(share)
    if left is not None:
        explained["paid_minor"] = left
    return replace(
        line,
        amount=Money(amount, line.amount.currency),
        explanation=explained,
        discountable=line.discountable and share is None,
    )


def progressive_lines(facts: SubscriptionFacts) -> list[Composed]:
    """Return what the usage of the period under way comes to beyond what was billed of it."""
    under_way = (facts, facts.next_boundary)
    (counted,) = measure([under_way])
    billed = _Billed([under_way])
    used = as_usage(facts, counted)
    lines = [
        _composed(facts, proposal, counted)
        for proposal in _usage_proposals(facts, facts.next_boundary, used, under_way=True)
    ]
    return [
        replace(_beyond(line, billed), kind=PROGRESSIVE, revision=billed.last_progressive(line) + 1)
        for line in lines
    ]


def compose_changes(facts: SubscriptionFacts, at: datetime) -> list[Composed]:
    """Return what changes up to `at` owe or give back at once, ahead of the next boundary.

    Their lines are the ones that the boundary would bill, so it leaves them out later.
    """
    billed = _Billed([(facts, facts.next_boundary)])
    proposals = propose_changes(facts.agreement, facts.next_boundary, at, billed_of=billed.of)
    return [_composed(facts, line, {}) for line in subtract_billed(proposals, billed.keys)]


def usage_lines(facts: SubscriptionFacts, boundary: int) -> list[Line]:
    """Return what the usage of the period behind the boundary costs as it stands, billed or not."""
    return [line.line() for line in recomposed(facts, boundary)]


def recomposed(facts: SubscriptionFacts, boundary: int) -> list[Composed]:
    """Return the metered lines of the period behind the boundary as they would be now, whole."""
    (counted,) = measure([(facts, boundary)])
    return _metered((facts, boundary), counted)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a boundary would bill by now: all of its lines, and the metered ones whole."""

    lines: list[Composed]
    metered: list[Composed]


def under_way(boundaries: Sequence[Boundary]) -> list[UnderWay]:
    """Compose many boundaries and their metered lines, in as many statements as `compose_all`."""
    counts, billed, extra = measure(boundaries), _Billed(boundaries), waiting_lines(boundaries)
    return [
        UnderWay([*_unbilled(boundary, counted, billed), *more], _metered(boundary, counted))
        for boundary, counted, more in zip(boundaries, counts, extra, strict=True)
    ]


def _metered(boundary: Boundary, counted: Counts) -> list[Composed]:
    facts, number = boundary
    return [
        _composed(facts, proposal, counted)
        for proposal in _usage_proposals(facts, number, as_usage(facts, counted))
    ]


@dataclass(frozen=True, slots=True)
class Metered:
    """A metered line as it stands: the item's window, what was billed of it under way, in minor
    units, and what the same function would charge for another quantity.
    """

    line: Composed
    window: Window
    billed: int
    want: usage.Want
    priced: Callable[[Decimal], int]


def metered(facts: SubscriptionFacts, boundary: int) -> list[Metered]:
    """Return the metered lines of the period behind the boundary as they stand, billed or not."""
    (counted,) = measure([(facts, boundary)])
    used, billed = as_usage(facts, counted), _Billed([(facts, boundary)])
    found = []
    for line in _usage_proposals(facts, boundary, used):
        item = facts.item(line.item_id)
        window = Window(line.item_id, str(item.item.meter), line.window)
        composed = _composed(facts, line, counted)
        [want] = wants_of(facts, [window])
        found.append(
            Metered(
                line=composed,
                window=window,
                billed=billed.progressive(composed).amount,
                want=want,
                priced=partial(_priced, facts, boundary, used, window),
            )
        )
    return found


def _priced(
    facts: SubscriptionFacts,
    boundary: int,
    used: Mapping[Window, Measured],
    window: Window,
    quantity: Decimal,
) -> int:
    """Return what a window's line would come to with another quantity.

    Of a price per event the events are known, those to come are not: it is scaled by the quantity.
    """
    known = used[window]
    [line] = [
        line
        for line in _usage_proposals(
            facts, boundary, {**used, window: replace(known, quantity=quantity)}
        )
        if line.item_id == window.item_id
    ]
    if known.consumed is None or not known.quantity:
        return line.amount.minor
    return round_half_away(line.amount.minor * Fraction(quantity) / Fraction(known.quantity))


def _usage_proposals(
    facts: SubscriptionFacts,
    boundary: int,
    used: Mapping[Window, Measured],
    *,
    under_way: bool = False,
) -> list[Proposal]:
    proposals = propose(facts.agreement, boundary, used, under_way=under_way)
    return [line for line in proposals if line.reason is Reason.USAGE]


def billed_progressively(at: Boundary, lines: Sequence[Proposal], counted: Counts) -> int:
    """Return what progressive invoices have billed of the usage lines; minor units."""
    if not lines:
        return 0
    billed = _Billed([at])
    return sum(billed.progressive(_composed(at[0], line, counted)).amount for line in lines)


def measure(boundaries: Sequence[Boundary]) -> list[Counts]:
    """Measure what the boundaries bill, each window of theirs, in one statement."""
    windows = [windows_needed(facts.agreement, boundary) for facts, boundary in boundaries]
    wants = [
        (facts.organization_id, want)
        for (facts, _), needed in zip(boundaries, windows, strict=True)
        for want in wants_of(facts, needed)
    ]
    found = iter(usage.measure_all(wants))
    return [{window: next(found) for window in needed} for needed in windows]


def wants_of(facts: SubscriptionFacts, windows: Sequence[Window]) -> list[usage.Want]:
    """Return what to measure for each window: of several prices on a meter each its own events."""
    if not windows:
        return []
    match = matches(facts.agreement.items)
    return [
        usage.Want(
            window.meter,
            window.period.start,
            window.period.end,
            match[window.item_id].include,
            match[window.item_id].exclude,
            facts.item(window.item_id).price.meter,
        )
        for window in windows
    ]


def as_usage(facts: SubscriptionFacts, counts: Counts) -> dict[Window, Measured]:
    """Return the measurements as the engine wants them."""
    return {
        window: as_measured(facts.item(window.item_id).item, facts.organization_id, window, found)
        for window, found in counts.items()
    }


def as_measured(
    item: Item, organization_id: int, window: Window, found: usage.Measured
) -> Measured:
    """Return a measurement as the engine wants it, event by event where the price asks for it."""
    evidence: dict[str, object] = {"value_count": found.value_count, "events_hash": found.hash}
    if found.filter:
        evidence["filter"] = found.filter
    consumed = None
    if isinstance(item.terms, PER_EVENT):
        start, end = window.period.start, window.period.end
        want = usage.Want.filtered(window.meter, start, end, found.filter)
        read = usage.readings(organization_id, usage.Claim(want, found.epoch, found.snapshot))
        consumed = Consumed(
            found.quantity, events=tuple(one.value for one in read if one.value is not None)
        )
    return Measured(found.quantity, found.event_count, evidence, consumed)


def _composed(facts: SubscriptionFacts, proposal: Proposal, counts: Counts) -> Composed:
    item = facts.item(proposal.item_id)
    explanation = {
        "plan": facts.version.plan_code,
        "plan_version": facts.version.number,
        "price": item.price.public_id,
        "agreed_with_customer": item.agreed,
        **proposal.explain(),
    }
    counted = None
    if item.item.meter is not None:
        counted = counts[Window(item.id, item.item.meter, proposal.window)]
        explanation["meter"] = item.item.meter
        explanation["unit"] = item.price.unit
    return Composed(
        key=proposal.key,
        kind=proposal.kind.value,
        reason=proposal.reason.value,
        name=item.price.name,
        period=proposal.period,
        quantity=proposal.quantity,
        amount=proposal.amount,
        explanation=explanation,
        item_id=proposal.item_id,
        step_id=proposal.step_id,
        price_id=item.price.id,
        usage_epoch=None if counted is None else counted.epoch,
        usage_snapshot="" if counted is None else counted.snapshot,
        unit=item.price.unit,
        plan=facts.version.plan_code,
        subscription_id=facts.id,
        discountable=proposal.discountable,
        reserved=proposal.reserved,
    )


def billed_before(boundary: Boundary, invoice_id: int) -> BilledOf:
    """Return what was really billed of an item when that invoice was composed."""
    return _Billed([boundary], before=invoice_id).of


@value_class(frozen=True, slots=True)
class Progressed:
    """What progressive invoices billed, took off as discounts, and lost to credit notes since; all
    in minor units.
    """

    amount: int
    discount: int
    credited: int = 0

    @property
    def net(self) -> int:
        """What was left to pay of it after discounts."""
        return self.amount - self.discount

    @property
    def share(self) -> Fraction:
        """The part of the price that discounts left; all of nothing."""
        return Fraction(self.net, self.amount) if self.amount else Fraction(1)

    @property
    def left(self) -> int:
        """What of it credit notes have not taken back."""
        return max(0, self.net - self.credited)

    @classmethod
    def sum(cls, parts: Iterable[Progressed]) -> Progressed:
        """Add up."""
        found = list(parts)
        return cls(
            sum(one.amount for one in found),
            sum(one.discount for one in found),
            sum(one.credited for one in found),
        )


def progressed_before(line: InvoiceLine, *, invoice: Invoice | None = None) -> Progressed:
    """Return what standing progressive invoices billed of the usage that a line bills.

    With the line's `invoice` what had been billed when that was made: of an invoice that was voided
    later too, and less what notes had taken back by then.
    """
    rows = InvoiceLine.objects.filter(
        organization_id=line.organization_id,
        item_id=line.item_id,
        kind=PROGRESSIVE,
        during=line.during,
    )
    back: Any = F("credited")
    if invoice is None:
        rows = rows.filter(live=True)
    else:
        back = _credited_before(invoice.pk)
        rows = rows.filter(invoice_id__lt=invoice.pk).exclude(
            invoice__voided_at__lte=invoice.finalized_at
        )
    found = rows.annotate(back=back).values_list("amount", "discount", "back")
    return Progressed.sum(Progressed(amount, off, taken or 0) for amount, off, taken in found)


class _Billed:
    """The standing lines that touch the periods around some boundaries.

    `before` leaves out an invoice, by its integer id, and all that came after it.
    """

    def __init__(self, boundaries: Sequence[Boundary], *, before: int | None = None) -> None:
        self.keys: set[BilledKey] = set()
        self._sums: defaultdict[int, list[tuple[Period, Fraction, int, int]]] = defaultdict(list)
        self._progressive: defaultdict[tuple[int, datetime], dict[int, Progressed]]
        self._progressive = defaultdict(dict)
        for item_id, kind, during, step_id, *sums in _standing(boundaries, before):
            amount, discount, revision, credited, share = sums
            if kind == PROGRESSIVE:
                found = Progressed(amount, discount, credited or 0)
                self._progressive[item_id, during.lower][revision] = found
                continue
            self.keys.add(BilledKey(item_id, kind, during.lower, during.upper, step_id))
            gross = Fraction(amount)
            if amount < 0 and share:  # given back at the part that was left after discounts
                gross /= Fraction(share)
            sums_of = (gross, amount - discount, credited or 0)
            self._sums[item_id].append((Period(during.lower, during.upper), *sums_of))

    def progressive(self, line: Composed) -> Progressed:
        """Return what progressive invoices billed of the line's item and period."""
        return Progressed.sum(self._revisions(line).values())

    def last_progressive(self, line: Composed) -> int:
        """Return the revision of the latest of them that stands."""
        return max(self._revisions(line), default=0)

    def _revisions(self, line: Composed) -> Mapping[int, Progressed]:
        return self._progressive.get((line.item_id or 0, line.period.start), {})

    def of(self, item: Item, period: Period) -> Billed:
        """Return what was really billed of an item for the period."""
        found = [one[1:] for one in self._sums.get(item.id, ()) if one[0].overlap(period)]
        gross = sum((one[0] for one in found), Fraction(0))
        if gross <= 0:
            return Billed(keys=self.keys)
        net = max(0, sum(one[1] for one in found))
        return Billed(net / gross, sum(one[2] for one in found), self.keys)


def _standing(boundaries: Sequence[Boundary], before: int | None) -> Iterable[tuple[Any, ...]]:
    items: defaultdict[int, list[int]] = defaultdict(list)
    for facts, _ in boundaries:
        items[facts.organization_id] += [item.id for item in facts.items]
    wanted = [item for found in items.values() for item in found]
    if not wanted:
        return []
    laps = [
        lap.rest
        for facts, boundary in boundaries
        for lap in (facts.agreement.ahead(boundary), facts.agreement.behind(boundary))
        if lap is not None
    ]
    if not laps:
        return []
    span = (min(lap.start for lap in laps), max(lap.end for lap in laps))
    rows = InvoiceLine.objects.filter(
        organization_id__among=items, item_id__among=wanted, live=True, during__overlap=span
    )
    credited: Any = F("credited")
    if before is not None:
        rows = rows.filter(invoice_id__lt=before)
        credited = _credited_before(before)
    columns = ("item_id", "kind", "during", "step_id", "amount", "discount", "revision")
    more = {"taken_back": credited, "net_share": KT("explanation__net_of_discounts")}
    return rows.annotate(**more).values_list(*columns, *more)


def _credited_before(invoice_id: int) -> Subquery:
    """What notes had taken back of a line when the lines of that invoice were composed."""
    composed = InvoiceLine.objects.filter(invoice_id=invoice_id).order_by("created_at")
    notes = CreditNoteLine.objects.filter(
        line_id=OuterRef("pk"), created_at__lt=Subquery(composed.values("created_at")[:1])
    )
    sums = notes.order_by().values("line_id").annotate(sum=Sum("amount"))
    return Subquery(sums.values("sum"))


def covered(lines: Iterable[Composed]) -> Period:
    """Return the time from the first start to the last end of the lines."""
    periods = [line.period for line in lines]
    return Period(min(p.start for p in periods), max(p.end for p in periods))


def _subscription_of(row: InvoiceLine) -> int | None:
    behind = row.item or row.charge
    return None if behind is None else behind.subscription_id


def restored(row: InvoiceLine) -> Composed:
    """Return a stored line as it was composed."""
    return Composed(
        key=row.key,
        kind=row.kind,
        reason=row.reason,
        name=row.name,
        period=Period(row.during.lower, row.during.upper),
        quantity=Decimal(row.quantity),
        amount=Money(row.amount, row.invoice.currency),
        explanation=row.explanation,
        item_id=row.item_id,
        step_id=row.step_id,
        price_id=row.price_id,
        charge_id=row.charge_id,
        corrects_id=row.corrects_id,
        revision=row.revision,
        usage_epoch=row.usage_epoch,
        usage_snapshot=row.usage_snapshot,
        unit=row.explanation.get("unit", ""),
        plan=row.explanation.get("plan", ""),
        subscription_id=_subscription_of(row),
        discountable=row.amount >= 0 and row.kind != CORRECTION,
        reserved=row.explanation.get("reserved_minor", 0),
    )


def waiting_lines(boundaries: Sequence[Boundary]) -> list[list[Composed]]:
    """Return the charges and corrections that each boundary takes along."""
    found: list[list[Composed]] = [[] for _ in boundaries]
    wanted = {facts.organization_id for facts, _ in boundaries}
    lines = [line for kind in _waiting(wanted) for line in _READERS[kind](wanted)]
    for organization_id, currency, line in lines:
        for index, (facts, boundary) in enumerate(boundaries):
            mine = facts.organization_id == organization_id
            suits = line.subscription_id in (None, facts.id)
            reached = line.period.start <= facts.agreement.cycle.boundary(boundary)
            if mine and suits and reached and currency == facts.agreement.currency:
                found[index].append(line)
                break
    return found


def _waiting(organization_ids: Collection[int]) -> list[str]:
    """Return which kinds of lines wait: mostly none, and one statement says so."""
    charges, corrections = _open_charges(organization_ids), _open_corrections(organization_ids)
    found = (
        charges.order_by()
        .values_list(Value(CHARGE))
        .union(corrections.order_by().values_list(Value(CORRECTION)))
    )
    return sorted(kind for (kind,) in found)


def _charges(organization_ids: Collection[int]) -> Iterable[Waiting]:
    for row in _open_charges(organization_ids).order_by("id"):
        yield row.organization_id, row.currency, charge_line(row)


def _open_charges(organization_ids: Collection[int]) -> QuerySet[Charge]:
    billed = InvoiceLine.objects.filter(charge_id=OuterRef("pk"), live=True)
    return Charge.objects.filter(
        ~Exists(billed),
        organization_id__among=organization_ids,
        withdrawn_at=None,
        buys__isnull=True,  # credit is bought on an invoice of its own
    )


def charge_line(row: Charge) -> Composed:
    """Return a single charge as a line."""
    return Composed(
        key=row.key,
        kind=LineKind.ONE_OFF.value if row.buys is None else CREDIT_PURCHASE,
        reason="charge",
        name=row.name,
        period=Period(row.during.lower, row.during.upper),
        quantity=Decimal(row.quantity),
        amount=Money(row.amount, row.currency),
        explanation=explain_charge(row.quantity, row.unit_amount, row.currency),
        charge_id=row.pk,
        subscription_id=row.subscription_id,
    )


def _corrections(organization_ids: Collection[int]) -> Iterable[Waiting]:
    for row in _open_corrections(organization_ids).select_related("line__item").order_by("id"):
        yield row.organization_id, row.currency, correction_line(row)


def _open_corrections(organization_ids: Collection[int]) -> QuerySet[Correction]:
    billed = InvoiceLine.objects.filter(
        corrects_id=OuterRef("line_id"), revision=OuterRef("revision"), live=True
    )
    return Correction.objects.filter(
        ~Exists(billed), organization_id__among=organization_ids, status="approved"
    )


_READERS: Mapping[str, Callable[[Collection[int]], Iterable[Waiting]]] = {
    CHARGE: _charges,
    CORRECTION: _corrections,
}


def correction_line(row: Correction) -> Composed:
    """Return the difference that a correction found as a line, with all of its arithmetic."""
    line, share = row.line, row.share_of(row.amount)
    return Composed(
        key=line.key,
        kind=CORRECTION,
        reason="usage_corrected",
        name=line.name,
        period=Period(line.during.lower, line.during.upper),
        quantity=Decimal(row.quantity) - Decimal(row.quantity_before),
        amount=Money(row.net_difference, row.currency),
        explanation=difference(row.explanation, row.net_of(row.amount_before), row.net_difference)
        | {"corrects": line.public_id, "revision": row.revision}
        | ({} if share == 1 else {"net_of_discounts": ratio(share)}),
        item_id=line.item_id,
        price_id=line.price_id,
        corrects_id=line.pk,
        revision=row.revision,
        usage_epoch=row.usage_epoch,
        usage_snapshot=row.usage_snapshot,
        unit=row.explanation.get("unit", ""),
        plan=row.explanation.get("plan", ""),
        subscription_id=None if line.item is None else line.item.subscription_id,
        discountable=False,
    )


def _net(amount: int, share: Fraction) -> int:
    return round_half_away(amount * share)


KEPT = (
    "plan", "plan_version", "price", "item", "period", "window", "meter", "unit", "usage",
    "rounding", "exponent", "currency",
)  # fmt: skip


def difference(whole: Mapping[str, Any], before: int, amount: int) -> dict[str, Any]:
    """Explain a line that bills what a whole comes to beyond what was billed before."""
    return {
        **{key: whole[key] for key in KEPT if key in whole},
        "rule": "difference",
        "now": dict(whole),
        "before_minor": before,
        "amount_minor": amount,
    }
