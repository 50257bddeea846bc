"""A chunk of final invoices with all that is looked at: a statement for each table, none a row.

Invoices and lines are made directly and hold on to nothing: through prefetched relations they took
longer to be read, and freed again, than all of their arithmetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from apps.core import bulk
from apps.engine.values import value_class
from apps.invoicing.models import (
    Charge,
    Correction,
    CreditMovement,
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceDiscount,
    InvoiceLine,
    InvoiceTax,
)

R = TypeVar("R", bound=Model)


@value_class(frozen=True, slots=True)
class Whole:
    """An invoice with its parts, each kind in its order, and its subscription's public id."""

    row: Invoice
    subscription: str | None
    lines: list[InvoiceLine]
    taxes: Sequence[InvoiceTax]
    discounts: Sequence[InvoiceDiscount]
    movements: Sequence[CreditMovement]
    notes: Sequence[CreditNote]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Invoices, and what belongs to their lines, by the lines' integer ids.

    `subscriptions` are integer ids, of those lines that come from an agreement; `charges` are by
    ids of their own.
    """

    invoices: list[Whole]
    subscriptions: Mapping[int, int] = field(default_factory=dict)
    charges: Mapping[int, Charge] = field(default_factory=dict)
    corrections: Mapping[int, list[Correction]] = field(default_factory=dict)
    credit_lines: Mapping[int, list[CreditNoteLine]] = field(default_factory=dict)

    @property
    def lines(self) -> list[InvoiceLine]:
        """All lines."""
        return [line for one in self.invoices for line in one.lines]


def read(invoices: QuerySet[Invoice]) -> Chunk:
    """Return these invoices with their parts; needs a scope."""
    rows = bulk.read(invoices.order_by("pk"), beside="subscription__public_id")
    owners = {row.organization_id for row, _ in rows}
    among = {"organization_id__among": owners, "invoice_id__among": [row.pk for row, _ in rows]}
    found = InvoiceLine.objects.filter(**among).order_by("position", "id")
    lines = bulk.read(found, beside="item__subscription_id")
    mine = _by("invoice_id", (line for line, _ in lines))
    taxes = _by("invoice_id", InvoiceTax.objects.filter(**among))
    discounts = _by("invoice_id", InvoiceDiscount.objects.filter(**among))
    moved = CreditMovement.objects.filter(**among).select_related("grant")
    movements = _by("invoice_id", moved)
    notes = _by("invoice_id", CreditNote.objects.filter(**among))
    wholes = [
        Whole(
            row,
            subscription,
            lines=mine.get(row.pk, []),
            taxes=taxes.get(row.pk, []),
            discounts=discounts.get(row.pk, []),
            movements=movements.get(row.pk, []),
            notes=notes.get(row.pk, []),
        )
        for row, subscription in rows
    ]
    return _with_lines(wholes, owners, lines)


def _with_lines(
    wholes: list[Whole], owners: Collection[int], lines: Sequence[tuple[InvoiceLine, Any]]
) -> Chunk:
    among = {"organization_id__among": owners, "line_id__among": [line.pk for line, _ in lines]}
    corrections = Correction.objects.filter(**among).select_related("line").order_by("revision")
    charges = [line.charge_id for line, _ in lines if line.charge_id is not None]
    return Chunk(
        wholes,
        {line.pk: subscription for line, subscription in lines if subscription is not None},
        Charge.objects.in_bulk(charges) if charges else {},
        _by("line_id", corrections),
        _by("line_id", CreditNoteLine.objects.filter(**among)),
    )


def _by(name: str, rows: Iterable[R]) -> Mapping[int, list[R]]:
    found: defaultdict[int, list[R]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(row)
    return found
