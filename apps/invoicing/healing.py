"""Which final lines no longer bill the events that are there: late, voided or corrected usage.

Looking at all lines ever billed would grow without end. A mark remembers what the last look could
see; only lines under the days of events that came or were voided since, and lines that were billed
since, are measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet, Subquery

from apps.engine.invoice import LineKind
from apps.invoicing import evidence, sealing
from apps.invoicing.errors import UnknownCorrection
from apps.invoicing.evidence import Evidence
from apps.invoicing.models import Correction, HealingMark, InvoiceLine
from apps.usage import selectors as usage

CHUNK = 200

# No transaction that bills takes as long: lines above this one may still be on their way.
SETTLED = """
SELECT id FROM invoicing_invoiceline
WHERE created_at < statement_timestamp() - interval '15 minutes'
ORDER BY id DESC LIMIT 1
"""
# Of the days of a running period no line has an end after them: the index says so at once.
UNDER = """
SELECT DISTINCT l.id
FROM unnest(%(organizations)s::bigint[], %(meters)s::text[], %(days)s::timestamptz[],
    %(carries)s::boolean[]) AS t (organization_id, meter, day, carries)
CROSS JOIN LATERAL (
  SELECT id FROM invoicing_invoiceline
  WHERE live AND usage_epoch IS NOT NULL AND corrects_id IS NULL AND kind = 'arrears'
    AND organization_id = t.organization_id AND upper(during) > t.day
    AND (t.carries OR lower(during) < t.day + interval '1 day')
    AND explanation->>'meter' = t.meter
) l
UNION
SELECT id FROM invoicing_invoiceline
WHERE id > %(line)s AND live AND usage_epoch IS NOT NULL AND corrects_id IS NULL
  AND kind = 'arrears'
  AND (%(organization)s::bigint IS NULL OR organization_id = %(organization)s)
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Late:
    """A final line whose events are others now: how many more, and how much more quantity.

    Less than nothing where events were voided; none at all where as many were corrected.
    """

    line_id: int
    organization_id: int
    invoice: str
    organization: str
    key: str
    events: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be looked at, and the mark that stands once it has been."""

    lines: Sequence[int]
    mark: usage.Mark
    settled: int


def to_look_at(*, organization_id: int | None = None, everything: bool = False) -> Look:
    """Return the metered lines that may have changed since the last look; needs the ops scope.

    `everything` takes all lines, whatever the mark says; so does the first look, and one after a
    restore. Raises UsageNotReady.
    """
    now, last = usage.mark(), HealingMark.objects.first()
    days = None
    if last is not None and not everything:
        days = usage.changed_since(usage.Mark(last.epoch, last.snapshot))
    if last is None or days is None:
        found = list(_metered(organization_id).order_by("pk").values_list("pk", flat=True))
    else:
        mine = [day for day in days if organization_id in (None, day.organization_id)]
        found = _under(mine, after=last.line, organization_id=organization_id)
    return Look(found, now, _settled())


def _metered(organization_id: int | None) -> QuerySet[InvoiceLine]:
    rows = InvoiceLine.objects.filter(
        live=True, usage_epoch__isnull=False, corrects=None, kind=LineKind.ARREARS.value
    )
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def _under(
    days: Iterable[usage.ChangedDay], *, after: int, organization_id: int | None
) -> list[int]:
    columns = list(zip(*days, strict=True)) or [(), (), (), ()]
    names = ("organizations", "meters", "days", "carries")
    values = {name: list(column) for name, column in zip(names, columns, strict=True)}
    with connection.cursor() as cursor:
        cursor.execute(UNDER, {**values, "line": after, "organization": organization_id})
        return [line_id for (line_id,) in cursor.fetchall()]


def _settled() -> int:
    with connection.cursor() as cursor:
        cursor.execute(SETTLED)
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def changed(line_ids: Sequence[int]) -> list[Late]:
    """Return those of the lines, all final, whose events are others than were counted last: when
    they were billed, or when a correction looked at them. One measurement for all of them. Nothing
    comes late to a sealed line.
    """
    rows = _unsealed(final_lines(line_ids))
    known = latest_corrections(row.pk for row in rows)
    then = [last_seen(row, known) for row in rows]
    wants = [(row.organization_id, one.claim.want) for row, one in zip(rows, then, strict=True)]
    now = usage.measure_all(wants)
    return [
        _late(row, one, found, known.get(row.pk))
        for row, one, found in zip(rows, then, now, strict=True)
        if not one.agrees_with(found)
    ]


def _unsealed(rows: Sequence[InvoiceLine]) -> list[InvoiceLine]:
    known = sealing.sealed(rows)
    return [row for row in rows if sealing.name(row) not in known]


def final_lines(line_ids: Sequence[int]) -> list[InvoiceLine]:
    """Return the lines with their invoices and organizations; those of drafts are left out."""
    rows = InvoiceLine.objects.filter(pk__in=line_ids, live=True).exclude(invoice__status="draft")
    return list(rows.select_related("invoice", "item", "organization").order_by("pk"))


def latest_corrections(line_ids: Iterable[int]) -> dict[int, Correction]:
    """Return the last correction of each line that has one, whatever became of it."""
    rows = Correction.objects.filter(line_id__in=list(line_ids))
    return {row.line_id: row for row in rows.order_by("line_id", "-revision").distinct("line_id")}


def last_seen(row: InvoiceLine, known: dict[int, Correction]) -> Evidence:
    """Return the evidence of whoever looked last at the line's usage."""
    correction = known.get(row.pk)
    return evidence.of_line(row) if correction is None else evidence.of_correction(correction)


def _late(
    row: InvoiceLine, then: Evidence, now: usage.Measured, correction: Correction | None
) -> Late:
    before = row.explanation if correction is None else correction.explanation
    return Late(
        row.pk,
        row.organization_id,
        str(row.invoice.number),
        row.organization.slug,
        row.key,
        now.event_count - then.event_count,
        now.quantity - Decimal(str(before.get("now", before)["quantity"])),
    )


def late_usage(*, organization_id: int | None = None) -> list[Late]:
    """Return the final lines whose events are others by now, and that nothing has corrected yet.

    It is no fault of the books. Needs a scope; looks at every line, a chunk at a time.
    """
    found: list[Late] = []
    last = 0
    while True:
        ids = _metered(organization_id).filter(pk__gt=last).order_by("pk")
        chunk = list(ids.values_list("pk", flat=True)[:CHUNK])
        if not chunk:
            return found
        last = chunk[-1]
        found += changed(chunk)


def corrections(
    *, status: str = "", organization_id: int | None = None, before: str = "", limit: int = 100
) -> list[Correction]:
    """Return corrections with their lines and invoices, the latest first; needs a scope.

    `before` is the public id of the last one of the page before.
    """
    rows = Correction.objects.select_related("line__invoice", "organization")
    if status:
        rows = rows.filter(status=status)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    if before:
        rows = rows.filter(pk__lt=Subquery(rows.filter(public_id=before).values("pk")))
    return list(rows.order_by("-pk")[:limit])


def named(ids: Sequence[int]) -> list[Correction]:
    """Return corrections by their integer ids, with their lines, invoices and organizations."""
    rows = Correction.objects.select_related("line__invoice", "organization")
    return list(rows.filter(pk__in=ids).order_by("pk"))


def owner_of(correction_id: str) -> int:
    """Return whose correction it is, or raise UnknownCorrection; needs the ops scope."""
    row = Correction.objects.filter(public_id=correction_id).first()
    if row is None:
        raise UnknownCorrection(f"There is no correction '{correction_id}'.")
    return row.organization_id
