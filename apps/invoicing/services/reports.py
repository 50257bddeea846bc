"""What runs say they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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


LISTED = 1_000


@dataclass(slots=True)
class BillingReport:
    """What a run did: how many invoices, what they come to, and whom it had to leave aside.

    `issued` are the first LISTED of the invoices, chunk after chunk in the order of their numbers:
    what a run needs does not grow with what it bills.
    """

    issued: list[Issued] = field(default_factory=list)
    parked: list[tuple[str, str]] = field(default_factory=list)
    final: int = 0
    held: int = 0
    drafts: int = 0
    sums: Counter[str] = field(default_factory=Counter)

    def add(self, made: Iterable[Issued]) -> None:
        """Count what was made; drafts are held for review where they say why."""
        for one in made:
            self.final += one.number is not None
            self.held += one.number is None and bool(one.hold_reason)
            self.drafts += one.number is None and not one.hold_reason
            self.sums[one.currency] += one.total
            if len(self.issued) < LISTED:
                self.issued.append(one)

    def take_over(self, other: BillingReport) -> None:
        """Count what another process reports of its chunk."""
        self.issued += other.issued[: LISTED - len(self.issued)]
        self.parked += other.parked
        self.final += other.final
        self.held += other.held
        self.drafts += other.drafts
        self.sums += other.sums

    @property
    def count(self) -> int:
        """How many invoices were made, drafts too."""
        return self.final + self.held + self.drafts

    def totals(self) -> dict[str, int]:
        """Return the sum of the invoices by currency, in minor units."""
        return dict(self.sums)


def issued(row: Invoice) -> Issued:
    """Return what a report says of an invoice."""
    return Issued(
        row.public_id, row.number, row.organization_id, row.currency, row.total, row.hold_reason
    )
