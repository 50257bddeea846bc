"""Final invoices as documents: their sums, what was settled, and the content that was sealed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from django.db.models import QuerySet

from apps.engine.settlement import BrokenSettlement, verify_settlement
from apps.invoicing import selectors
from apps.invoicing.books import lines, recognized
from apps.invoicing.books.findings import Finding, about
from apps.invoicing.books.reading import Chunk, Whole
from apps.invoicing.models import Invoice, InvoiceLine


def final(organization_id: int | None) -> QuerySet[Invoice]:
    """Return the final invoices, or one organization's."""
    rows = Invoice.objects.exclude(status="draft")
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def findings(chunk: Chunk) -> list[Finding]:
    """Check a chunk: one recount and one reading of the agreements for all of it."""
    found = lines.findings(chunk)
    for one in chunk.invoices:
        found += (about(one.row, problem) for problem in _problems(one))
    return found + recognized.findings(chunk)


def _problems(one: Whole) -> Iterator[str]:
    row = one.row
    if sum(line.amount for line in one.lines) != row.subtotal:
        yield "its lines do not add up to its subtotal"
    if row.subtotal - row.discount + row.tax - row.tax_included - row.credits != row.total:
        yield "its sums do not add up to its total"
    if row.settlement:
        yield from _settlement_problems(one)
    if _hash(one) != row.content_hash:
        yield "its content is not what was sealed when it became final"


def _hash(one: Whole) -> str:
    paid = selectors.credit_used(one.movements)
    parts = (one.lines, one.taxes, one.discounts, paid, one.subscription)
    return selectors.document_of(one.row, *parts).hash()


def _settlement_problems(one: Whole) -> Iterator[str]:
    """Say where discounts, taxes and credits do not follow from what was settled."""
    row = one.row
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
    if len(one.lines) != len(row.settlement["lines"]):
        yield "its lines are not those that were settled"
        return
    yield from (f"its {what} are not those that were settled" for what in _differing(one))


def _differing(one: Whole) -> Iterator[str]:
    settled = one.row.settlement
    if [_stored(line) for line in one.lines] != [_settled(line) for line in settled["lines"]]:
        yield "lines' amounts, discounts and taxes"
    discounts = {turn["id"]: turn["taken_minor"] for turn in settled["discounts"]}
    if {part.discount: part.amount for part in one.discounts} != _moving(discounts):
        yield "discounts"
    taxes: Counter[str] = Counter()
    for line in settled["lines"]:
        for part in line["taxes"]:
            taxes[part["rate"]] += part["minor"]
    if {part.rate: part.amount for part in one.taxes if part.rate} != dict(taxes):
        yield "taxes"
    used = {turn["id"]: turn["used_minor"] for turn in settled["grants"]}
    moved = {m.grant.public_id: -m.amount for m in one.movements if m.kind == "used"}
    if moved != _moving(used):
        yield "credits"


def _stored(line: InvoiceLine) -> tuple[int, str, list[int]]:
    return line.amount, str(line.discount), [line.tax]


def _settled(line: dict[str, object]) -> tuple[object, object, list[int]]:
    taxes = line["taxes"]
    parts = taxes if isinstance(taxes, list) else []
    return line["amount_minor"], line["discount_minor"], [sum(part["minor"] for part in parts)]


def _moving(amounts: dict[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if amount}
