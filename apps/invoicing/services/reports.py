"""What runs say they did."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.invoicing.models import Invoice


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice that a run made; without a number it is a draft. Amounts in minor units."""

    id: str
    number: str | None
    organization_id: int
    currency: str
    total: int
    hold_reason: str = ""


@dataclass(slots=True)
class BillingReport:
    """What a run did: invoices in the order of their numbers, and whom it had to leave aside."""

    issued: list[Issued] = field(default_factory=list)
    parked: list[tuple[str, str]] = field(default_factory=list)

    def totals(self) -> dict[str, int]:
        """Return the sum of the invoices by currency, in minor units."""
        sums: dict[str, int] = {}
        for invoice in self.issued:
            sums[invoice.currency] = sums.get(invoice.currency, 0) + invoice.total
        return sums


def issued(row: Invoice) -> Issued:
    """Return what a report says of an invoice."""
    return Issued(
        row.public_id, row.number, row.organization_id, row.currency, row.total, row.hold_reason
    )
