"""Documents for tests: what hypothesis draws, and one with everything on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from apps.engine.credits import CreditGrant, NoteBalance
from apps.engine.discounts import Discount, Split
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import Money
from apps.engine.settlement import Settlement, settle
from apps.engine.tax import Inclusive, TaxPolicy, TaxRate, TaxRounding, Treatment

KINDS = ["usage", "fixed", "seats"]
VAT = TaxRate("vat", Decimal(20), jurisdiction="FR")
CITY = TaxRate("city", Decimal("8.875"), jurisdiction="US-NY")
INSIDE = TaxRate("inside", Decimal(19), inclusive=True, jurisdiction="DE")
LEVY = TaxRate("levy", Decimal("4.5"), inclusive=True)
RATES = [VAT, CITY, INSIDE, LEVY]


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def amounts(least: int = 0, most: int = 50_000) -> st.SearchStrategy[Money]:
    return st.integers(least, most).map(usd)


PERCENTS = st.integers(0, 10_000).map(lambda n: Decimal(f"{n}E-2"))
SCOPES = st.one_of(
    st.just(EVERYTHING),
    st.sets(st.sampled_from(KINDS)).map(lambda kinds: Scope.of(kinds=kinds)),
    st.sets(st.sampled_from("0123")).map(lambda lines: Scope.of(lines=lines)),
)
MOMENTS = st.none() | st.integers(0, 3_000_000).map(
    lambda micros: datetime(2026, 2, 28, tzinfo=UTC) + timedelta(microseconds=micros)
)


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    return [
        Line(
            str(i),
            draw(amounts(-5_000)),
            kind=draw(st.sampled_from(KINDS)),
            rates=tuple(draw(st.lists(st.sampled_from(RATES), max_size=4, unique=True))),
            treatment=draw(st.sampled_from([Treatment.TAXED, Treatment.TAXED, *Treatment])),
            discountable=draw(st.booleans() | st.just(True)),
        )
        for i in range(draw(st.integers(0, 4)))
    ]


@st.composite
def discounts(draw: st.DrawFn) -> list[Discount]:
    return [
        Discount(
            f"d{i}",
            percent=draw(PERCENTS) if by_percent else None,
            amount=None if by_percent else draw(amounts()),
            scope=draw(SCOPES),
            cap=draw(st.none() | amounts()),
        )
        for i, by_percent in enumerate(draw(st.lists(st.booleans(), max_size=3)))
    ]


@st.composite
def grants(draw: st.DrawFn) -> list[CreditGrant]:
    return [
        CreditGrant(
            f"g{i}",
            draw(amounts()),
            priority=draw(st.integers(0, 2)),
            expires_at=draw(MOMENTS),
            granted_at=draw(MOMENTS),
            scope=draw(SCOPES),
            before_tax=draw(st.booleans()),
        )
        for i in range(draw(st.integers(0, 3)))
    ]


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    rounding, first = draw(st.sampled_from(TaxRounding)), draw(st.sampled_from(Inclusive))
    return settle(
        draw(lines()),
        currency="USD",
        discounts=draw(discounts()),
        split=draw(st.sampled_from(Split)),
        policy=TaxPolicy(rounding, first),
        credit_notes=[
            NoteBalance(f"n{i}", n) for i, n in enumerate(draw(st.lists(amounts(), max_size=2)))
        ],
        grants=draw(grants()),
        balance=draw(amounts(-5_000)),
    )


def rich() -> Settlement:
    """Every kind of number once: two coupons, four rates, a note, two grants, a balance."""
    return settle(
        [
            Line("plan", usd(10_000), kind="fixed", price="pro", rates=(VAT, CITY)),
            Line("api", usd(3_333), kind="usage", price="calls", rates=(INSIDE, LEVY)),
            Line("left", usd(-1_250), kind="fixed", price="basic", rates=(VAT,)),
            Line("eu", usd(2_000), kind="fixed", rates=(VAT,), treatment=Treatment.REVERSE_CHARGE),
        ],
        currency="USD",
        discounts=[
            Discount("general", amount=usd(700)),
            Discount("usage", percent=Decimal("12.5"), scope=Scope.of(kinds=["usage"])),
        ],
        credit_notes=[NoteBalance("cn1", usd(500)), NoteBalance("cn2", usd(100))],
        grants=[
            CreditGrant("late", usd(99_999), priority=60, scope=Scope.of(kinds=["usage"])),
            CreditGrant("early", usd(250), scope=Scope.of(kinds=["usage"]), before_tax=True),
        ],
        balance=usd(1_000),
    )
