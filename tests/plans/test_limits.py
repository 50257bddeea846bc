"""Limits that a meter counts against: read, published, kept, and refused where they say nothing."""

from __future__ import annotations

import hashlib
import json

import pytest
from django.db import DatabaseError, transaction

from apps.plans import selectors, services
from apps.plans.catalog import parse_catalog
from apps.plans.errors import CatalogInvalid
from apps.plans.models import Feature, PlanVersion
from apps.plans.report import CatalogReport
from apps.plans.selectors import USUAL_RULES, GrantRules
from tests.conftest import AT, STAFF

LIMITED = """\
currency: USD
applications: [{slug: maps, name: Maps}]
features:
  - {key: tiles, kind: limit, meter: tiles}
  - {key: styles, kind: limit}
meters:
  - {key: tiles, event_type: tile, aggregation: count, unit: tile}
  - {key: largest, event_type: tile, aggregation: max, value: bytes}
plans:
  - {code: maps, application: maps, name: Maps, interval: month, prices: [], entitlements:
      {tiles: {value: 1000, reset: day, on_limit: warn, prepaid: true}, styles: 3}}
"""


pytestmark = pytest.mark.usefixtures("ops")


def loaded(*changes: tuple[str, str]) -> CatalogReport:
    text = LIMITED
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    document = parse_catalog(text, source="maps.yaml")
    return services.load_catalog(document, actor=STAFF, at=AT)


def refusals(*changes: tuple[str, str]) -> list[str]:
    with pytest.raises(CatalogInvalid) as caught:
        loaded(*changes)
    return [problem.message for problem in caught.value.problems]


def test_a_limit_says_what_counts_when_anew_and_what_happens_then() -> None:
    loaded()
    terms = selectors.current_version("maps")
    assert terms.entitlements == {"tiles": 1000, "styles": 3}
    rules = {grant.key: (grant.meter_key, grant.rules) for grant in terms.grants}
    assert rules == {
        "tiles": ("tiles", GrantRules("day", "warn", prepaid=True)),
        "styles": (None, USUAL_RULES),
    }
    assert [grant.key for grant in terms.metered_grants] == ["tiles"]


def test_other_rules_make_a_new_version() -> None:
    loaded()
    report = loaded(("reset: day, on_limit: warn", "reset: month, on_limit: warn"))
    assert [str(change) for change in report.plans[0].changes] == [
        "limits.tiles.reset: day → month"
    ]
    assert report.plans[0].version == 2


def test_usual_rules_leave_the_content_as_it_was_before_there_were_rules() -> None:
    loaded(("{value: 1000, reset: day, on_limit: warn, prepaid: true}", "1000"))
    version = selectors.current_version("maps")
    content = {
        "currency": "USD",
        "interval": {"unit": "month", "count": 1},
        "trial_days": 0,
        "prices": {},
        "entitlements": {"styles": 3, "tiles": 1000},
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    row = PlanVersion.objects.get(pk=version.version_id)
    assert row.content_hash == hashlib.sha256(text.encode()).hexdigest()
    spelled = "{value: 1000, reset: period, on_limit: block, prepaid: false}"
    again = loaded(("{value: 1000, reset: day, on_limit: warn, prepaid: true}", spelled))
    assert not again.changed


def test_a_feature_from_before_may_name_its_meter_once() -> None:
    loaded(
        ("{key: tiles, kind: limit, meter: tiles}", "{key: tiles, kind: limit}"),
        ("{value: 1000, reset: day, on_limit: warn, prepaid: true}", "1000"),
    )
    assert Feature.objects.get(key="tiles").meter is None
    loaded()
    assert Feature.objects.get(key="tiles").meter_id is not None
    other = (
        "{key: largest,",
        "{key: more, event_type: tile, aggregation: count}\n  - {key: largest,",
    )
    kept = refusals(("meter: tiles}", "meter: more}"), other)
    assert kept == ["feature 'tiles' keeps its meter: give the new feature a key of its own"]


def test_the_database_keeps_the_meter_too() -> None:
    loaded()
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        Feature.objects.filter(key="tiles").update(meter=None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("meter: tiles}", "meter: none_such}", "there is no meter 'none_such'"),
        ("meter: tiles}", "meter: largest}", "a limit counts against a meter of count, sum"),
        ("kind: limit, meter: tiles", "kind: switch, meter: tiles", "only a limit has a 'meter'"),
        ("styles: 3", "styles: {value: 3, reset: day}", "'styles' names no meter"),
        ("styles: 3", "styles: {reset: day}", "the entitlement 'styles' needs 'value'"),
        ("reset: day", "reset: daily", "'reset' must be one of none, hour, day"),
        ("on_limit: warn", "on_limit: stop", "'on_limit' must be one of allow, warn, block"),
        ("prepaid: true", "prepaid: 1", "'prepaid' must be true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(old: str, new: str, said: str) -> None:
    assert any(said in message for message in refusals((old, new)))
    assert not PlanVersion.objects.exists()
