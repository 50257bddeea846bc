"""The books: recompute every final invoice from stored facts and say what no longer agrees.

Five proofs, each naming what it finds:
1. every event still has the digest it was stored with;
2. every usage bucket equals a recount of its events;
3. every line follows from its own explanation, from the price it names, and, when metered, from a
   recount of exactly the events it counted when it was made;
4. every final invoice adds up and has the content that its hash sealed;
5. the ledger balances, agrees with the invoices and payments, and numbers have no gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Prefetch

from apps.audit import selectors as audit
from apps.core import rls
from apps.engine.explanation import BrokenExplanation, replay
from apps.engine.invoice import (
    BilledKey,
    Measured,
    Proposal,
    Window,
    billed_in_full,
    propose,
)
from apps.engine.period import Period
from apps.engine.settlement import BrokenSettlement, verify_settlement
from apps.invoicing import selectors
from apps.invoicing.composition import as_measured, net_before
from apps.invoicing.models import Invoice, InvoiceLine
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import selectors as usage
from apps.usage.errors import UnknownEpoch

CHUNK = 200

LEDGER_CHECKS = {
    "movement {} does not balance": """
        SELECT t.public_id FROM invoicing_ledgertransaction t
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id
        GROUP BY t.id HAVING coalesce(sum(e.amount), 1) <> 0 OR count(DISTINCT e.currency) <> 1""",
    "invoice {} is not booked at its total": """
        SELECT i.number FROM invoicing_invoice i
        LEFT JOIN invoicing_ledgertransaction t ON t.source = i.public_id AND t.kind = 'issued'
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id AND e.account = 'receivable'
        WHERE i.status <> 'draft' AND coalesce(e.amount, 0) <> i.total""",
    "void invoice {} is not reversed": """
        SELECT i.number FROM invoicing_invoice i
        LEFT JOIN invoicing_ledgertransaction t ON t.source = i.public_id AND t.kind = 'voided'
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id AND e.account = 'receivable'
        WHERE coalesce(-e.amount, 0) <> CASE WHEN i.status = 'void' THEN i.total ELSE 0 END""",
    "invoice {}: what was paid is not what the payments add up to": """
        SELECT i.number FROM invoicing_invoice i
        WHERE i.status <> 'draft' AND i.amount_paid <> (
          SELECT coalesce(sum(p.amount), 0) FROM payments_payment p WHERE p.invoice_id = i.id)""",
    "organization {}: the ledger's receivable is not what its invoices have due": """
        SELECT o.slug FROM (
          SELECT organization_id, currency, sum(due) AS due, sum(booked) AS booked FROM (
            SELECT organization_id, currency,
              total - amount_paid - credited - written_off AS due, 0 AS booked
            FROM invoicing_invoice WHERE status IN ('open', 'paid', 'uncollectible')
            UNION ALL
            SELECT organization_id, currency, 0, amount
            FROM invoicing_ledgerentry WHERE account = 'receivable'
          ) movements GROUP BY organization_id, currency
        ) sums JOIN tenants_organization o ON o.id = sums.organization_id
        WHERE due <> booked""",
    "payment {} is not booked at its amount": """
        SELECT p.public_id FROM payments_payment p
        LEFT JOIN invoicing_ledgertransaction t ON t.source = p.public_id AND t.kind = 'paid'
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id AND e.account = 'cash'
        WHERE coalesce(e.amount, 0) <> p.amount""",
    "movement {} has no cause": """
        SELECT t.public_id FROM invoicing_ledgertransaction t
        WHERE NOT EXISTS (SELECT FROM invoicing_invoice i WHERE i.public_id = t.source)
          AND NOT EXISTS (SELECT FROM payments_payment p WHERE p.public_id = t.source)""",
    "number series {} has a gap or a number twice": """
        SELECT e.slug || '/' || s.series FROM invoicing_numberseries s
        JOIN tenants_billingentity e ON e.id = s.billing_entity_id
        LEFT JOIN invoicing_invoice i ON i.billing_entity_id = s.billing_entity_id
          AND i.series = s.series AND i.sequence IS NOT NULL
        GROUP BY e.id, s.id
        HAVING count(DISTINCT i.sequence) <> s.next - 1
          OR coalesce(max(i.sequence), 0) <> s.next - 1""",
    "invoice {} has a number outside every series": """
        SELECT i.number FROM invoicing_invoice i
        WHERE i.sequence IS NOT NULL AND NOT EXISTS (
          SELECT FROM invoicing_numberseries s
          WHERE s.billing_entity_id = i.billing_entity_id AND s.series = i.series)""",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that no longer agrees: what it is about, and a sentence."""

    kind: str
    target: str
    message: str


@dataclass(frozen=True, slots=True)
class Books:
    """The result of a verification."""

    invoices: int
    lines: int
    findings: tuple[Finding, ...]

    @property
    def hold(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Late:
    """A final line whose events are others now: how many more, and how much more quantity.

    Less than nothing where events were voided; none at all where as many were corrected.
    """

    invoice: str
    organization: str
    key: str
    events: int
    quantity: Decimal


def verify(
    *, organization_id: int | None = None, step: Callable[[int], None] = lambda _: None
) -> Books:
    """Prove all the books, or one organization's invoices and events; opens its own scopes.

    Reads in chunks of one snapshot each, so it may run while invoices are made. The audit chains,
    the ledger and the numbers are proven only when all organizations are.
    """
    findings: list[Finding] = []
    with rls.ops_scope("books: usage"):
        findings += _usage_findings(organization_id)
        if organization_id is None:
            findings += _ledger_findings()
            findings += [Finding("audit", "", sentence) for sentence in audit.broken_links()]
    invoices = lines = 0
    last = 0
    while True:
        with rls.ops_scope("books: invoices"):
            rows = _chunk(last, organization_id)
            findings += _chunk_findings(rows)
        if not rows:
            return Books(invoices, lines, tuple(findings))
        last = rows[-1].pk
        invoices += len(rows)
        lines += sum(len(row.lines.all()) for row in rows)
        step(len(rows))


def count(organization_id: int | None = None) -> int:
    """Return how many invoices `verify` will look at; needs a scope."""
    rows = Invoice.objects.exclude(status="draft")
    return rows.filter(organization_id=organization_id).count() if organization_id else rows.count()


def _chunk(last: int, organization_id: int | None) -> list[Invoice]:
    rows = Invoice.objects.exclude(status="draft").filter(pk__gt=last).order_by("pk")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    lines = InvoiceLine.objects.order_by("position")
    return list(
        rows.select_related("subscription").prefetch_related(Prefetch("lines", lines))[:CHUNK]
    )


def _usage_findings(organization_id: int | None) -> Iterator[Finding]:
    for event in usage.altered_events(organization_id):
        yield Finding("event", event.key, str(event))
    for bucket in usage.bucket_differences(organization_id):
        yield Finding("bucket", f"{bucket.meter_key} {bucket.hour:%Y-%m-%dT%H:%MZ}", str(bucket))


def _ledger_findings() -> Iterator[Finding]:
    for sentence, query in LEDGER_CHECKS.items():
        with connection.cursor() as cursor:
            cursor.execute(query)
            for (target,) in cursor.fetchall():
                yield Finding("ledger", str(target), sentence.format(target))


def _chunk_findings(rows: Sequence[Invoice]) -> list[Finding]:
    """Check a chunk: one recount and one reading of the agreements for all of it."""
    lines = [line for row in rows for line in row.lines.all() if line.usage_epoch is not None]
    counted, found = _recounted(lines)
    agreements = subscriptions.by_ids([row.subscription_id for row in rows if row.subscription_id])
    for row in rows:
        facts = agreements.get(row.subscription_id or 0)
        found += _invoice_findings(row, facts, counted)
    return found


def _recounted(
    lines: Sequence[InvoiceLine],
) -> tuple[dict[int, usage.Measured], list[Finding]]:
    """Recount all lines at once; where evidence cannot be read, one by one to name its line."""
    claims = [(line.organization_id, _claim(line)) for line in lines]
    try:
        measured = usage.recount_all(claims)
        return dict(zip((line.pk for line in lines), measured, strict=True)), []
    except UnknownEpoch as error:
        if len(lines) == 1:
            target, reason = lines[0].public_id, error.message
            return {}, [Finding("line", target, f"line {target} ({lines[0].key}): {reason}")]
    counted: dict[int, usage.Measured] = {}
    found: list[Finding] = []
    for line in lines:
        one, problems = _recounted([line])
        counted |= one
        found += problems
    return counted, found


def late_usage(*, organization_id: int | None = None) -> list[Late]:
    """Return the final lines whose events are others by now: late, voided or corrected ones.

    It is no fault of the books. Needs a scope; reads in one statement per chunk of lines.
    """
    rows = InvoiceLine.objects.filter(live=True, usage_epoch__isnull=False)
    rows = rows.exclude(invoice__status="draft").select_related("invoice", "organization")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found: list[Late] = []
    lines = list(rows.order_by("pk"))
    for start in range(0, len(lines), CHUNK):
        chunk = lines[start : start + CHUNK]
        now = usage.measure_all([(line.organization_id, _claim(line).want) for line in chunk])
        found += filter(None, map(_late, chunk, now))
    return found


def _late(line: InvoiceLine, seen: usage.Measured) -> Late | None:
    said = line.explanation["usage"]
    if (seen.event_count, seen.hash) == (said["event_count"], said["events_hash"]):
        return None
    return Late(
        str(line.invoice.number),
        line.organization.slug,
        line.key,
        seen.event_count - said["event_count"],
        seen.quantity - line.quantity,
    )


def _claim(line: InvoiceLine) -> usage.Claim:
    period = _measured_period(line)
    asked = line.explanation["usage"].get("filter", {})
    want = usage.Want.filtered(line.explanation["meter"], period.start, period.end, asked)
    return usage.Claim(want, line.usage_epoch or 0, line.usage_snapshot)


def _measured_period(line: InvoiceLine) -> Period:
    window = line.explanation.get("window") or line.explanation["period"]
    return Period(*(datetime.fromisoformat(window[side]) for side in ("start", "end")))


def _invoice_findings(
    row: Invoice, facts: SubscriptionFacts | None, counted: Mapping[int, usage.Measured]
) -> Iterator[Finding]:
    document = selectors.document(row)
    lines = sorted(row.lines.all(), key=lambda line: line.position)
    if sum(line.amount for line in lines) != row.subtotal:
        yield _about(row, "its lines do not add up to its subtotal")
    net = row.subtotal - row.discount + row.tax - row.tax_included
    if net - row.credits != row.total:
        yield _about(row, "its sums do not add up to its total")
    if row.settlement:
        yield from (_about(row, problem) for problem in _settlement_problems(row))
    for line in lines:
        problems = (
            *_line_problems(line),
            *_usage_problems(line, counted.get(line.pk)),
            *_standing_problems(row, line),
        )
        for problem in problems:
            yield _about_line(row, line, problem)
    if facts is not None:
        yield from _against_the_agreement(row, lines, facts, counted)
    if document.hash() != row.content_hash:
        yield _about(row, "its content is not what was sealed when it became final")


def _settlement_problems(row: Invoice) -> Iterator[str]:
    """Say where discounts, taxes and credits do not follow from what was settled."""
    try:
        verify_settlement(row.settlement)
    except BrokenSettlement as error:
        yield f"its settlement contradicts itself: {error}"
        return
    said = row.settlement["totals"]
    stored = (row.subtotal, row.discount, row.tax, row.tax_included)
    names = ("subtotal_minor", "discount_minor", "tax_minor", "tax_included_minor")
    if stored != tuple(said[name] for name in names):
        yield "its sums are not those that were settled"


def _about(row: Invoice, problem: str) -> Finding:
    return Finding("invoice", str(row.number), f"invoice {row.number}: {problem}")


def _about_line(row: Invoice, line: InvoiceLine, problem: str) -> Finding:
    where = f"invoice {row.number}, line {line.position} ({line.key})"
    return Finding("line", line.public_id, f"{where}: {problem}")


def _line_problems(line: InvoiceLine) -> Iterator[str]:
    """Say where the stored line does not follow from its own explanation."""
    try:
        explained = replay(line.explanation)
    except BrokenExplanation as error:
        yield f"its explanation contradicts itself: {error}"
        return
    if explained != line.amount:
        yield f"its amount is {line.amount}, its explanation gives {explained}"


def _usage_problems(line: InvoiceLine, counted: usage.Measured | None) -> Iterator[str]:
    """Say where the events that the line counted are no longer the ones that are there."""
    if counted is None:
        return
    said = line.explanation.get("usage", {})
    if counted.event_count != said.get("event_count"):
        yield f"it counted {said.get('event_count')} events; {counted.event_count} are there"
    elif counted.hash != said.get("events_hash"):
        yield "the events that it counted were altered or exchanged"


def _standing_problems(row: Invoice, line: InvoiceLine) -> Iterator[str]:
    """Say where the line is not what keeps its period from being billed again."""
    if line.live != (row.status != Invoice.Status.VOID):
        yield f"it is marked {'standing' if line.live else 'void'} on a {row.status} invoice"


def _against_the_agreement(
    row: Invoice,
    lines: Sequence[InvoiceLine],
    facts: SubscriptionFacts,
    counted: Mapping[int, usage.Measured],
) -> Iterator[Finding]:
    """Compute the boundary again from agreement, prices and recounted events, and compare."""
    expected = _expected(row, lines, facts, counted)
    for line in lines:
        proposal = expected.get(_key(line))
        if line.item_id and facts.item(line.item_id).price.id != line.price_id:
            yield _about_line(row, line, "it names another price than the agreement")
        if proposal is None:
            yield _about_line(row, line, "the agreement does not call for it")
        elif (proposal.amount.minor, proposal.quantity) != (line.amount, line.quantity):
            yield _about_line(
                row,
                line,
                f"it bills {line.amount} for {line.quantity.normalize():f}; agreement and facts "
                f"give {proposal.amount.minor} for {proposal.quantity.normalize():f}",
            )


def _expected(
    row: Invoice,
    lines: Sequence[InvoiceLine],
    facts: SubscriptionFacts,
    counted: Mapping[int, usage.Measured],
) -> dict[BilledKey, Proposal]:
    measured: dict[Window, Measured] = {}
    for line in lines:
        if line.pk in counted:
            found = counted[line.pk]
            window = Window(line.item_id or 0, line.explanation["meter"], _measured_period(line))
            item = facts.item(window.item_id).item
            measured[window] = as_measured(item, facts.organization_id, window, found)
    # Metered items without a line here were not measured, and are not this invoice's to prove.
    billed = {window.item_id for window in measured}
    items = tuple(i for i in facts.agreement.items if i.meter is None or i.id in billed)
    agreement = replace(facts.agreement, items=items)
    boundary = _boundary(row, lines, facts)
    gives_back = any(line.amount < 0 for line in lines)
    net_of = net_before((facts, boundary), row.pk) if gives_back else billed_in_full
    proposals = propose(agreement, boundary, measured, net_of=net_of)
    return {proposal.billed_key: proposal for proposal in proposals}


def _boundary(row: Invoice, lines: Sequence[InvoiceLine], facts: SubscriptionFacts) -> int:
    """Return the boundary whose lines these are: changes billed early are those of the next one."""
    if row.boundary_index is not None:
        return row.boundary_index
    first = min((line.during.lower for line in lines if line.item_id), default=row.issued_at)
    return facts.agreement.cycle.index_at(first) + 1


def _key(line: InvoiceLine) -> BilledKey:
    return BilledKey(
        line.item_id or 0, line.kind, line.during.lower, line.during.upper, line.step_id
    )
