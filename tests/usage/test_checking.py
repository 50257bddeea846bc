"""The door's rules, and that the database reads numbers as the door does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.usage.checking import (
    MAX_KEYS,
    Door,
    MeterRule,
    NewEvent,
    Refusal,
    encode,
    number_of,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
TOKENS = MeterRule("tokens", "sum", ["tokens"], allow_negative=False)
BALANCE = MeterRule("balance", "sum", ["balance", "now"], allow_negative=True)
USERS = MeterRule("users", "unique_count", ["user"], allow_negative=False)
DOOR = Door({"ai.request": [TOKENS, BALANCE, USERS]}, AT, timedelta(days=35))


def event(**changes: object) -> NewEvent:
    good = {"source": "app/1", "key": "a-1", "type": "ai.request", "occurred_at": AT, "data": {}}
    return NewEvent(**{**good, **changes})  # type: ignore[arg-type]


def verdict(**changes: object) -> str:
    answer = DOOR.judge(event(**changes))
    return answer.code if isinstance(answer, Refusal) else "taken"


def test_an_event_without_the_meters_value_is_taken() -> None:
    assert DOOR.judge(event(data={"model": "x"})) == '{"model":"x"}'


@pytest.mark.parametrize(
    "value",
    [0, 1, 10**18 - 1, Decimal("0.1"), Decimal("1E+3"), "12", "0012", "-0", "1.123456789012",
     Decimal("1.0000000000000000"), Decimal("0E-30")],
)  # fmt: skip
def test_numbers_and_decimal_texts_are_values(value: object) -> None:
    assert verdict(data={"tokens": value}) == "taken"


@pytest.mark.parametrize(
    "value",
    [True, None, "", "12,000", " 1", "1\n", "+1", "1e3", "NaN", "Infinity", "٣", [], {}, [1],
     10**18, -(10**18), Decimal("1E+18"), Decimal("1E+400"), Decimal("NaN"), Decimal("Infinity"),
     Decimal("0.1234567890123"), "0.1234567890123", "1" * 19],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(value: object) -> None:
    assert verdict(data={"tokens": value}) in {"not_numeric", "invalid_number"}


def test_a_binary_fraction_is_refused() -> None:
    assert verdict(data={"tokens": 0.1}) == "invalid_data"


def test_negative_values_need_a_meter_that_takes_them() -> None:
    assert verdict(data={"tokens": -1}) == "negative"
    assert verdict(data={"balance": {"now": -1}}) == "taken"


def test_unique_counts_take_texts_and_numbers_only() -> None:
    good: list[object] = ["u1", 7, True]
    bad: list[object] = [None, [], {}]
    assert [verdict(data={"user": user}) for user in good] == ["taken"] * 3
    assert [verdict(data={"user": user}) for user in bad] == ["invalid_value"] * 3


def test_the_pointer_names_the_place() -> None:
    answer = DOOR.judge(event(data={"balance": {"now": "much"}}))
    assert isinstance(answer, Refusal)
    assert answer.pointer == "/data/balance/now"


@pytest.mark.parametrize("key", ["a", "a" * 128, "A-Z_0.9:@/+="])
def test_ids_of_the_alphabet_are_taken(key: str) -> None:
    assert verdict(key=key) == "taken"


@pytest.mark.parametrize("key", ["", "a" * 129, "a b", "é", "a\n", "a\x00", "\u202ea", '"', "ａ"])
def test_other_ids_are_refused(key: str) -> None:
    assert verdict(key=key) == "invalid_id"


@pytest.mark.parametrize("source", ["", "a b", "a\x00", "x" * 256, "\ud800"])
def test_a_source_has_no_blanks_and_an_end(source: str) -> None:
    assert verdict(source=source) == "invalid_source"


def test_times_have_bounds() -> None:
    assert verdict(occurred_at=None) == "invalid_time"
    assert verdict(occurred_at=AT + timedelta(minutes=5)) == "taken"
    assert verdict(occurred_at=AT + timedelta(minutes=5, microseconds=1)) == "in_future"
    assert verdict(occurred_at=AT - timedelta(days=35)) == "taken"
    assert verdict(occurred_at=AT - timedelta(days=35, microseconds=1)) == "too_old"
    assert verdict(occurred_at=datetime(1969, 12, 31, tzinfo=UTC)) == "invalid_time"


def test_an_operator_has_no_age_limit() -> None:
    old = event(occurred_at=datetime(1970, 1, 1, tzinfo=UTC))
    assert DOOR._replace(max_age=None).judge(old) == "{}"


def test_an_event_type_needs_a_meter() -> None:
    assert verdict(type="unheard.of") == "unknown_type"


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


def test_data_has_bounds() -> None:
    keys = {f"k{number}": 1 for number in range(MAX_KEYS)}
    assert verdict(data=keys) == "taken"
    assert verdict(data={**keys, "one": 1}) == "too_many_keys"
    assert verdict(data={"a": [keys]}) == "too_many_keys"
    assert verdict(data=nested(16)) == "taken"
    assert verdict(data=nested(17)) == "too_deep"
    assert verdict(data={"a": "x" * 17_000}) == "too_large"
    assert verdict(data={"a": 10**500}) == "invalid_number"
    assert verdict(data={"a": Decimal("1E-1000")}) == "invalid_number"


def test_what_postgresql_cannot_store_is_refused() -> None:
    assert verdict(data={"a": "nul\x00"}) == "invalid_text"
    assert verdict(data={"a\x00": "nul"}) == "invalid_text"
    assert verdict(data={"a": ["\x00"]}) == "invalid_text"
    assert verdict(data={"a": "\ud800"}) == "invalid_text"
    assert verdict(data={"a": "\\u0000"}) == "taken"


NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**19), max_value=10**19),
    st.from_regex(r"-?[0-9]{1,19}(\.[0-9]{1,13})?", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
    st.booleans(),
    st.none(),
)


@pytest.mark.django_db
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=NUMBERS, negative=st.booleans())
def test_the_database_reads_the_numbers_that_the_door_takes(value: object, negative: bool) -> None:
    text = encode({"value": value})
    if isinstance(text, Refusal):
        return
    stored = msgspec.json.decode(text, type=dict[str, object])
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_number(%s::jsonb -> 'value', %s)", [text, negative])
        (read,) = cursor.fetchone()
    number = number_of(value)
    if number is not None and number < 0 and not negative:
        number = None
    assert read == number, stored
