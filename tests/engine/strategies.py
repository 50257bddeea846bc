"""What hypothesis draws: decimals, terms, periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from apps.engine.period import Period
from apps.engine.prices import Flat, Graduated, Package, PerUnit, Terms, Tier, Volume

CURRENCIES = st.sampled_from(["USD", "JPY", "KWD", "CLF"])


def decimals(most: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 10**places).map(lambda n: Decimal(f"{n}E-{places}"))


AMOUNTS = st.one_of(decimals(50, 2), decimals(2, 12), decimals(500, 3))
UNITS = st.one_of(decimals(60, 0), decimals(60, 3))


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.sets(decimals(40, 1).filter(bool), max_size=4)))
    return tuple(Tier(b, draw(AMOUNTS), draw(AMOUNTS)) for b in [*bounds, None])


TERMS: st.SearchStrategy[Terms] = st.one_of(
    st.builds(Flat, AMOUNTS),
    st.builds(PerUnit, AMOUNTS),
    st.builds(Package, decimals(20, 1).filter(bool), AMOUNTS),
    st.builds(Graduated, tiers(), st.booleans()),
    st.builds(Volume, tiers(), st.booleans()),
)

SHARES = st.fractions(0, 1, max_denominator=10**7)
MOMENTS = st.integers(0, 70 * 365 * 86_400 * 10**6).map(
    lambda micros: datetime(1975, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
WEIGHTS = st.lists(st.fractions(Fraction(0), max_denominator=50), min_size=1, max_size=8).filter(
    lambda ws: sum(ws) > 0
)


@st.composite
def periods(draw: st.DrawFn) -> Period:
    start, end = sorted(draw(st.sets(MOMENTS, min_size=2, max_size=2)))
    return Period(start, end)
