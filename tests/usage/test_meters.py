"""A meter means one thing for ever."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden
from apps.usage import selectors, services
from apps.usage.errors import InvalidMeter, MeterChanged, UnknownMeter
from apps.usage.models import Meter
from tests.conftest import AT, STAFF

TOKENS = {"event_type": "ai.request", "aggregation": "sum", "value": "tokens"}


def define(key: str = "tokens", *, actor: Actor = STAFF, **changes: Any) -> Meter:
    meant: dict[str, Any] = {**TOKENS, **changes}
    return services.define_meter(key, **meant, actor=actor, at=AT)


@pytest.mark.usefixtures("ops")
def test_the_same_definition_changes_nothing() -> None:
    assert define() == define()
    assert Meter.objects.count() == 1


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    "change",
    [{"event_type": "other"}, {"aggregation": "max"}, {"value": "other"}, {"allow_negative": True}],
)
def test_another_meaning_is_refused(change: dict[str, Any]) -> None:
    before = define()
    with pytest.raises(MeterChanged, match="give the new meaning a new key"):
        define(**change)
    before.refresh_from_db()
    assert (before.event_type, before.aggregation, before.value) == ("ai.request", "sum", "tokens")


@pytest.mark.usefixtures("ops")
def test_words_may_change() -> None:
    define(unit="token")
    meter = define(unit="tokens", description="What went in.")
    assert (meter.unit, meter.description) == ("tokens", "What went in.")
    assert selectors.get_meter("tokens").unit == "tokens"


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    "change",
    [{"key": "Tokens"}, {"key": ""}, {"event_type": ""}, {"event_type": "a b"}, {"value": ""},
     {"aggregation": "median"}, {"aggregation": "count"}, {"value": "a..b"}, {"value": "a.0"},
     {"value": "a,b"}, {"value": "{a}"}],
)  # fmt: skip
def test_a_definition_that_cannot_count_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidMeter):
        define(**change)
    assert not Meter.objects.exists()


@pytest.mark.usefixtures("ops")
def test_an_unknown_meter_is_said() -> None:
    assert selectors.find_meter("nothing") is None
    with pytest.raises(UnknownMeter):
        selectors.get_meter("nothing")


@pytest.mark.usefixtures("ops")
def test_only_the_catalogues_keepers_define_meters() -> None:
    member = Actor("user", "usr_1", "OWNER", 1, frozenset({"manage_billing"}))
    with pytest.raises(Forbidden):
        define(actor=member)


@pytest.mark.django_db
def test_a_tenants_scope_cannot_write_meters() -> None:
    with pytest.raises(DatabaseError, match="permission denied"), rls.tenant_scope(1):
        define()
