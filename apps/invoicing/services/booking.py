"""The ledger's only writer: balanced movements, each with the one thing that caused it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from apps.core import bulk
from apps.engine.values import value_class
from apps.invoicing.models import LedgerEntry, LedgerTransaction

Account = LedgerEntry.Account
RECEIVABLE, CASH, REVENUE, DEFERRED, TAX, CREDIT, PROMOTION, WRITE_OFF = (
    Account.RECEIVABLE.value,
    Account.CASH.value,
    Account.REVENUE.value,
    Account.DEFERRED_REVENUE.value,
    Account.TAX_PAYABLE.value,
    Account.CUSTOMER_CREDIT.value,
    Account.PROMOTION.value,
    Account.WRITE_OFF.value,
)


@value_class(frozen=True, slots=True)
class Movement:
    """A balanced movement: amounts by account in minor units, debits positive.

    `source` is the public id of its cause; a cause is booked once of each `kind`.
    """

    organization_id: int
    currency: str
    source: str
    kind: str
    at: datetime
    amounts: Mapping[str, int]


def book(movement: Movement) -> None:
    """Add one movement; nothing is written when nothing moves."""
    book_all([movement])


def book_all(movements: Sequence[Movement]) -> None:
    """Add many movements in two statements; those that move nothing are left out."""
    moving = [movement for movement in movements if any(movement.amounts.values())]
    if not moving:
        return
    keys = bulk.add(
        LedgerTransaction,
        (
            {
                "organization_id": movement.organization_id,
                "currency": movement.currency,
                "source": movement.source,
                "kind": movement.kind,
                "at": movement.at,
            }
            for movement in moving
        ),
    )
    bulk.add(
        LedgerEntry,
        (
            {
                "organization_id": movement.organization_id,
                "transaction_id": key,
                "currency": movement.currency,
                "account": account,
                "amount": minor,
            }
            for key, movement in zip(keys, moving, strict=True)
            for account, minor in movement.amounts.items()
            if minor
        ),
    )
