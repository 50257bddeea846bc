"""What is done next about an invoice that the provider collects."""

from __future__ import annotations

import itertools

import pytest

from apps.payments.steps import Standing, Step, next_step

OPEN = Standing(due=50_00, is_there=True, told=50_00)


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (Standing(due=50_00), Step.HAND_OVER),
        (Standing(due=50_00, wanted=True), Step.HAND_OVER),
        (Standing(due=0), Step.CLOSE),
        (OPEN, None),
        (Standing(due=50_00, is_there=True, told=50_00, wanted=True), Step.CHARGE),
        (Standing(due=50_00, is_there=True, told=50_00, under_way=True), None),
        (Standing(due=0, paid=True, is_there=True, told=50_00), Step.PAID_ELSEWHERE),
        (Standing(due=0, is_there=True, told=50_00), Step.WITHDRAW),
        (Standing(due=30_00, is_there=True, told=50_00, wanted=True), Step.WITHDRAW),
    ],
)
def test_the_next_step(standing: Standing, step: Step | None) -> None:
    assert next_step(standing) == step


def all_standings() -> list[Standing]:
    flags = list(itertools.product([False, True], repeat=4))
    amounts = itertools.product([0, 30_00, 50_00], [0, 30_00, 50_00])
    return [
        Standing(due=due, told=told, paid=paid, is_there=there, under_way=way, wanted=want)
        for (due, told), (paid, there, way, want) in itertools.product(amounts, flags)
    ]


def test_nothing_is_charged_but_what_is_due_and_told() -> None:
    for one in all_standings():
        if next_step(one) == Step.CHARGE:
            assert one.due == one.told > 0
            assert one.wanted


def test_what_may_be_on_its_way_is_left_alone() -> None:
    for one in all_standings():
        if one.under_way:
            assert next_step(one) is None
