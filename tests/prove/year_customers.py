"""Customers who live through a year: each act is told to the services and to the oracle."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from apps.core import rls
from apps.core.actor import operator
from apps.invoicing import quoting
from apps.invoicing import services as invoicing
from apps.invoicing.errors import NotCreditable
from apps.payments import services as payments
from apps.plans import selectors as plans
from apps.plans.offers import CouponRules
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import (
    AddItem,
    Behaviour,
    ChangePlan,
    ChangeQuantity,
    RemoveItem,
    Wish,
)
from apps.tenants import services as tenants
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.engine import oracle
from tests.engine.oracle_documents import Coupon
from tests.prove.ground import ask
from tests.prove.year_bills import Back, Bill, of_line, spread
from tests.prove.year_catalog import CALL, EXPONENTS, PLANS, TRIAL_DAYS
from tests.prove.year_oracle import Account, Change

ACTOR = operator("prove")
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin")
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
GERMAN_VAT = 19
SOURCE = "year"
COUPONS = {
    rules.code: rules
    for rules in (
        CouponRules(code="half-once", name="Half once", percent=Decimal(50), position=2),
        CouponRules(
            code="three-months",
            name="A third off for three months",
            percent=Decimal("33.3"),
            duration="repeating",
            months=3,
            position=1,
        ),
        CouponRules(
            code="ten-off",
            name="Ten off for good",
            amounts={"USD": Decimal("10.01"), "JPY": Decimal(1499), "KWD": Decimal("3.077")},
            duration="forever",
        ),
        CouponRules(
            code="seats-off",
            name="A tenth off seats",
            percent=Decimal(10),
            duration="forever",
            prices=("seats",),
            position=3,
        ),
    )
}
BEHAVIOURS = (
    *(Behaviour.NEXT_INVOICE, Behaviour.NOW) * 3,
    *(Behaviour.NONE,) * 2,
    Behaviour.RESET,
)


@dataclass(slots=True)
class Customer:
    """An organization, its subscription, and what the oracle knows of it.

    `coupons` are those it has redeemed, `ends` is when it has ended or will.
    """

    organization: int
    account: Account
    chance: Random
    subscription: str = ""
    coupons: set[str] = field(default_factory=set)
    paused: bool = False
    ends: datetime | None = None
    acts: list[str] = field(default_factory=list)

    @classmethod
    def arrives(cls, slug: str, chance: Random, at: datetime) -> Customer:
        """Create the organization and subscribe it to a plan, from now on."""
        zone, country = chance.choice(ZONES), chance.choice(("DE", "US"))
        currency = chance.choice(("USD", *EXPONENTS))
        with rls.ops_scope("prove: a customer"):
            row = tenants.create_organization(
                slug,
                name=slug,
                timezone=zone,
                country=country,
                currency=currency,
                actor=ACTOR,
                at=at,
            )
        percent = GERMAN_VAT if country == "DE" else 0
        customer = cls(int(row.pk), Account(zone, currency, percent), chance)
        plan, seats = chance.choice(sorted(PLANS)), chance.randint(3, 12)
        with rls.tenant_scope(customer.organization):
            facts = subscriptions.subscribe(
                customer.organization, plan=plan, start=at, seats=seats, actor=ACTOR, at=at
            )
        customer.subscription = facts.public_id
        begins = at
        if days := TRIAL_DAYS[plan]:
            begins = oracle.first_instant(oracle.wall_clock(at, zone) + timedelta(days=days), zone)
        customer.account.subscribe(plan, begins=begins, start=at, seats=seats)
        customer.acts.append(
            f"{at} subscribes to {plan}, {seats} seats, in {zone}, {country}, {currency}"
        )
        return customer

    @property
    def is_over(self) -> bool:
        """Whether it has ended and was billed to its end."""
        return self.ends is not None and self.account.billed_until >= self.ends

    def acts_at(self, at: datetime) -> None:
        """Do something, whatever is possible now: what was used is still heard of after the end."""
        self.account.catch_up(at)
        if self.ends is not None and at >= self.ends:
            self.chance.choice((self._use, self._void, self._pay))(at)
            return
        if self.paused:
            self._resume(at)
            return
        acts: list[tuple[Callable[[datetime], None], int]] = [
            (self._change_seats, 10),
            (self._use, 12),
            (self._void, 2),
            (self._redeem, 2),
            (self._pay, 6),
            (self._grant, 1),
            (self._take_back, 4),
        ]
        if self.ends is None:
            acts += [
                (self._change_plan, 4),
                (self._change_add_on, 3),
                (self._change_later, 3),
                (self._pause, 1),
                (self._cancel, 1),
            ]
        verbs, weights = zip(*acts, strict=True)
        self.chance.choices(verbs, weights)[0](at)

    def _note(self, at: datetime, said: str) -> None:
        self.acts.append(f"{at} {said}")

    def _change_seats(self, at: datetime) -> None:
        seats, behaviour = self.chance.randint(0, 15), self.chance.choice(BEHAVIOURS)
        if self.ends is not None and behaviour is Behaviour.RESET:
            return  # no cycle begins before an end
        if seats == self.account.seats_at(at):
            return
        self._change(ChangeQuantity(Decimal(seats)), behaviour, at)
        self.account.change_seats(seats, at, **self._terms(behaviour, at))
        self._billed_at_once(behaviour, at)
        self._note(at, f"{seats} seats, {behaviour}")

    def _change_plan(self, at: datetime) -> None:
        plan = next(code for code in sorted(PLANS) if code != self.account.plan_at(at))
        behaviour = self.chance.choice(BEHAVIOURS)
        self._change(ChangePlan(self._version(plan)), behaviour, at)
        self.account.change_plan(plan, at, **self._terms(behaviour, at))
        self._billed_at_once(behaviour, at)
        self._note(at, f"changes to {plan}, {behaviour}")

    def _change_add_on(self, at: datetime) -> None:
        behaviour = self.chance.choice(BEHAVIOURS)
        terms = self._terms(behaviour, at)
        if self.account.has_add_on(at):
            self._change(RemoveItem("support"), behaviour, at)
            self.account.remove(at, **terms)
        else:
            self._change(AddItem(self._version("support")), behaviour, at)
            self.account.add(at, **terms)
        self._billed_at_once(behaviour, at)
        self._note(at, f"changes its add-on, {behaviour}")

    def _change_later(self, at: datetime) -> None:
        """Have something changed with the next period: one thing at a time."""
        if self.account.waiting:
            return
        seats = self.chance.randint(0, 15)
        plan = next(code for code in sorted(PLANS) if code != self.account.plan_at(at))
        wishes: list[tuple[Wish, Change]] = [
            (ChangePlan(self._version(plan)), ("plan", plan)),
            (AddItem(self._version("support")), ("add", "")),
        ]
        if seats != self.account.seats_at(at):
            wishes.append((ChangeQuantity(Decimal(seats)), ("seats", seats)))
        if self.account.has_add_on(at):
            wishes[1] = (RemoveItem("support"), ("remove", ""))
        wish, change = self.chance.choice(wishes)
        self._change(wish, Behaviour.NEXT_PERIOD, at)
        self.account.wait(change, at)
        self._note(at, f"{change} with the next period")

    def _version(self, plan: str) -> str:
        with rls.tenant_scope(self.organization):
            return plans.current_version(plan).public_id

    def _terms(self, behaviour: Behaviour, at: datetime) -> dict[str, bool]:
        """How the oracle is told of a behaviour; in a trial there is no cycle to begin anew."""
        restart = behaviour is Behaviour.RESET and at >= self.account.begins
        return {"charged": behaviour is not Behaviour.NONE, "restart": restart}

    def _change(self, wish: Wish, behaviour: Behaviour, at: datetime) -> None:
        """Change it, sometimes at the amount that was quoted just before."""
        with rls.tenant_scope(self.organization):
            confirmed = None
            if self.chance.random() < 0.3:
                quote = quoting.quote_change(
                    self.subscription, wish=wish, behaviour=behaviour, at=at
                )
                confirmed = invoicing.Confirmed(quote.amount, at)
            invoicing.change_subscription(
                self.subscription,
                wish=wish,
                behaviour=behaviour,
                confirmed=confirmed,
                actor=ACTOR,
                at=at,
            )

    def _billed_at_once(self, behaviour: Behaviour, at: datetime) -> None:
        if self.account.reached(at) or behaviour is Behaviour.NOW:
            self.account.bill_at_once(at)

    def _use(self, at: datetime) -> None:
        """Take some calls of the last days, at the edges of a day too."""
        events = []
        for number in range(self.chance.randint(1, 25)):
            days = 40 if self.chance.random() < 0.1 else 9
            when = at - timedelta(seconds=self.chance.randint(0, days * 86_400))
            if self.chance.random() < 0.2:
                zone = ZoneInfo(self.account.zone)
                when = when.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
            if when > FIRST:
                events.append(NewEvent(SOURCE, f"{at.timestamp()}-{number}", CALL, when, {}))
        with rls.tenant_scope(self.organization):
            outcome = usage.ingest(self.organization, events=events, actor=ACTOR, at=at)
        assert outcome.accepted == len(events), outcome
        times = {e.key: e.occurred_at for e in events if e.occurred_at is not None}
        self.account.calls.update(times)
        self._note(at, f"{len(events)} calls")

    def _void(self, at: datetime) -> None:
        """Take a call back, be it on a bill or not."""
        if not self.account.calls:
            return
        key = self.chance.choice(list(self.account.calls))
        with rls.tenant_scope(self.organization):
            usage.void_event(self.organization, event=key, source=SOURCE, actor=ACTOR, at=at)
        del self.account.calls[key]
        self._note(at, f"takes call {key} back")

    def _redeem(self, at: datetime) -> None:
        code = self.chance.choice(sorted(COUPONS))
        if code in self.coupons:
            return
        with rls.tenant_scope(self.organization):
            subscriptions.apply_discount(
                self.organization,
                code=code,
                subscription_id=self.subscription,
                actor=ACTOR,
                at=at,
            )
        said = COUPONS[code]
        coupon = Coupon(
            None if said.percent is None else Fraction(said.percent),
            self._minor(said.amounts[self.account.currency]) if said.amounts else None,
            most=None,
            kinds=said.prices or None,
            lines=None,
        )
        self.account.redeem(
            coupon,
            at,
            place=said.position,
            once=said.duration == "once",
            months=said.months or 0,
        )
        self.coupons.add(code)
        self._note(at, f"redeems {code}")

    def _pay(self, at: datetime) -> None:
        """Pay something, or all of it, of the oldest bill that is open."""
        owed = [(day, bill) for day, bill in self.account.bills.items() if bill.due > 0]
        if not owed:
            return
        day, bill = owed[0]
        cents = bill.due if self.chance.random() < 0.6 else self.chance.randint(1, bill.due)
        number = self._number(day)
        with rls.tenant_scope(self.organization):
            amount = self._major(cents)
            payments.record_payment(number, amount=amount, actor=ACTOR, at=at)
        bill.paid += cents
        self._note(at, f"pays {cents} of {number}")

    def _grant(self, at: datetime) -> None:
        cents = self.chance.randint(1, 20_000)
        expires = at + timedelta(days=50) if self.chance.random() < 0.5 else None
        with rls.tenant_scope(self.organization):
            invoicing.grant_credit(
                self.organization,
                amount=self._major(cents),
                terms=invoicing.GrantTerms(expires_at=expires),
                actor=ACTOR,
                at=at,
            )
        self.account.grant(cents, at, expires)
        self._note(at, f"is given {cents} until {expires}")

    def _take_back(self, at: datetime) -> None:
        """Take all or some of a bill back, or some of a line: as credit, or as money."""
        found = [day for day, bill in self.account.bills.items() if bill.left > 0]
        if not found:
            return
        day = self.chance.choice(found)
        bill, number = self.account.bills[day], self._number(day)
        backs, said = self._some_of(bill, number)
        total = sum(back.net + back.tax for back in backs if back is not None)
        if not 0 < total <= bill.left:
            return
        refund = self.chance.randint(0, min(total, bill.refundable))
        if refund == bill.refundable < total and self.chance.random() < 0.5:
            self._is_refused(number, said, self._split(refund + 1), at)
        offset = None
        if self.chance.random() < 0.5:
            least, most = max(0, total - bill.givable), min(total - refund, bill.due)
            offset = self.chance.randint(least, most)
        with rls.tenant_scope(self.organization):
            note = invoicing.issue_credit_note(
                number, **said, split=self._split(refund, offset), actor=ACTOR, at=at
            )
        self.account.take_back(day, at, backs, refund=refund, offset=offset)
        self._note(at, f"gets {total} of {number} back, {refund} as money, {offset} not owed")
        if refund:
            self._is_paid_back(note.public_id, self.chance.randint(1, refund), at)

    def _some_of(self, bill: Bill, number: str) -> tuple[list[Back | None], dict[str, Any]]:
        """Choose what of a bill goes back, as the oracle and as the service want to be told."""
        places = [n for n, one in enumerate(bill.sold) if one.gross > one.back_gross and one.left]
        if places and self.chance.random() < 0.4:
            place = self.chance.choice(places)
            one = bill.sold[place]
            gross = self.chance.randint(1, one.gross - one.back_gross)
            line = invoicing.NoteLine(
                line=self._line(bill, place, number), amount=self._major(gross)
            )
            return of_line(bill.sold, place, gross), {"reason": "other", "lines": [line]}
        total = bill.left if self.chance.random() < 0.4 else self.chance.randint(1, bill.left)
        said = {"reason": "order_change", "total": self._major(total)}
        return spread(bill.sold, total), said

    def _is_refused(
        self, number: str, said: dict[str, Any], split: invoicing.Split, at: datetime
    ) -> None:
        """Ask for a cent more of money than was paid."""
        with rls.tenant_scope(self.organization), contextlib.suppress(NotCreditable):
            invoicing.issue_credit_note(number, **said, split=split, actor=ACTOR, at=at)
            raise AssertionError(f"{number} gave {split} back")

    def _is_paid_back(self, note: str, cents: int, at: datetime) -> None:
        with rls.tenant_scope(self.organization):
            payments.record_refund(note, amount=self._major(cents), actor=ACTOR, at=at)
        self.account.paid_out += cents

    def _line(self, bill: Bill, place: int, number: str) -> str:
        """Return the public id of a line: of those alike the one in the same turn."""
        one = bill.sold[place]
        turn = sum((o.name, o.gross) == (one.name, one.gross) for o in bill.sold[:place])
        found = ask(
            """
            SELECT l.public_id FROM invoicing_invoiceline l JOIN invoicing_invoice i
            ON i.id = l.invoice_id WHERE i.number = %s AND l.key || ' ' || l.kind = %s
            AND l.amount = %s ORDER BY l.position""",
            number,
            one.name,
            one.gross,
        )
        return str(found[turn][0])

    def _number(self, day: datetime) -> str:
        query = "SELECT number FROM invoicing_invoice WHERE coalesce(boundary_at, issued_at) = %s"
        return str(ask(f"{query} AND organization_id = %s", day, self.organization)[0][0])

    def _pause(self, at: datetime) -> None:
        if at <= self.account.begins:
            return
        with rls.tenant_scope(self.organization):
            subscriptions.pause(self.subscription, when="now", actor=ACTOR, at=at)
        self.account.stop(at)
        self.paused = True
        self._note(at, "pauses")

    def _resume(self, at: datetime) -> None:
        with rls.tenant_scope(self.organization):
            subscriptions.resume(self.subscription, actor=ACTOR, at=at)
        if self.account.billed_until < self.account.stops[-1]:
            self.account.withdraw_stop()  # no bill has reached it: the pause is taken back
        else:
            self.account.resume(at)
        self.paused = False
        self._note(at, "resumes")

    def _cancel(self, at: datetime) -> None:
        """End now, or at an instant before the period is over."""
        if at <= self.account.begins:
            return
        left = (self.account.next_boundary(at) - at) // timedelta(microseconds=1)
        now = self.chance.random() < 0.5 or left < 2
        self.ends = at if now else at + timedelta(microseconds=self.chance.randint(1, left - 1))
        with rls.tenant_scope(self.organization):
            subscriptions.cancel(
                self.subscription, when="now" if now else self.ends, actor=ACTOR, at=at
            )
        self.account.stop(self.ends)
        self._note(at, f"ends at {self.ends}")

    def _split(self, refund: int, offset: int | None = None) -> invoicing.Split:
        off = None if offset is None else self._major(offset)
        return invoicing.Split(refund=self._major(refund), offset=off)

    def _major(self, minor: int) -> Decimal:
        return Decimal(minor).scaleb(-EXPONENTS[self.account.currency])

    def _minor(self, major: Decimal) -> int:
        return int(major.scaleb(EXPONENTS[self.account.currency]))
