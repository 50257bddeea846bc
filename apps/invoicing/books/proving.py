"""The verification itself: in chunks of one snapshot each, by one process or by several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from apps.audit import selectors as audit
from apps.core import collector, processes, rls
from apps.invoicing import sealing
from apps.invoicing.books import ledger
from apps.invoicing.books.documents import chunk, final
from apps.invoicing.books.documents import findings as findings_of
from apps.invoicing.books.findings import Books, Finding
from apps.invoicing.models import Invoice
from apps.usage import selectors as usage

CHUNK = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the work: a proof of its own, or the invoices from one integer id to another."""

    proof: str
    organization_id: int | None
    first: int = 0
    last: int = 0


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
    """Cut the invoices into chunks; only their bounds are held."""
    last = 0
    while True:
        with rls.ops_scope("books: the next invoices"):
            rows = final(organization_id).filter(pk__gt=last)
            ids = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if not ids:
            return
        yield Part("invoices", organization_id, ids[0], ids[-1])
        last = ids[-1]


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
        rows = chunk(part.organization_id, part.first, part.last)
        found = findings_of(rows)
        return Proven(len(rows), sum(len(row.lines.all()) for row in rows), tuple(found))


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
