"""Meters by dimension: filtered measurements are exact, from buckets wherever they can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import filtering, selectors, services
from apps.usage.errors import InvalidMeter, MeterChanged
from apps.usage.models import UsageBucket
from apps.usage.selectors import Claim, Measured, Want
from tests.conftest import AT, STAFF, make_organization
from tests.usage.conftest import event, take
from tests.usage.test_rollup import as_owner, differences, settle

HOUR = timedelta(hours=1)
END = datetime(2026, 4, 1, tzinfo=UTC)
LATER = datetime(2026, 4, 2, tzinfo=UTC)
KINDS = ("count", "sum", "max", "min", "avg", "unique_count", "latest", "weighted_sum")


def define(kind: str, **options: Any) -> None:
    options.setdefault("dimensions", ["model", "place.region"])
    value = {"count": "", "unique_count": "user"}.get(kind, "tokens")
    with rls.ops_scope("test"):
        services.define_meter(
            f"m_{kind}", event_type="ai.request", aggregation=kind, value=value, actor=STAFF,
            at=AT, **options,
        )  # fmt: skip


def measure(
    organization: Organization, *kinds: str, end: datetime = END, **asked: Any
) -> list[Measured]:
    wants = [Want(f"m_{kind}", AT, end, **asked) for kind in kinds]
    with rls.tenant_scope(organization.pk):
        return selectors.measure(organization.pk, wants)


def quantities(organization: Organization, **asked: Any) -> dict[str, Decimal]:
    found = measure(organization, *KINDS, **asked)
    return {kind: one.quantity for kind, one in zip(KINDS, found, strict=True)}


pytestmark = pytest.mark.usefixtures("event_store")


@pytest.fixture
def acme(committed_db: str) -> Organization:
    for kind in KINDS:
        define(kind)
    acme = make_organization("acme")
    take(
        acme,
        event(AT, model="large", place={"region": "eu"}, tokens=10, user="a"),
        event(AT + HOUR, model="large", place={"region": "us"}, tokens=20, user="b"),
        event(AT + HOUR, model="small", place={"region": "eu"}, tokens=3, user="a"),
        event(AT + 2 * HOUR, model=7, tokens=1, user="c"),
        event(AT + 2 * HOUR, tokens=2),
        at=LATER,
    )
    return acme


@pytest.mark.committed
@pytest.mark.parametrize(
    ("asked", "counted"),
    [
        ({}, 5),
        ({"include": {"model": ["large"]}}, 2),
        ({"include": {"model": ["large", "small"], "place.region": ["eu"]}}, 2),
        ({"include": {"model": ["7"]}}, 1),
        ({"include": {"model": []}}, 0),
        ({"exclude": ({"model": ["large"]},)}, 3),
        ({"exclude": ({"model": ["large"], "place.region": ["eu"]}, {"model": ["7"]})}, 3),
        ({"include": {"model": ["large"]}, "exclude": ({"place.region": ["us"]},)}, 1),
        ({"include": {"user": ["a"]}}, 2),
        ({"include": {"model": ["large"], "user": ["a"]}}, 1),
    ],
)
def test_a_filter_counts_the_same_before_and_after_the_roll_up(
    acme: Organization, asked: dict[str, Any], counted: int
) -> None:
    before = measure(acme, *KINDS, **asked)
    assert before[0].event_count == before[0].quantity == counted
    claims = [
        (acme.pk, Claim(Want(f"m_{kind}", AT, END, **asked), one.epoch, one.snapshot))
        for kind, one in zip(KINDS, before, strict=True)
    ]
    settle()
    after = measure(acme, *KINDS, **asked)
    assert [(one.quantity, one.hash) for one in after] == [
        (one.quantity, one.hash) for one in before
    ]
    take(acme, event(AT, model="large", place={"region": "eu"}, user="a", tokens=50), at=LATER)
    with rls.tenant_scope(acme.pk):
        assert selectors.recount_all(claims) == before
    assert differences() == []


@pytest.mark.committed
def test_every_aggregation_counts_what_passes(acme: Organization) -> None:
    settle()
    assert quantities(acme, include={"model": ["large"]}) == {
        "count": 2,
        "sum": 30,
        "max": 20,
        "min": 10,
        "avg": 15,
        "unique_count": 2,
        "latest": 20,
        # 30 but for the first hour of 744, in which 20 are missing
        "weighted_sum": Decimal("29.973118279570"),
    }


@pytest.mark.committed
@pytest.mark.rows_of_postgresql
def test_a_filter_by_dimensions_reads_no_rolled_up_event(acme: Organization) -> None:
    """They are gone, by force; the buckets still know them."""
    settle()
    with as_owner() as owner:
        owner.execute("DELETE FROM usage_event")
    for kind, quantity in {"count": 2, "sum": 30, "avg": 15, "max": 20, "latest": 20}.items():
        [found] = measure(acme, kind, include={"model": ["large"]})
        assert found.quantity == quantity
    assert measure(acme, "sum", include={"user": ["a"]})[0].quantity == 0  # no dimension


@pytest.mark.committed
def test_other_dimensions_make_other_buckets_and_the_same_sums(acme: Organization) -> None:
    settle()
    before = quantities(acme, include={"model": ["large"]})
    for kind in KINDS:
        define(kind, dimensions=["user"])
    assert quantities(acme, include={"model": ["large"]}) == before
    assert differences() == []
    slices = UsageBucket.objects.filter(meter__key="m_sum").values_list("slice", flat=True)
    with rls.ops_scope("test"):
        assert sorted(str(one["user"]) for one in slices) == ["None", "a", "a", "b", "c"]
    take(acme, event(AT, model="large", tokens=70, user="a"), at=LATER)
    settle()
    assert measure(acme, "sum", include={"user": ["a"]})[0].quantity == 83
    assert differences() == []


@pytest.mark.committed
def test_a_voided_event_leaves_its_slice(acme: Organization) -> None:
    take(acme, event(AT, key="wrong", model="large", tokens=100, user="x"), at=LATER)
    settle()
    with rls.tenant_scope(acme.pk):
        services.void_event(acme.pk, event="wrong", source="test", actor=STAFF, at=LATER)
    right = {"count": 2, "sum": 30, "max": 20, "min": 10, "avg": 15, "unique_count": 2}
    for _ in range(2):
        found = quantities(acme, include={"model": ["large"]})
        assert {kind: found[kind] for kind in right} == right
        settle()
    assert differences() == []


@pytest.mark.usefixtures("db")
def test_a_long_value_is_a_dimension_too(organization: Organization) -> None:
    define("sum")
    long, other = "m" * 16_000, "m" * 15_999
    take(organization, event(AT, model=long, tokens=1), event(AT, model=other, tokens=2))
    assert measure(organization, "sum", include={"model": [long]})[0].quantity == 1
    for text in (long, "ä" * 50, "ä" * 51, "a", "1.0"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_dimension(to_jsonb(%s::text))", [text])
            assert cursor.fetchone() == (filtering.dimension(text),)


@pytest.mark.usefixtures("db")
def test_a_meter_may_count_some_events_only(organization: Organization) -> None:
    define("sum", include={"model": ["large"]}, exclude=[{"place.region": ["us"]}])
    take(
        organization,
        event(AT, model="large", tokens=1),
        event(AT, model="large", place={"region": "us"}, tokens=2),
        event(AT, model="small", tokens=4),
    )
    [found] = measure(organization, "sum")
    assert found.quantity == found.event_count == 1
    with rls.ops_scope("test"), pytest.raises(MeterChanged):
        define("sum", include={"model": ["small"]})


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "options",
    [
        {"dimensions": ["model", "model"]},
        {"dimensions": [f"d{n}" for n in "abcdefghi"]},
        {"dimensions": ["a..b"]},
        {"dimensions": ["x" * 101]},
        {"include": {"a b": ["c"]}},
    ],
)
def test_dimensions_that_cannot_be_kept_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidMeter):
        define("sum", **options)


def test_a_filter_has_one_form() -> None:
    one = filtering.document({"b": ["2", "1", "1"], "a": []}, [{"d": ["1"]}, {"c": ["1"]}])
    assert one == {"include": {"a": [], "b": ["1", "2"]}, "exclude": [{"c": ["1"]}, {"d": ["1"]}]}
    assert filtering.document({}) == {}
    assert filtering.paths(one) == {"a", "b", "c", "d"}


@pytest.mark.usefixtures("db")
def test_the_evidence_names_the_filter(organization: Organization) -> None:
    define("sum")
    [plain] = measure(organization, "sum")
    [asked] = measure(organization, "sum", include={"model": ["b", "a"]})
    assert "filter" not in plain.evidence()
    assert asked.evidence()["filter"] == {"include": {"model": ["a", "b"]}}


@pytest.mark.usefixtures("db")
def test_a_level_is_carried_over_and_weighted_by_time(organization: Organization) -> None:
    define("weighted_sum", allow_negative=True)
    take(
        organization,
        event(AT - 48 * HOUR, tokens=10),
        event(AT + 6 * HOUR, tokens=5),
        event(AT + 18 * HOUR, tokens=-15),
        at=LATER,
    )
    # 10 for 6 hours, 15 for 12, 0 for 6
    assert measure(organization, "weighted_sum", end=AT + 24 * HOUR)[0].quantity == 10
    assert measure(organization, "weighted_sum", end=AT + 6 * HOUR)[0].quantity == 10
    assert measure(organization, "weighted_sum", end=AT)[0].quantity == 0
    third = measure(organization, "weighted_sum", end=AT + 9 * HOUR)[0].quantity
    assert third == Decimal("11.666666666667")


@pytest.mark.usefixtures("db")
def test_readings_are_the_measured_events_in_their_order(organization: Organization) -> None:
    define("sum")
    take(
        organization,
        event(AT + HOUR, key="later", model="large", tokens=2, amount=Decimal("0.10")),
        event(AT, key="first", model="large", tokens=1),
        event(AT + HOUR, key="tie", model="large"),
        event(AT, model="small", tokens=4),
        at=LATER,
    )
    want = Want("m_sum", AT, END, include={"model": ["large"]})
    with rls.tenant_scope(organization.pk):
        [claimed] = selectors.measure(organization.pk, [want])
        found = selectors.readings(organization.pk, want)
        assert [(one.occurred_at, one.value) for one in found] == [
            (AT, 1), (AT + HOUR, 2), (AT + HOUR, None),
        ]  # fmt: skip
        assert found[1].data["amount"] == Decimal("0.10")
        assert claimed.event_count == len(found)


@pytest.mark.committed
def test_readings_of_a_claim_do_not_change(committed_db: str) -> None:
    define("sum")
    acme = make_organization("acme")
    take(acme, event(AT, key="a", tokens=1), event(AT, tokens=2))
    want = Want("m_sum", AT, END)
    [claimed] = measure(acme, "sum")
    claim = Claim(want, claimed.epoch, claimed.snapshot)
    with rls.tenant_scope(acme.pk):
        before = selectors.readings(acme.pk, claim)
        services.void_event(acme.pk, event="a", source="test", actor=STAFF, at=AT)
    take(acme, event(AT, tokens=4))
    with rls.tenant_scope(acme.pk):
        assert selectors.readings(acme.pk, claim) == before
        assert [one.value for one in selectors.readings(acme.pk, want)] == [2, 4]
