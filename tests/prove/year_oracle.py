"""A subscription's bills from what happened to it: events in, invoices out, nothing shared.

Written from the conventions (docs/algorithms/proration.md, "Lines on the invoice") on the Fractions
of `tests.engine.oracle`, and not from the engine or the rooms. Amounts are minor units of
the customer's currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import takewhile
from typing import Any

from tests.engine import oracle, oracle_documents, oracle_time
from tests.engine.oracle_documents import NEVER, Coupon, Grant, Item, Tax
from tests.engine.oracle_prices import Asked, Used, line, price_of
from tests.prove.year_bills import Back, Bill, Note, Sold
from tests.prove.year_catalog import ADD_ON, EXPONENTS, PLANS, TERMS, THRESHOLDS, priced

NOTHING, WHOLE = Fraction(0), Fraction(1)
PLACES = {
    price["key"]: place for prices in (PLANS["solo"], ADD_ON) for place, price in enumerate(prices)
}
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
Change = tuple[str, int | str]
"""What is to change: `seats` to so many, `plan` to another one, `add` or `remove` the add-on."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line: what it is for, such as `seats advance`, its cents, and those taken back at once.

    `turn` is the moment of the change that it bills, `part` what discounts left of the price at
    which it gives something back.
    """

    owned: Owned
    kind: str
    cents: int
    reserved: int = 0
    turn: datetime = LONG_AGO
    part: Fraction = WHOLE

    @property
    def name(self) -> str:
        """How it is told from others."""
        return f"{self.owned.key} {self.kind}"


@dataclass(eq=False, slots=True)
class Owned:
    """A price that was bought: for how long, and how many from when on.

    `starts`, `ends` and the third part of a step are false where the change was not to be charged.
    """

    price: dict[str, Any]
    start: datetime
    plan: str
    end: datetime | None = None
    steps: list[tuple[datetime, int, bool]] = field(default_factory=list)
    starts: bool = True
    ends: bool = True

    @property
    def added(self) -> bool:
        """Whether it belongs to the add-on."""
        return self.plan not in PLANS

    @property
    def once(self) -> bool:
        """Whether it is billed once, for good."""
        return str(self.price["type"]) == "one_time"

    @property
    def key(self) -> str:
        """Its key in the plan."""
        return str(self.price["key"])

    def lives_at(self, moment: datetime) -> bool:
        """Whether it is there."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def quantity(self, moment: datetime) -> int:
        """How many there are."""
        return [n for at, n, _ in self.steps if at <= moment][-1] if self.steps else 1

    def full_price(self, quantity: int) -> Fraction:
        """What so many cost for a whole period, in major units."""
        terms = {key: value for key, value in self.price.items() if key in TERMS}
        terms.setdefault("model", "flat")
        return price_of(terms, Used(Fraction(quantity)), Fraction(self.price.get("included", 0)))


@dataclass(frozen=True, slots=True)
class Lap:
    """A stretch between two boundaries; `whole` is the period that it is a part of."""

    start: datetime
    end: datetime
    whole: tuple[datetime, datetime]


@dataclass(slots=True)
class Discounted:
    """A coupon of the customer: what it takes off, from when until when, and in which place."""

    place: tuple[int, int]
    coupon: Coupon
    once: bool
    start: datetime
    end: datetime | None
    spent: bool = False

    def counts_at(self, moment: datetime) -> bool:
        """Whether it comes off an invoice of that moment."""
        return not self.spent and self.start <= moment and (self.end is None or moment < self.end)


@dataclass(slots=True)
class Counted:
    """Usage that was billed: what for, as which line, what it came to last, beyond what, and how
    little it can come to where credit notes took of that.
    """

    owned: Owned
    lap: Lap
    sold: Sold
    amount: int
    before: int
    least: int | None = None


@dataclass(eq=False, slots=True)
class Account:
    """One customer's agreement and usage, brought up to date by what happens, in order of time.

    `anchors` are the cycles: from when, and anchored where. `stops` are the moments at which it is
    paused or ends, `waiting` is what is to change later, `calls` the times of the events that were
    taken, by key. `credit` is what is left of every grant, in the order they are used. `sold_of`
    remembers what was billed of a price for a period. `counted` is the usage that was billed,
    `corrections` wait for the next bill. `settled` are the changes that were billed at once,
    `progressed` the lines that thresholds billed of a period's usage, `used` all usage ever billed,
    `billed_until` the last boundary billed. `notes` are the credit notes by their moment,
    `paid_out` is the money that went back.
    """

    zone: str
    currency: str
    tax_percent: int
    owned: list[Owned] = field(default_factory=list)
    anchors: list[tuple[datetime, datetime]] = field(default_factory=list)
    stops: list[datetime] = field(default_factory=list)
    waiting: list[tuple[datetime, Change]] = field(default_factory=list)
    calls: dict[str, datetime] = field(default_factory=dict)
    discounts: list[Discounted] = field(default_factory=list)
    credit: list[Grant] = field(default_factory=list)
    bills: dict[datetime, Bill] = field(default_factory=dict)
    notes: dict[datetime, Note] = field(default_factory=dict)
    sold_of: dict[tuple[int, datetime], list[Sold]] = field(default_factory=dict)
    counted: list[Counted] = field(default_factory=list)
    corrections: list[Line] = field(default_factory=list)
    settled: set[tuple[int, datetime]] = field(default_factory=set)
    progressed: dict[tuple[int, datetime], list[Sold]] = field(default_factory=dict)
    used: int = 0
    billed_until: datetime = LONG_AGO
    paid_out: int = 0

    # What happens

    def subscribe(self, plan: str, *, begins: datetime, start: datetime, seats: int) -> None:
        """Buy a plan; the first cycle begins after the trial, if there is one."""
        self.anchors.append((begins, begins))
        self._add(plan, start, seats, charged=True)

    def change_seats(
        self, seats: int, at: datetime, *, charged: bool = True, restart: bool = False
    ) -> None:
        """Have so many seats from now on; perhaps in a new cycle."""
        if restart:
            self._restart(at)
            self._seats(at).steps = [(at, seats, True)]
        else:
            self._seats(at).steps.append((at, seats, charged))

    def change_plan(
        self, plan: str, at: datetime, *, charged: bool = True, restart: bool = False
    ) -> None:
        """Leave the plan for another one, with the same seats; perhaps in a new cycle.

        Add-ons stay.
        """
        seats = self._seats(at).quantity(at)
        self._end([one for one in self._living(at) if not one.added], at, charged)
        self._add(plan, at, seats, charged)
        if restart:
            self._begin_again(self._end(self._living_before(at), at, charged), at, charged)
            self.anchors.append((at, at))

    def add(self, at: datetime, *, charged: bool = True, restart: bool = False) -> None:
        """Have the add-on too. What is billed once is not bought twice."""
        if restart:
            self._restart(at)
        had = {one.key for one in self.owned if one.once}
        for price in ADD_ON:
            if price["key"] not in had:
                mine = priced(price, self.currency)
                self.owned.append(Owned(mine, at, "support", starts=charged))

    def remove(self, at: datetime, *, charged: bool = True, restart: bool = False) -> None:
        """Do without the add-on."""
        self._end([one for one in self._living(at) if one.added], at, charged)
        if restart:
            self._restart(at)

    def wait(self, change: Change, at: datetime) -> None:
        """Have something changed when the period is over that is under way."""
        self.waiting.append((self.next_boundary(at), change))

    def next_boundary(self, at: datetime) -> datetime:
        """When the period is over that is under way."""
        return next(moment for moment, *_ in self.boundaries() if moment > at)

    def catch_up(self, until: datetime) -> None:
        """Carry out what waited for a moment up to then; what is so already stays as it is."""
        while self.waiting and self.waiting[0][0] <= until:
            moment, change = self.waiting.pop(0)
            match change:
                case ("seats", int(seats)) if seats != self.seats_at(moment):
                    self.change_seats(seats, moment)
                case ("plan", str(plan)) if plan != self.plan_at(moment):
                    self.change_plan(plan, moment)
                case ("add", _) if not self.has_add_on(moment):
                    self.add(moment)
                case ("remove", _) if self.has_add_on(moment):
                    self.remove(moment)

    def has_add_on(self, at: datetime) -> bool:
        """Whether the add-on is there."""
        return any(one.added and not one.once for one in self._living(at))

    def stop(self, at: datetime) -> None:
        """Pause or end then; what was to change later is called off."""
        self.waiting.clear()
        self._end(self._living(at), at, charged=True)
        self.stops.append(at)

    def resume(self, at: datetime) -> None:
        """Go on in a new cycle, with what there was."""
        self.anchors.append((at, at))
        self._begin_again([one for one in self.owned if one.end == self.stops[-1]], at, True)

    @property
    def begins(self) -> datetime:
        """Where billing begins."""
        return self.anchors[0][0]

    def seats_at(self, moment: datetime) -> int:
        """How many seats there are."""
        return self._seats(moment).quantity(moment)

    def plan_at(self, moment: datetime) -> str:
        """The plan in force, or the last one."""
        base = [one for one in self.owned if one.key == "base" and one.start <= moment][-1]
        return base.plan

    def _add(self, plan: str, at: datetime, seats: int, charged: bool) -> None:
        for price in PLANS[plan]:
            steps = [(at, seats, True)] if price["type"] == "licensed" else []
            mine = priced(price, self.currency)
            self.owned.append(Owned(mine, at, plan, steps=steps, starts=charged))

    def _restart(self, at: datetime) -> None:
        """Begin a new cycle with everything that is there."""
        self._begin_again(self._end(self._living(at), at, charged=True), at, charged=True)
        self.anchors.append((at, at))

    def _living(self, at: datetime) -> list[Owned]:
        return [one for one in self.owned if one.lives_at(at)]

    def _living_before(self, at: datetime) -> list[Owned]:
        return [one for one in self._living(at) if one.start < at]

    def _end(self, leaving: list[Owned], at: datetime, charged: bool) -> list[Owned]:
        for one in leaving:
            one.end, one.ends = at, charged
        return leaving

    def _begin_again(self, ended: list[Owned], at: datetime, charged: bool) -> None:
        for one in ended:
            if not one.once:
                steps = [(at, one.steps[-1][1], True)] if one.steps else []
                self.owned.append(Owned(one.price, at, one.plan, steps=steps, starts=charged))

    def _seats(self, at: datetime) -> Owned:
        return next(one for one in self.owned if one.key == "seats" and one.lives_at(at))

    def withdraw_stop(self) -> None:
        """Take back a pause that has not been reached by any bill."""
        stop = self.stops.pop()
        for one in self.owned:
            if one.end == stop:
                one.end, one.ends = None, True

    def redeem(self, coupon: Coupon, at: datetime, *, place: int, once: bool, months: int) -> None:
        """Have a coupon from now on; for so many months, or for good when that is 0."""
        end = self._grid(at, months) if months else None
        order = (place, len(self.discounts))
        self.discounts.append(Discounted(order, coupon, once, at, end))
        self.discounts.sort(key=lambda one: one.place)

    def bill(self, as_of: datetime) -> None:
        """Be billed for every boundary up to then."""
        self.catch_up(as_of)
        for moment, behind, ahead in takewhile(lambda one: one[0] <= as_of, self.boundaries()):
            if moment > self.billed_until:
                self._pass(moment, behind, ahead)

    def bill_at_once(self, at: datetime) -> None:
        """Be billed for the boundary that has been reached, or else for the changes up to now."""
        ahead_of = (one for one in self.boundaries() if one[0] > self.billed_until)
        moment, behind, ahead = next(ahead_of)
        if moment <= at:
            self._pass(moment, behind, ahead)
        elif behind is not None:
            self.bills[at] = self._bill(at, self.lines(behind, None, until=at), behind, None)

    def reached(self, at: datetime) -> bool:
        """Whether there is a boundary up to then that was not billed."""
        return any(
            moment > self.billed_until
            for moment, *_ in takewhile(lambda one: one[0] <= at, self.boundaries())
        )

    def _pass(self, moment: datetime, behind: Lap | None, ahead: Lap | None) -> None:
        lines = self.lines(behind, ahead) + self.corrections
        self.corrections = []
        self.billed_until = moment
        self.bills[moment] = self._bill(moment, lines, behind, ahead)

    def grant(self, cents: int, at: datetime, expires: datetime | None) -> None:
        """Be given credit, perhaps for some time only."""
        end = NEVER if expires is None else expires.timestamp()
        self.credit.append(Grant(cents, 50, end, at.timestamp(), None, False))

    def take_back(
        self,
        moment: datetime,
        at: datetime,
        backs: Sequence[Back | None],
        *,
        refund: int,
        offset: int | None,
    ) -> None:
        """Get some of a bill back; what is not refunded and not due becomes credit."""
        self.notes[at] = note = self.bills[moment].take_back(backs, refund, offset)
        if note.credit:
            self.credit.append(Grant(note.credit, 0, NEVER, at.timestamp(), None, False))

    def heal(self, at: datetime, *, over: bool) -> None:
        """Hold billed usage against the calls that are there now; the next bill has the difference.

        It is what the discounts have left of it. Where a note took some back somebody decides. When
        all is `over` and no boundary is to come, the difference is billed now.
        """
        for one in self.counted:
            now = oracle.rounded(self._used(one.owned, one.lap) * one.sold.part) - one.before
            now = now if one.least is None else max(now, one.least)
            cents = self._net_of(one, now) - self._net_of(one, one.amount)
            if cents and (one.sold.back_net or (cents < 0 and self._noted_before(one))):
                continue
            one.amount = now
            if cents:
                self.corrections.append(Line(one.owned, "correction", cents))
        if over and self.corrections:
            self.bills[at] = self._bill(at, self.corrections, None, None)
            self.corrections = []

    def _net_of(self, one: Counted, cents: int) -> int:
        """What discounts leave of it; what is below nothing was sold by thresholds, at theirs."""
        before = self.progressed.get((id(one.owned), one.lap.start), [])
        gross = sum(line.gross for line in before)
        share = Fraction(one.sold.net, one.sold.gross) if one.sold.gross else WHOLE
        if cents < 0 and gross and one.sold.part == WHOLE:
            share = Fraction(sum(line.net for line in before), gross)
        return oracle.rounded(cents * share)

    def _noted_before(self, one: Counted) -> bool:
        """Whether credit notes took something of what thresholds billed of the same usage."""
        before = self.progressed.get((id(one.owned), one.lap.start), [])
        return any(line.back_net for line in before)

    def pass_thresholds(self, at: datetime) -> None:
        """Be billed for the usage so far when it has passed a threshold since it was billed last.

        All that was ever used counts. What was taken back is given back when the period is over.
        """
        terms = THRESHOLDS.get(self.plan_at(at), {}).get(self.currency)
        ahead = (one for one in self.boundaries() if one[0] > self.billed_until)
        _, behind, _ = next(ahead, (at, None, None))
        if terms is None or behind is None:
            return
        found = [
            line
            for one in sorted(self.owned, key=lambda one: PLACES[one.key])
            if one.price["type"] == "metered"
            for line in self._usage(one, behind, "progressive")
        ]
        now = self.used + sum(line.cents for line in found)
        if self._last_level(terms, now) > self._last_level(terms, self.used):
            more = [line for line in found if line.cents > 0]
            self.bills[at] = self._bill(at, more, behind, None)

    def _last_level(self, terms: dict[str, Any], used: int) -> int:
        """How many thresholds lie up to so much."""
        fixed = [self._minor(Fraction(amount)) for amount in terms["amounts"]]
        beyond = max(0, used - fixed[-1]) // self._minor(Fraction(terms["step"]))
        return sum(amount <= used for amount in fixed) + beyond

    # What it comes to

    def _bill(
        self, moment: datetime, lines: list[Line], behind: Lap | None, ahead: Lap | None
    ) -> Bill:
        tax = Tax("vat", Fraction(self.tax_percent), inside=False)
        items = [
            Item(
                str(n),
                one.cents,
                one.owned.key,
                (tax,),
                taxed=True,
                discountable=_may_be_discounted(one),
                reserved=one.reserved,
            )
            for n, one in enumerate(lines)
        ]
        mine = [one for one in self.discounts if one.counts_at(moment)]
        coupons = [one.coupon for one in mine]
        taken, left = oracle_documents.discounts(items, coupons)
        for discount, amount in zip(mine, taken, strict=True):
            discount.spent = discount.once and amount > 0
        taxes = oracle_documents.taxes(items, left, "per_line", "net").by_line
        sold = [
            Sold(one.name, one.cents, net, due, one.part)
            for one, net, due in zip(lines, left, taxes, strict=True)
        ]
        for one, made in zip(lines, sold, strict=True):
            self._remember(one, made, behind, ahead)
        sums = oracle_documents.totals(
            items,
            coupons,
            rounding="per_line",
            first="net",
            notes=[],
            grants=[grant for grant in self.credit if grant.expires > moment.timestamp()],
            balance=0,
        )
        self._use_up(sums.credits, moment)
        if sums.total < 0:
            self.credit.append(Grant(-sums.total, 0, NEVER, moment.timestamp(), None, False))
            sums = replace(sums, credits=sums.total)
        told = sorted((one.name, one.cents) for one in lines if one.cents)
        total = sums.total - sums.credits
        return Bill(told, sums.discount, sums.tax, sums.credits, total, sold=sold)

    def _remember(self, one: Line, sold: Sold, behind: Lap | None, ahead: Lap | None) -> None:
        if one.kind == "advance" and ahead is not None:
            self.sold_of.setdefault((id(one.owned), ahead.start), []).append(sold)
        if one.kind == "proration" and behind is not None:
            self.sold_of.setdefault((id(one.owned), behind.start), []).append(sold)
        if one.kind in ("proration", "one_off"):
            self.settled.add((id(one.owned), one.turn))
        if one.kind == "arrears" and behind is not None:
            before = self._billed_before(one.owned, behind, net=one.part != WHOLE)
            left = self._not_given_back(one.owned, behind, -before, before)
            capped = -before < left and one.cents in range(left, 0 if left else 1)
            least = left if capped else None
            self.counted.append(Counted(one.owned, behind, sold, one.cents, before, least))
        if one.kind == "progressive" and behind is not None:
            self.progressed.setdefault((id(one.owned), behind.start), []).append(sold)
        if one.owned.price["type"] == "metered":
            self.used += one.cents

    def _use_up(self, cents: int, moment: datetime) -> None:
        """Take it from the grants in their order; all of them pay every line."""
        left = []
        for grant in sorted(self.credit, key=lambda g: (g.priority, g.expires, g.since)):
            over = grant.expires <= moment.timestamp()
            used = 0 if over else min(grant.available, cents)
            cents -= used
            if grant.available > used:
                left.append(replace(grant, available=grant.available - used))
        self.credit = left

    def boundaries(self) -> Iterator[tuple[datetime, Lap | None, Lap | None]]:
        """Yield (moment, what it closes, what it opens) for every boundary, without an end."""
        behind: Lap | None = None
        for number, (start, anchor) in enumerate(self.anchors):
            cut = self._cut_after(start, number)
            k = 0
            while True:
                whole = (self._grid(anchor, k), self._grid(anchor, k + 1))
                end = whole[1] if cut is None else min(cut, whole[1])
                ahead = Lap(whole[0], end, whole)
                yield whole[0], behind, ahead
                behind, k = ahead, k + 1
                if cut is not None and whole[1] >= cut:
                    break
            if cut in self.stops:
                yield cut, behind, None
                behind = None

    def _cut_after(self, start: datetime, number: int) -> datetime | None:
        """Where the cycle stops: at a pause, at the end, or where the next one begins."""
        cuts = [stop for stop in self.stops if stop > start]
        cuts += [at for at, _ in self.anchors[number + 1 :]]
        return min(cuts, default=None)

    def _grid(self, anchor: datetime, k: int) -> datetime:
        if k == 0:
            return anchor
        wall = oracle.wall_clock(anchor, self.zone)
        return oracle.first_instant(oracle.months_later(wall, k), self.zone)

    def lines(
        self, behind: Lap | None, ahead: Lap | None, *, until: datetime | None = None
    ) -> list[Line]:
        """The lines of the invoice at a boundary: by their place in the plan, then by age.

        A cent that does not divide goes to the earlier line, so the order is part of the sum.
        `until` leaves only the changes up to then.
        """
        found: list[Line] = []
        for one in sorted(self.owned, key=lambda one: PLACES[one.key]):
            metered = one.price["type"] == "metered"
            if one.once:
                found += self._once(one, behind, ahead, until)
            elif ahead is not None and not metered and one.lives_at(ahead.start):
                found.append(
                    Line(one, "advance", self._minor(one.full_price(one.quantity(ahead.start))))
                )
            if behind is not None and metered and until is None:
                found += self._usage(one, behind)
            if behind is not None and not metered and not one.once:
                found += self._changes(one, behind, until)
        return found

    def _once(
        self, one: Owned, behind: Lap | None, ahead: Lap | None, until: datetime | None
    ) -> Iterator[Line]:
        """What is billed once is owed in full where it starts, or when a trial is over."""
        if (id(one), one.start) in self.settled or (until is not None and one.start > until):
            return
        inside = behind is not None and behind.start < one.start < behind.end
        opening = ahead is not None and one.start == ahead.start
        after_trial = ahead is not None and ahead.start == self.begins and one.start < self.begins
        if inside or opening or after_trial:
            yield Line(one, "one_off", self._minor(one.full_price(1)), turn=one.start)

    def _usage(self, one: Owned, behind: Lap, kind: str = "arrears") -> Iterator[Line]:
        """What was used beyond what was billed of it before the period was over.

        Where that was more than what is there now, it is given back as it was paid for.
        """
        if max(one.start, behind.start) < _end_in(one, behind):
            used = self._used(one, behind, over=kind == "arrears")
            gross, net = (self._billed_before(one, behind, net=after) for after in (False, True))
            if used < gross and net < gross:
                part = Fraction(net, gross)
                cents = oracle.rounded(used * part) - net
                yield Line(one, kind, self._not_given_back(one, behind, cents, net), part=part)
            elif used < gross:
                yield Line(one, kind, self._not_given_back(one, behind, used - gross, gross))
            else:
                yield Line(one, kind, used - gross)

    def _not_given_back(self, one: Owned, lap: Lap, cents: int, net: int) -> int:
        """No more goes back than credit notes have left of what thresholds billed."""
        sold = self.progressed.get((id(one), lap.start), [])
        return max(cents, -max(0, net - sum(line.back_net for line in sold)))

    def _billed_before(self, one: Owned, lap: Lap, *, net: bool) -> int:
        """What thresholds billed of the usage of a period, before discounts or after them."""
        sold = self.progressed.get((id(one), lap.start), [])
        return sum(line.net if net else line.gross for line in sold)

    def _used(self, one: Owned, behind: Lap, *, over: bool = True) -> int:
        """What the usage of a period costs; its minimum is owed when the period is over."""
        start, end = max(one.start, behind.start), _end_in(one, behind)
        count = sum(start <= at < end for at in self.calls.values())
        terms = {key: value for key, value in one.price.items() if key in TERMS}
        bounds = ("minimum_amount", "maximum_amount")
        asked = Asked(
            terms,
            Used(Fraction(count)),
            Fraction(one.price.get("included", 0)),
            rules={key: one.price[key] for key in bounds if key in one.price},
            last=over,
        )
        return self._minor(line(asked))

    def _changes(self, one: Owned, behind: Lap, until: datetime | None) -> list[Line]:
        """One line a change: the difference of two full prices for what is left of the period.

        What is given back is what was paid for it after discounts, and never more than what credit
        notes have left of all of it. Changes that were billed at once are left out.
        """
        price = NOTHING
        paid = 0
        if one.lives_at(behind.start):
            price = one.full_price(one.quantity(behind.start))
            paid = self._minor(price)
        really, back = self._really(one, behind)
        lines: list[Line] = []
        for at, quantity, charged in self._turns(one, behind):
            if until is not None and at > until:
                break
            new = NOTHING if quantity is None else one.full_price(quantity)
            exact = (new - price) * self._share(one, at, behind, charged)
            full = max(self._minor(exact), -paid)
            price = new
            if (id(one), at) not in self.settled:
                part = self._part(-full, lines, really)
                most = max(0, oracle.rounded(paid * part) - back)
                cents = max(self._minor(exact * part), -most) if full < 0 else full
                lines.append(Line(one, "proration", cents, turn=at, part=part))
            paid += full
        return lines

    def _really(self, one: Owned, behind: Lap) -> tuple[Fraction, int]:
        """The part of its price that discounts left, and what credit notes took back of it."""
        sold = self.sold_of.get((id(one), behind.start), [])
        gross = sum((s.gross / (s.part if s.gross < 0 else WHOLE) for s in sold), NOTHING)
        if gross <= 0:
            return WHOLE, 0
        return max(NOTHING, sum(s.net for s in sold) / gross), sum(s.back_net for s in sold)

    def _part(self, gross: int, lines: list[Line], really: Fraction) -> Fraction:
        """The part of its price at which so much is given back.

        What this document sold is taken back in full, the latest first, and the rest as it was
        paid for.
        """
        if gross <= 0:
            return WHOLE
        own = 0
        for n, one in reversed([*enumerate(lines)]):
            taken = min(gross - own, max(0, one.cents - one.reserved))
            lines[n] = replace(one, reserved=one.reserved + taken)
            own += taken
        return (own + (gross - own) * really) / gross

    def _turns(self, one: Owned, behind: Lap) -> list[tuple[datetime, int | None, bool]]:
        lived = max(one.start, behind.start)
        gone = _end_in(one, behind)
        if lived >= gone:
            return []
        turns: list[tuple[datetime, int | None, bool]] = []
        if one.start > behind.start:
            turns.append((one.start, one.quantity(one.start), one.starts))
        turns += [step for step in one.steps if lived < step[0] < gone]
        if gone < behind.whole[1]:
            turns.append((gone, None, one.ends))
        return turns

    def _minor(self, major: Fraction) -> int:
        return oracle.rounded(major * 10 ** EXPONENTS[self.currency])

    def _share(self, one: Owned, at: datetime, behind: Lap, charged: bool) -> Fraction:
        mode = one.price.get("proration", "second") if charged else "none"
        return oracle_time.share_after(mode, self.zone, at, behind.whole)


def _may_be_discounted(line: Line) -> bool:
    return line.cents >= 0 and line.kind != "correction"


def _end_in(one: Owned, behind: Lap) -> datetime:
    return behind.end if one.end is None else min(one.end, behind.end)
