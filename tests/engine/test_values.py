from __future__ import annotations

import pickle

import pytest

from apps.engine.values import value_class


@value_class(frozen=True, slots=True, order=True)
class Size:
    width: int
    unit: str = "m"


def test_values_of_the_same_fields_are_the_same_value() -> None:
    assert Size(1) == Size(1, "m") != Size(1, "km")
    assert len({Size(1), Size(1), Size(2)}) == 2
    assert max(Size(1), Size(2)) == Size(2)


def test_a_value_holds_what_was_said_and_nothing_else() -> None:
    with pytest.raises(AttributeError):
        Size(1).height = 2  # type: ignore[attr-defined]


def test_a_value_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Size(3, "km"))) == Size(3, "km")
