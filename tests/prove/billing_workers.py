"""The processes that bill, pay and count while they are being killed: the real services."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.models.functions import Mod

from apps.core import faults, rls
from apps.core.errors import DomainError
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice
from apps.invoicing.services import issuing, run
from apps.payments.services import recording as payments
from apps.subscriptions import selectors as subscription_selectors
from apps.usage import services as usage
from apps.usage.services import rollup
from tests.prove import processes
from tests.prove.billing_checks import PAID_EVERY, Told
from tests.prove.world import ACTOR, NOW

BILLING_POINTS = (
    "billing.locked",
    "billing.drafted",
    "billing.passed",
    "billing.before_number",
    "billing.numbered",
    "billing.before_commit",
    "billing.committed",
)
PAYMENT_POINTS = ("payment.recorded", "payment.applied")
USAGE_POINTS = ("usage.rolled_up",)
POINTS = ("starting", "waiting", *BILLING_POINTS, *PAYMENT_POINTS, *USAGE_POINTS)
STARTING, WAITING = 0, 1
Mutant = Callable[[], None]


@dataclass(slots=True)
class Crew:
    """What the workers of one run share: their logs, and where each of them is."""

    invoices: processes.Log
    payments: processes.Log
    board: processes.Board
    mutant: Mutant
    is_mutant: bool

    @classmethod
    def hired(cls, directory: Path, mutant: Mutant | None = None) -> Crew:
        """Return a crew whose logs start empty in `directory`."""
        return cls(
            processes.Log(str(directory / "invoices.log")),
            processes.Log(str(directory / "payments.log")),
            processes.Board(64),
            mutant or (lambda: None),
            mutant is not None,
        )

    def told(self) -> Told:
        """Return what the workers acknowledged so far."""
        return Told(self.invoices.read(), self.payments.read())

    def start(
        self, work: Callable[[], None], *, place: int = 0, point: str = "", hold: str = ""
    ) -> processes.Worker:
        """Start a worker, which dies at one fault point (`name` or `name:nth`) and stops itself the
        first time at another, where such are given.
        """
        self.board.put(place, STARTING)

        def live() -> None:
            os.environ["FAULT_POINT"] = point
            if self.is_mutant:
                logging.disable()  # it parks and fails, as it should
            self.mutant()
            self._observe(place, hold)
            work()

        return processes.start(live)

    def _observe(self, place: int, hold: str) -> None:
        """Note where the worker is, and what it says is done. The services stay what they are."""
        holds = {hold}

        def passing(name: str) -> None:
            if name in POINTS:
                self.board.put(place, POINTS.index(name))
            if name in holds:
                holds.clear()
                os.kill(os.getpid(), signal.SIGSTOP)
            faults.point(name)

        for module in (run, issuing, payments, rollup):
            vars(module)["point"] = passing
        bill, record = run._bill_chunk, payments.record_payment
        add = invoicing.BillingReport.add

        def bill_chunk(asked: run.Run, report: invoicing.BillingReport) -> bool:
            self.board.put(place, WAITING)
            return bill(asked, report)

        def noted(report: invoicing.BillingReport, made: Iterable[invoicing.Issued]) -> None:
            said = list(made)
            add(report, said)
            for issued in said:
                self.invoices.write(f"{issued.id} {issued.number} {issued.total}")

        def record_payment(*args: Any, **kwargs: Any) -> None:
            self.board.put(place, WAITING)
            with rls.ops_scope("prove: pay"):
                payment = record(*args, **kwargs)
            self.payments.write(payment.public_id)

        vars(run)["_bill_chunk"] = bill_chunk
        setattr(invoicing.BillingReport, "add", noted)  # noqa: B010 - mypy allows no assignment
        vars(payments)["record_payment"] = record_payment


def bill(as_of: datetime, *, chunk: int) -> None:
    """Bill all that is due, starting anew whenever the database goes away."""
    _persist(lambda: invoicing.bill_due(as_of=as_of, actor=ACTOR, at=NOW, chunk=chunk))


def bill_in_any_order(as_of: datetime, *, chunk: int) -> None:
    """Bill what is due in an order of one's own, to work beside the others and not behind them."""
    due = subscription_selectors.due

    def shuffled(*args: Any, **kwargs: Any) -> list[subscription_selectors.Due]:
        found = due(*args, **kwargs)
        random.shuffle(found)
        return found

    vars(subscription_selectors)["due"] = shuffled
    bill(as_of, chunk=chunk)


def pay() -> None:
    """Settle every third invoice in two instalments, each under its own bank reference.

    Several payers take the same invoices in the same order, so that every reference is entered
    more than once at the same time.
    """
    _persist(_pay_open)


def count_usage() -> None:
    """Roll usage up, as the worker does every minute."""

    def count() -> None:
        with rls.ops_scope("prove: roll up"):
            usage.roll_up(NOW)

    _persist(count)


def _persist(work: Callable[[], object]) -> None:
    """Do it until the database lets it be done, as a worker's next turn would."""
    while True:
        try:
            work()
        except (OperationalError, InterfaceError):
            connections.close_all()
            time.sleep(0.02)
        else:
            return


def _pay_open() -> None:
    while any(_settle(number, total) for number, total in _to_pay()):
        pass


def _to_pay() -> list[tuple[Any, int]]:
    with rls.ops_scope("prove: who owes"):
        rows = Invoice.objects.alias(turn=Mod("sequence", PAID_EVERY)).filter(turn=0, status="open")
        return list(rows.order_by("sequence").values_list("number", "total"))


def _settle(number: str, total: int) -> bool:
    """Enter both instalments; tell whether one of them was new."""
    first = _entered(number, f"bank {number}/1", total // 3)
    return _entered(number, f"bank {number}/2", total - total // 3) or first


def _entered(number: str, reference: str, cents: int) -> bool:
    amount = Decimal(cents).scaleb(-2)
    try:
        payments.record_payment(number, amount=amount, reference=reference, actor=ACTOR, at=NOW)
    except DomainError:
        return False  # another payer was first: refused, and nothing changed
    return True
