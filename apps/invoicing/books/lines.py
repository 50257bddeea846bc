"""Every line against what called for it: the agreement and its usage, a charge, or a correction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from apps.core.errors import DomainError
from apps.engine.explanation import BrokenExplanation, replay
from apps.engine.invoice import (
    Agreement,
    BilledKey,
    BilledOf,
    Item,
    LineKind,
    Measured,
    Proposal,
    Window,
    billed_in_full,
    propose,
    windows_needed,
)
from apps.engine.money import round_half_away
from apps.invoicing import evidence, sealing
from apps.invoicing.books.findings import Finding, about_line
from apps.invoicing.books.reading import Chunk, Whole
from apps.invoicing.composition import (
    PER_EVENT,
    PROGRESSIVE,
    as_measured,
    billed_before,
    charge_line,
    correction_line,
    progressed_before,
)
from apps.invoicing.models import Correction, CreditNoteLine, Invoice, InvoiceLine
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors as usage
from apps.usage.errors import UnknownEpoch, UsageSealed

Counted = Mapping[tuple[str, int], usage.Measured]
Metered = InvoiceLine | Correction
BORNE = (Correction.Status.BILLED,)
DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True)
class Known:
    """What a chunk is held against: agreements, recounts, and the corrections that lines bear.

    The recounts of `sealed` lines are what their seals say: their events may be gone.
    """

    chunk: Chunk
    agreements: Mapping[int, SubscriptionFacts]
    counted: Counted
    sealed: Set[tuple[str, int]]
    corrections: Mapping[tuple[int, int], Correction]


def findings(chunk: Chunk) -> list[Finding]:
    """Check the lines of a chunk of invoices, and the corrections of those lines."""
    metered: list[Metered] = [line for line in chunk.lines if line.usage_epoch is not None]
    metered += [one for found in chunk.corrections.values() for one in found]
    seals = sealing.sealed(metered)
    counted, found = _recounted([row for row in metered if sealing.name(row) not in seals])
    counted |= {
        sealing.name(row): sealing.measured(row, seals[sealing.name(row)])
        for row in metered
        if sealing.name(row) in seals
    }
    agreements = subscriptions.by_ids(set(chunk.subscriptions.values()))
    known = Known(chunk, agreements, counted, seals.keys(), _borne(chunk.lines))
    for one in chunk.invoices:
        for line in one.lines:
            problems = _own_problems(one.row, line, known)
            found += (about_line(one.row, line, problem) for problem in problems)
        found += _against_agreements(one, known)
    return found


def _borne(lines: Iterable[InvoiceLine]) -> dict[tuple[int, int], Correction]:
    wanted = {line.corrects_id for line in lines if line.corrects_id}
    if not wanted:
        return {}
    rows = Correction.objects.filter(line_id__in=wanted).select_related("line__item")
    return {(row.line_id, row.revision): row for row in rows}


# --- counting again ------------------------------------------------------------------------------
def _recounted(
    rows: Sequence[Metered],
) -> tuple[dict[tuple[str, int], usage.Measured], list[Finding]]:
    """Recount all at once; where evidence cannot be read, one by one to name whose it is."""
    try:
        measured = usage.recount_all(sealing.claims(rows))
        return dict(zip(map(sealing.name, rows), measured, strict=True)), []
    except (UnknownEpoch, UsageSealed, KeyError, ValueError) as error:
        if len(rows) == 1:
            return {}, [_unreadable(rows[0], error)]
    counted: dict[tuple[str, int], usage.Measured] = {}
    found: list[Finding] = []
    for row in rows:
        one, problems = _recounted([row])
        counted |= one
        found += problems
    return counted, found


def _unreadable(row: Metered, error: Exception) -> Finding:
    line = row if isinstance(row, InvoiceLine) else row.line
    reason = error.message if isinstance(error, DomainError) else f"evidence lacks {error}"
    return Finding("line", row.public_id, f"line {row.public_id} ({line.key}): {reason}")


# --- a line by itself ----------------------------------------------------------------------------
def _own_problems(row: Invoice, line: InvoiceLine, known: Known) -> Iterator[str]:
    yield from _arithmetic(line.explanation, line.amount)
    if line.usage_epoch is not None:
        yield from _usage_problems(line, known.counted.get(sealing.name(line)))
    if line.live != (row.status != Invoice.Status.VOID):
        yield f"it is marked {'standing' if line.live else 'void'} on a {row.status} invoice"
    if line.charge_id is not None:
        yield from _differences(line, charge_line(known.chunk.charges[line.charge_id]))
    if line.corrects_id is not None:
        yield from _as_corrected(line, known)
    elif line.item_id is None and line.charge_id is None:
        yield "neither an agreement, a charge nor a correction calls for it"
    if line.pk in known.chunk.corrections:
        yield from _chain(row, line, known)


def _arithmetic(explanation: Mapping[str, Any], amount: int) -> Iterator[str]:
    """Say where the amount does not follow from the explanation."""
    try:
        explained = replay(explanation)
    except BrokenExplanation as error:
        yield f"its explanation contradicts itself: {error}"
        return
    if explained != amount:
        yield f"its amount is {amount}, its explanation gives {explained}"


def _usage_problems(row: Metered, counted: usage.Measured | None) -> Iterator[str]:
    """Say where the events that were counted are no longer the ones that are there."""
    if counted is None:
        return
    said = row.explanation.get("usage", {})
    if counted.event_count != said.get("event_count"):
        yield f"it counted {said.get('event_count')} events; {counted.event_count} are there"
    elif counted.hash != said.get("events_hash"):
        yield "the events that it counted were altered or exchanged"


def _differences(line: InvoiceLine, expected: Any) -> Iterator[str]:
    """Say where a line is not what its charge or its correction makes of it."""
    stored = (line.amount, line.quantity, line.key, line.kind, line.explanation)
    told = (
        expected.amount.minor, expected.quantity, expected.key, expected.kind, expected.explanation,
    )  # fmt: skip
    if stored != told:
        cause = "charge" if line.charge_id else "correction"
        yield f"it bills {line.amount}; its {cause} gives {expected.amount.minor}"


def _as_corrected(line: InvoiceLine, known: Known) -> Iterator[str]:
    row = known.corrections.get((line.corrects_id or 0, line.revision))
    if row is None:
        yield f"there is no correction {line.revision} of the line that it corrects"
        return
    yield from _differences(line, correction_line(row))
    if line.discount:
        yield f"a discount takes {line.discount} off; a correction has its line's share already"
    if line.live and row.status not in BORNE:
        yield f"the correction that it bills is {row.status}"


# --- a line and its corrections ------------------------------------------------------------------
def _chain(row: Invoice, line: InvoiceLine, known: Known) -> Iterator[str]:
    """Say where the corrections of a standing line do not follow each other."""
    before = line.amount
    for revision, one in enumerate(known.chunk.corrections[line.pk], 1):
        where = f"its correction {revision}"
        if one.revision != revision:
            yield f"{where} is missing"
            return
        problems = [*_arithmetic(one.explanation, one.amount)]
        problems += _usage_problems(one, known.counted.get(sealing.name(one)))
        problems += _rated_again(row, line, one, known)
        if line.live and one.amount_before != before:
            problems.append(f"it starts from {one.amount_before}, billed were {before}")
        if line.live and one.status == Correction.Status.BILLED and not _is_borne(line, one):
            problems.append("it is said to be billed, and nothing bears it")
        yield from (f"{where}: {problem}" for problem in problems)
        if one.status in (Correction.Status.APPROVED, Correction.Status.BILLED):
            before = one.amount


def _is_borne(line: InvoiceLine, row: Correction) -> bool:
    if not row.net_difference:
        return True
    bears = InvoiceLine.objects.filter(corrects_id=line.pk, revision=row.revision, live=True)
    return bears.exists() or CreditNoteLine.objects.filter(line_id=line.pk).exists()


def _rated_again(row: Invoice, line: InvoiceLine, one: Correction, known: Known) -> Iterator[str]:
    counted = known.counted.get(sealing.name(one))
    facts = known.agreements.get(known.chunk.subscriptions.get(line.pk, 0))
    if counted is None or facts is None or _rests_on_seal(line, one, facts, known):
        return
    share = one.explanation.get("net_of_billed_before")
    if share and Fraction(share) != progressed_before(line, invoice=row).share:
        yield f"progressive invoices left another part of the price than {share}"
    boundary = facts.agreement.cycle.index_at(line.during.lower) + 1
    proposals = _rated(facts, boundary, [(line.item_id or 0, one.explanation, counted)])
    proposal = proposals.get(_key(line))
    if proposal is None:
        yield "the agreement does not call for it"
    elif _due(proposal, one.explanation) != one.amount:
        yield f"it is {one.amount}; agreement and facts give {proposal.amount.minor}"


def _rests_on_seal(line: InvoiceLine, row: Metered, facts: SubscriptionFacts, known: Known) -> bool:
    """Tell whether only its seal can prove it: the price rates every event, and they may be gone.

    It was rated from them when it was sealed; its arithmetic and its document are proven as ever.
    """
    if line.item_id is None or sealing.name(row) not in known.sealed:
        return False
    return isinstance(facts.item(line.item_id).item.terms, PER_EVENT)


# --- lines against the agreement -----------------------------------------------------------------
def _against_agreements(one: Whole, known: Known) -> Iterator[Finding]:
    """Compute the boundaries again from agreements, prices and recounted events, and compare."""
    row, owners = one.row, known.chunk.subscriptions
    groups: defaultdict[int, list[InvoiceLine]] = defaultdict(list)
    for line in one.lines:
        if line.pk in owners and line.corrects_id is None:
            groups[owners[line.pk]].append(line)
    for subscription_id, mine in groups.items():
        facts = known.agreements[subscription_id]
        mine = [line for line in mine if not _rests_on_seal(line, line, facts, known)]
        expected = _expected(row, mine, facts, known) if mine else {}
        for line in mine:
            for problem in _against(row, line, facts, expected):
                yield about_line(row, line, problem)


def _against(
    row: Invoice,
    line: InvoiceLine,
    facts: SubscriptionFacts,
    expected: Mapping[BilledKey, Proposal],
) -> Iterator[str]:
    proposal = expected.get(_key(line))
    if facts.item(line.item_id or 0).price.id != line.price_id:
        yield "it names another price than the agreement"
    if proposal is None:
        yield "the agreement does not call for it"
        return
    due = _due(proposal, line.explanation)
    if (due, proposal.quantity) != (line.amount, line.quantity):
        yield (
            f"it bills {line.amount} for {line.quantity.normalize():f}; agreement and facts "
            f"give {due} for {proposal.quantity.normalize():f}"
        )
    if line.explanation.get("rule") != DIFFERENCE:
        return
    before, share = _billed_before(line.explanation), _share_left(line.explanation)
    if not before:
        return
    billed = progressed_before(line, invoice=row)
    if (before, share) != ((billed.amount, 1) if share == 1 else (billed.net, billed.share)):
        yield f"it leaves out {before} as billed; progressive invoices billed another amount"
    left = line.explanation.get("paid_minor", billed.left)
    if left != billed.left:
        yield f"it holds {left} for paid; credit notes left {billed.left}"


def _expected(
    row: Invoice, lines: Sequence[InvoiceLine], facts: SubscriptionFacts, known: Known
) -> dict[BilledKey, Proposal]:
    boundary = _boundary(row, lines, facts)
    may_give_back = any(line.kind == LineKind.PRORATION and line.amount <= 0 for line in lines)
    billed_of = billed_before((facts, boundary), row.pk) if may_give_back else billed_in_full
    metered = [
        (line.item_id or 0, line.explanation, counted)
        for line in lines
        if line.usage_epoch is not None and (counted := known.counted.get(sealing.name(line)))
    ]
    under_way = row.kind == Invoice.Kind.PROGRESSIVE
    return _rated(facts, boundary, metered, billed_of, under_way=under_way)


def _rated(
    facts: SubscriptionFacts,
    boundary: int,
    metered: Iterable[tuple[int, Mapping[str, Any], usage.Measured]],
    billed_of: BilledOf = billed_in_full,
    *,
    under_way: bool = False,
) -> dict[BilledKey, Proposal]:
    """Return what the boundary calls for with these recounts; per-event prices read the events.

    What was counted `under_way`, in a period that was not over, stands for what the period has of
    it by now: its items may have ended meanwhile.
    """
    measured: dict[Window, Measured] = {}
    windows = windows_needed(facts.agreement, boundary) if under_way else ()
    needed = {one.item_id: one for one in windows}
    for item_id, explanation, found in metered:
        window = Window(item_id, explanation["meter"], evidence.measured_period(explanation))
        window = needed.get(item_id, window)
        item = facts.item(item_id).item
        measured[window] = as_measured(item, facts.organization_id, window, found)
    # Metered items without a line here were not measured, and are not this invoice's to prove.
    billed = {window.item_id for window in measured}
    wanted: Callable[[Item], bool] = lambda item: item.meter is None or item.id in billed  # noqa: E731
    items = tuple(filter(wanted, facts.agreement.items))
    agreement = Agreement(facts.agreement.cycle, facts.agreement.currency, items)
    proposals = propose(agreement, boundary, measured, billed_of=billed_of, under_way=under_way)
    return {proposal.billed_key: proposal for proposal in proposals}


def _boundary(row: Invoice, lines: Sequence[InvoiceLine], facts: SubscriptionFacts) -> int:
    """Return the boundary whose lines these are: changes billed early are those of the next one."""
    if row.boundary_index is not None:
        return row.boundary_index
    if row.boundary_at is not None:
        return facts.agreement.cycle.index_at(row.boundary_at)
    first = min(line.during.lower for line in lines)
    return facts.agreement.cycle.index_at(first) + 1


def _billed_before(explanation: Mapping[str, Any]) -> int:
    """Return what progressive invoices had billed of a difference, as it says itself."""
    return int(explanation["before_minor"])


def _share_left(explanation: Mapping[str, Any]) -> Fraction:
    """Return the part of the price that was left after the discounts of what was billed before."""
    return Fraction(explanation.get("net_of_discounts", 1))


def _due(proposal: Proposal, explanation: Mapping[str, Any]) -> int:
    """Return what the line bills of the proposal beyond what was billed before, in minor units."""
    if explanation.get("rule") != DIFFERENCE:
        return proposal.amount.minor
    whole = round_half_away(proposal.amount.minor * _share_left(explanation))
    due = whole - _billed_before(explanation)
    left = explanation.get("paid_minor")
    return due if left is None else max(due, -left)


def _key(line: InvoiceLine) -> BilledKey:
    kind = LineKind.ARREARS.value if line.kind == PROGRESSIVE else line.kind
    return BilledKey(line.item_id or 0, kind, line.during.lower, line.during.upper, line.step_id)
