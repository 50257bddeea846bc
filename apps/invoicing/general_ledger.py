"""The general ledger, entry by entry, for the books of whoever keeps the accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from apps.core import rls
from apps.core.errors import Invalid
from apps.engine.calendar import zone
from apps.engine.money import Money
from apps.invoicing.models import LedgerEntry

CHUNK = 1000
Account = LedgerEntry.Account

# Numbers of a usual chart of accounts; `--account revenue=8400` says others.
CODES: Mapping[str, str] = {
    Account.CASH.value: "1000",
    Account.RECEIVABLE.value: "1200",
    Account.CUSTOMER_CREDIT.value: "2300",
    Account.DEFERRED_REVENUE.value: "2400",
    Account.TAX_PAYABLE.value: "2200",
    Account.REVENUE.value: "4000",
    Account.PROMOTION.value: "4900",
    Account.WRITE_OFF.value: "6900",
}
COLUMNS = (
    "date", "transaction", "kind", "account", "account_name", "debit", "credit", "currency",
    "source", "organization",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a movement. One of debit and credit is empty; the day is the organization's."""

    day: date
    transaction: str
    kind: str
    account: str
    account_name: str
    debit: Money | None
    credit: Money | None
    currency: str
    source: str
    organization: str

    def cells(self) -> tuple[str, ...]:
        """Return it in the order of COLUMNS; amounts in major units, with a point."""
        sides = ["" if side is None else f"{side.major}" for side in (self.debit, self.credit)]
        return (
            self.day.isoformat(),
            self.transaction,
            self.kind,
            self.account,
            self.account_name,
            *sides,
            self.currency,
            self.source,
            self.organization,
        )


def codes(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the account codes with some of them changed. Raises Invalid for an unknown account."""
    unknown = sorted(changes.keys() - CODES.keys())
    if unknown:
        known = ", ".join(CODES)
        raise Invalid(f"There is no account '{unknown[0]}'; there are {known}.", param="account")
    return {**CODES, **changes}


def postings(
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    organization_id: int | None = None,
    accounts: Mapping[str, str] = CODES,
) -> Iterator[Posting]:
    """Yield the ledger's entries booked in [start, end), in the order they were written.

    Sums by account are the ledger's balances, and debits are credits. Opens its own scopes; holds
    one chunk at a time.
    """
    last = 0
    while True:
        with rls.ops_scope("ledger: export"):
            found = _chunk(last, start, end, organization_id)
        if not found:
            return
        for row in found:
            yield _posting(row, accounts)
        last = found[-1].pk


def _chunk(
    after: int, start: datetime | None, end: datetime | None, organization_id: int | None
) -> list[LedgerEntry]:
    rows = LedgerEntry.objects.filter(pk__gt=after).select_related("transaction", "organization")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    if start is not None:
        rows = rows.filter(transaction__at__gte=start)
    if end is not None:
        rows = rows.filter(transaction__at__lt=end)
    return list(rows.order_by("pk")[:CHUNK])


def _posting(row: LedgerEntry, accounts: Mapping[str, str]) -> Posting:
    moved = Money(abs(row.amount), row.currency)
    return Posting(
        day=row.transaction.at.astimezone(zone(row.organization.timezone)).date(),
        transaction=row.transaction.public_id,
        kind=row.transaction.kind,
        account=accounts[row.account],
        account_name=Account(row.account).label,
        debit=moved if row.amount > 0 else None,
        credit=moved if row.amount < 0 else None,
        currency=row.currency,
        source=row.transaction.source,
        organization=row.organization.slug,
    )
