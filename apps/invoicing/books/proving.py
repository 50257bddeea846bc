"""The verification itself: in chunks of one snapshot each, by one process or by several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from django.db import connection
from django.db.models import QuerySet

from apps.audit import selectors as audit
from apps.core import collector, processes, rls
from apps.invoicing import sealing
from apps.invoicing.books import ledger
from apps.invoicing.books.documents import final
from apps.invoicing.books.documents import findings as findings_of
from apps.invoicing.books.findings import Books, Finding
from apps.invoicing.books.reading import read
from apps.invoicing.models import Invoice
from apps.usage import selectors as usage

CHUNK = 400
EVERY = (-(2**63), 2**63 - 1)
OWNERS = """
SELECT min(organization_id), max(organization_id), sum(invoices) FROM (
  SELECT organization_id, invoices,
    div(sum(invoices) OVER (ORDER BY organization_id) - invoices, %(chunk)s) AS part
  FROM (
    SELECT organization_id, count(*) AS invoices FROM invoicing_invoice
    WHERE status <> 'draft'
      AND (%(organization)s::bigint IS NULL OR organization_id = %(organization)s::bigint)
    GROUP BY organization_id
  ) mine
) parts GROUP BY part ORDER BY part"""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the work: a proof of its own, or the invoices of some organizations.

    Both ranges are of integer ids and count their ends: `owners` of the organizations, `invoices`
    of the invoices of theirs.
    """

    proof: str
    organization_id: int | None
    owners: tuple[int, int] = (0, 0)
    invoices: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a part came to."""

    invoices: int
    lines: int
    findings: tuple[Finding, ...]


def verify(
    *,
    organization_id: int | None = None,
    step: Callable[[int], None] = lambda _: None,
    jobs: int = 1,
) -> Books:
    """Prove all the books, or one organization's invoices and events; opens its own scopes.

    Reads in chunks of one snapshot each, so it may run while invoices are made; `jobs` processes
    share the chunks where there are several, under the conditions of `core.processes.pool`. The
    audit chains, the ledger and the numbers are proven only when all organizations are.
    """
    parts = chain(_proofs(organization_id), _invoices(organization_id))
    invoices = lines = 0
    findings: list[Finding] = []
    for proven in _shared(parts, jobs):
        invoices += proven.invoices
        lines += proven.lines
        findings += proven.findings
        step(proven.invoices)
    return Books(invoices, lines, tuple(findings))


def count(organization_id: int | None = None) -> int:
    """Return how many invoices `verify` will look at; needs a scope."""
    rows = Invoice.objects.exclude(status="draft")
    return rows.filter(organization_id=organization_id).count() if organization_id else rows.count()


def _proofs(organization_id: int | None) -> Iterator[Part]:
    yield Part("events", organization_id)
    yield Part("buckets", organization_id)
    yield Part("seals", organization_id)
    if organization_id is None:
        yield Part("ledger", None)
        yield Part("audit", None)


def _invoices(organization_id: int | None) -> Iterator[Part]:
    """Cut the invoices into chunks; only their bounds are held.

    An organization's stay together, as far as a chunk holds them: its agreements are read once.
    """
    for first, last, count in _owners(organization_id):
        if count < 2 * CHUNK:
            yield Part("invoices", organization_id, (first, last), EVERY)
        else:
            yield from _of_many(organization_id, (first, last))


def _owners(organization_id: int | None) -> list[tuple[int, int, int]]:
    """Return ranges of organizations, and how many invoices they have: a chunk, or more of one."""
    with rls.ops_scope("books: whose invoices"), connection.cursor() as cursor:
        cursor.execute(OWNERS, {"chunk": CHUNK, "organization": organization_id})
        return [(first, last, int(count)) for first, last, count in cursor.fetchall()]


def _of_many(organization_id: int | None, owners: tuple[int, int]) -> Iterator[Part]:
    last = EVERY[0]
    while True:
        with rls.ops_scope("books: the next invoices"):
            rows = _of(organization_id, owners).filter(pk__gt=last)
            ids = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if not ids:
            return
        yield Part("invoices", organization_id, owners, (ids[0], ids[-1]))
        last = ids[-1]


def _of(organization_id: int | None, owners: tuple[int, int]) -> QuerySet[Invoice]:
    first, last = owners
    rows = final(organization_id)
    return rows.filter(organization_id__gte=first, organization_id__lte=last)


def _shared(parts: Iterable[Part], jobs: int) -> Iterator[Proven]:
    if jobs < 2:
        yield from map(prove, parts)
        return
    parts = list(parts)  # read before the processes begin: they take no connection along
    if sum(part.proof == "invoices" for part in parts) < 2:
        yield from map(prove, parts)
        return
    with processes.pool(jobs) as pool:
        yield from pool.map(prove, parts)


def prove(part: Part) -> Proven:
    """Prove a part, in one transaction."""
    with rls.ops_scope(f"books: {part.proof}"):
        if part.proof == "invoices":
            return _proven(part)
        return Proven(0, 0, tuple(_PROOFS[part.proof](part.organization_id)))


def _proven(part: Part) -> Proven:
    with collector.held_back():
        rows = _of(part.organization_id, part.owners)
        chunk = read(rows.filter(pk__range=part.invoices))
        found = findings_of(chunk)
        return Proven(len(chunk.invoices), len(chunk.lines), tuple(found))


def _events(organization_id: int | None) -> Iterator[Finding]:
    for event in usage.altered_events(organization_id):
        yield Finding("event", event.key, str(event))


def _buckets(organization_id: int | None) -> Iterator[Finding]:
    for bucket in usage.bucket_differences(organization_id):
        yield Finding("bucket", f"{bucket.meter_key} {bucket.hour:%Y-%m-%dT%H:%MZ}", str(bucket))


def _seals(organization_id: int | None) -> Iterator[Finding]:
    return (Finding("seal", *problem) for problem in sealing.altered(organization_id))


def _ledger(_: int | None) -> Iterator[Finding]:
    return ledger.findings()


def _audit(_: int | None) -> Iterator[Finding]:
    return (Finding("audit", "", sentence) for sentence in audit.broken_links())


_PROOFS: dict[str, Callable[[int | None], Iterator[Finding]]] = {
    "events": _events,
    "buckets": _buckets,
    "seals": _seals,
    "ledger": _ledger,
    "audit": _audit,
}
