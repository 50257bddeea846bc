from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from apps.engine.agreement import Item, ItemKind, Timing
from apps.engine.prices import PerUnit
from apps.engine.rules import Match, matches

START = datetime(2026, 1, 1, tzinfo=UTC)
DIMENSIONS = {"model": ("small", "large"), "region": ("eu", "us"), "tier": ("free", "paid")}


def price(item_id: int, **filters: tuple[str, ...]) -> Item:
    return Item(
        item_id,
        f"tokens-{item_id}",
        ItemKind.METERED,
        Timing.ARREARS,
        PerUnit(Decimal(1)),
        (START, None),
        meter="tokens",
        filters=filters,
    )


def taker(items: list[Item], event: dict[str, str]) -> list[int]:
    return [item_id for item_id, match in matches(items).items() if match.takes(event)]


def test_the_most_specific_price_takes_the_event_and_the_rest_goes_to_the_plain_one() -> None:
    items = [
        price(1),
        price(2, model=("large",)),
        price(3, model=("large",), region=("eu", "us")),
    ]
    assert taker(items, {"model": "small"}) == [1]
    assert taker(items, {"model": "large"}) == [2]
    assert taker(items, {"model": "large", "region": "eu"}) == [3]


def test_of_two_equally_specific_prices_the_earlier_takes_the_event() -> None:
    items = [price(1, region=("eu",)), price(2, model=("large",))]
    assert taker(items, {"model": "large", "region": "eu"}) == [1]
    assert matches(items)[2] == Match({"model": ("large",)}, ({"region": ("eu",)},))


def test_filters_that_cannot_meet_leave_each_other_alone() -> None:
    items = [price(1, model=("small",)), price(2, model=("large",), region=("eu",))]
    assert matches(items)[1].exclude == ()


def test_without_a_plain_price_other_usage_costs_nothing() -> None:
    assert taker([price(1, model=("large",))], {"model": "small"}) == []


def test_another_plan_and_another_meter_are_no_rivals() -> None:
    items = [price(1), replace(price(2, model=("large",)), group=7)]
    assert matches(items)[1].exclude == ()


def test_a_price_agreed_anew_is_not_its_own_rival() -> None:
    first = price(1, model=("large",))
    items = [first, replace(price(2, model=("large",)), key=first.key)]
    assert [match.exclude for match in matches(items).values()] == [(), ()]


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sets(st.sampled_from(values), min_size=1).map(lambda s: tuple(sorted(s)))
        for name, values in DIMENSIONS.items()
    },
)
EVENTS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in DIMENSIONS.items()}
)


@given(st.lists(FILTERS, min_size=1, max_size=6), EVENTS)
def test_every_event_belongs_to_the_best_price_and_to_no_other(
    filters: list[dict[str, tuple[str, ...]]], event: dict[str, str]
) -> None:
    items = [price(n, **one) for n, one in enumerate(filters)]
    fitting = [
        (-len(one), n)
        for n, one in enumerate(filters)
        if all(event.get(name) in values for name, values in one.items())
    ]
    assert taker(items, event) == [n for _, n in sorted(fitting)[:1]]
