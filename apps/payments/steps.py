"""What has to be done next about an invoice that the provider collects: a decision, nothing more.

Whatever happened in between, from wherever a worker stopped: the step follows from how the invoice
stands here and there, and taking it twice is taking it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """One thing to do at the provider, or (`CLOSE`) only here."""

    HAND_OVER = "hand_over"  # tell the provider of the invoice, and make it final there
    CHARGE = "charge"  # charge it
    PAID_ELSEWHERE = "paid_elsewhere"  # say that it was paid, and not through the provider
    WITHDRAW = "withdraw"  # take it back there: it is owed no more, or another amount is
    CLOSE = "close"  # it never got there and is not wanted any more


@dataclass(frozen=True, slots=True)
class Standing:
    """How an invoice stands. Amounts in minor units.

    `due` is what is to be collected, 0 once it is paid, void or given up; `paid` says that it was
    paid. `told` is what the provider was told last, `is_there` that it has the invoice as final.
    `wanted`: a charge is asked for; `under_way`: one waits for a bank or for the customer.
    """

    due: int
    paid: bool = False
    is_there: bool = False
    told: int = 0
    wanted: bool = False
    under_way: bool = False


def next_step(standing: Standing) -> Step | None:
    """Return what to do next, or None when there is nothing to do until something happens.

    For when every call about the invoice is answered: until it is known what came of a charge,
    nothing else may be said, or money could come twice.
    """
    if standing.under_way:
        return None
    if not standing.is_there:
        return Step.HAND_OVER if standing.due else Step.CLOSE
    if not standing.due:
        return Step.PAID_ELSEWHERE if standing.paid else Step.WITHDRAW
    if standing.due != standing.told:
        return Step.WITHDRAW
    return Step.CHARGE if standing.wanted else None
