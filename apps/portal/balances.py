"""What an organization owes, or is owed, as a page says it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from apps.invoicing import selectors as invoicing
from apps.invoicing.selectors import Standing


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits counted against what is due, in minor units; none of them is below zero."""

    currency: str
    due: int
    overdue: int
    credit: int
    open_count: int


def balances(organization_id: int, *, at: datetime) -> list[Balance]:
    """Return what is due or stands as a credit, by currency."""
    return balances_of(invoicing.standing(organization_id, at=at))


def balances_of(standing: Iterable[Standing]) -> list[Balance]:
    """Return what stands as a page says it."""
    return [_balance(one) for one in standing]


def _balance(one: Standing) -> Balance:
    due = max(0, one.due)
    # A credit that is younger than the overdue invoices still covers a part of them.
    overdue = max(0, min(one.overdue, due))
    return Balance(one.currency, due, overdue, max(0, -one.due), one.open_count)
