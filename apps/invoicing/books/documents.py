"""Final invoices as documents: their sums, what was settled, and the content that was sealed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from django.db.models import Prefetch, QuerySet

from apps.engine.settlement import BrokenSettlement, verify_settlement
from apps.invoicing import selectors
from apps.invoicing.books import lines, recognized
from apps.invoicing.books.findings import Finding, about
from apps.invoicing.models import Correction, Invoice, InvoiceLine


def final(organization_id: int | None) -> QuerySet[Invoice]:
    """Return the final invoices, or one organization's."""
    rows = Invoice.objects.exclude(status="draft")
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def chunk(organization_id: int | None, first: int, last: int) -> list[Invoice]:
    """Return the final invoices from one integer id to another, with all that is looked at."""
    rows = selectors.with_lines(final(organization_id).filter(pk__gte=first, pk__lte=last))
    corrections = Correction.objects.order_by("revision")
    parts = (
        InvoiceLine.objects.select_related("item", "charge", "corrects")
        .prefetch_related(Prefetch("corrections", corrections), "credit_lines")
        .order_by("position")
    )
    plain = rows.prefetch_related(None).prefetch_related(
        Prefetch("lines", parts), "taxes", "discounts", "credit_movements__grant", "credit_notes"
    )
    return list(plain.order_by("pk"))


def findings(rows: Sequence[Invoice]) -> list[Finding]:
    """Check a chunk: one recount and one reading of the agreements for all of it."""
    found = lines.findings(rows)
    for row in rows:
        found += (about(row, problem) for problem in _problems(row))
    return found + recognized.findings(rows)


def _problems(row: Invoice) -> Iterator[str]:
    mine = list(row.lines.all())
    if sum(line.amount for line in mine) != row.subtotal:
        yield "its lines do not add up to its subtotal"
    if row.subtotal - row.discount + row.tax - row.tax_included - row.credits != row.total:
        yield "its sums do not add up to its total"
    if row.settlement:
        yield from _settlement_problems(row, mine)
    if selectors.document(row).hash() != row.content_hash:
        yield "its content is not what was sealed when it became final"


def _settlement_problems(row: Invoice, mine: Sequence[InvoiceLine]) -> Iterator[str]:
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
    if len(mine) != len(row.settlement["lines"]):
        yield "its lines are not those that were settled"
        return
    yield from (f"its {what} are not those that were settled" for what in _differing(row, mine))


def _differing(row: Invoice, mine: Sequence[InvoiceLine]) -> Iterator[str]:
    settled = row.settlement
    if [_stored(line) for line in mine] != [_settled(line) for line in settled["lines"]]:
        yield "lines' amounts, discounts and taxes"
    discounts = {one["id"]: one["taken_minor"] for one in settled["discounts"]}
    if {one.discount: one.amount for one in row.discounts.all()} != _moving(discounts):
        yield "discounts"
    taxes: Counter[str] = Counter()
    for line in settled["lines"]:
        for part in line["taxes"]:
            taxes[part["rate"]] += part["minor"]
    if {one.rate: one.amount for one in row.taxes.all() if one.rate} != dict(taxes):
        yield "taxes"
    used = {one["id"]: one["used_minor"] for one in settled["grants"]}
    moved = {m.grant.public_id: -m.amount for m in row.credit_movements.all() if m.kind == "used"}
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
