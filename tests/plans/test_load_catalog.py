"""Loading a catalogue: new versions for what is fixed, words in place, nothing twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.audit.models import AuditEntry
from apps.core import outbox
from apps.core.actor import Actor
from apps.core.errors import Forbidden
from apps.core.models import OutboxEvent
from apps.plans import selectors, services
from apps.plans.catalog import parse_catalog
from apps.plans.document import CatalogDocument
from apps.plans.errors import CatalogInvalid
from apps.plans.events import PlanVersionPublished
from apps.plans.models import Entitlement, Feature, Plan, PlanVersion, Price
from apps.plans.report import CatalogReport, Outcome
from apps.tenants import selectors as tenants
from tests.conftest import AT, STAFF
from tests.plans.samples import gateway

pytestmark = pytest.mark.usefixtures("ops")

AMOUNT = 'amount: "50.00"'
LATER = AT + timedelta(days=1)
ROWS = (Feature, Plan, PlanVersion, Price, Entitlement)


def load(document: CatalogDocument, *, dry_run: bool = False) -> CatalogReport:
    return services.load_catalog(document, actor=STAFF, at=AT, dry_run=dry_run)


def everything() -> list[object]:
    return [[*model._default_manager.order_by("pk").values()] for model in ROWS]


def refusals(document: CatalogDocument) -> list[tuple[int, int, str]]:
    """Load what must be refused; nothing may have changed."""
    before = everything()
    with pytest.raises(CatalogInvalid) as caught:
        load(document)
    assert everything() == before
    return [(p.place.line, p.place.column, p.message) for p in caught.value.problems]


def changes(report: CatalogReport) -> list[str]:
    return [str(change) for change in report.plans[0].changes]


def test_a_first_load_publishes_version_1() -> None:
    report = load(gateway())
    [plan] = report.plans
    assert (plan.code, plan.outcome, plan.version, plan.changes) == ("gateway", "created", 1, ())
    assert {entry.outcome for entry in report.definitions} == {Outcome.CREATED}
    terms = selectors.current_version("gateway")
    assert (terms.number, terms.currency, terms.status) == (1, "USD", "published")
    assert [price.key for price in terms.prices] == [
        "base",
        "seats",
        "ai_requests",
        "context_tokens",
        "generated_tokens",
    ]
    assert terms.entitlements == {"max_devices": 50, "can_export": True}
    assert terms.price("ai_requests").name == "AI requests"


def test_loading_again_changes_nothing_and_says_so() -> None:
    load(gateway())
    before, facts = everything(), OutboxEvent.objects.count()
    entries = AuditEntry.objects.count()
    report = load(gateway())
    assert not report.changed
    assert report.plans[0].outcome is Outcome.UNCHANGED
    assert everything() == before
    assert OutboxEvent.objects.count() == facts
    assert AuditEntry.objects.count() == entries


def test_a_changed_price_makes_version_2_and_leaves_version_1_as_it_was() -> None:
    load(gateway())
    first = selectors.current_version("gateway")
    report = services.load_catalog(gateway((AMOUNT, "amount: 60")), actor=STAFF, at=LATER)
    assert (report.plans[0].outcome, report.plans[0].version) == (Outcome.NEW_VERSION, 2)
    assert changes(report) == ["prices.base.amount: 50 → 60"]
    second = selectors.current_version("gateway")
    assert second.number == 2
    assert second.price("base").terms.as_dict()["amount"] == "60"
    kept = selectors.version_terms(first.version_id)
    assert kept.status == "retired"
    assert (kept.prices, kept.entitlements) == (first.prices, first.entitlements)
    assert [version.number for version in selectors.plan_versions("gateway")] == [2, 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("interval: month", "interval: {unit: month, count: 3}", "interval: month → 3 × month"),
        ("interval: month", "interval: month\n    trial_days: 14", "trial_days: 0 → 14"),
        ("interval: month", "interval: month\n    currency: EUR", "currency: USD → EUR"),
        ("max_devices: 50", "max_devices: null", "entitlements.max_devices: 50 → unlimited"),
        (", can_export: true}", "}", "entitlements.can_export: removed"),
        ("can_export: true}", "can_export: false}", "entitlements.can_export: true → false"),
        ("included: 3", "included: 5", "prices.seats.included: 3 → 5"),
        ("included: 3", "timing: arrears, included: 3", "prices.seats.timing: advance → arrears"),
        ("5000000", "5_000_001", "prices.context_tokens.tiers[0].up_to: 5000000 → 5000001"),
        ("meter: ai_requests", "meter: context_tokens",
         "prices.ai_requests.meter: ai_requests → context_tokens"),
        ("key: base", "key: fee", "prices.base: removed"),
    ],
)  # fmt: skip
def test_each_thing_that_is_fixed_makes_a_new_version(old: str, new: str, said: str) -> None:
    load(gateway())
    report = load(gateway((old, new)))
    assert report.plans[0].version == 2
    assert said in changes(report)


def test_an_added_price_is_told_with_its_terms() -> None:
    load(gateway())
    report = load(
        gateway(
            (
                "      - {key: seats",
                "      - {key: help, type: flat, amount: 9}\n      - {key: seats",
            )
        )
    )
    assert changes(report) == [
        "prices.help: added, type flat, timing advance, included 0, model flat, amount 9"
    ]


def test_going_back_to_an_earlier_content_is_a_new_version_again() -> None:
    load(gateway())
    load(gateway((AMOUNT, "amount: 60")))
    assert load(gateway()).plans[0].version == 3
    hashes = list(PlanVersion.objects.order_by("number").values_list("content_hash", flat=True))
    assert hashes[0] == hashes[2] != hashes[1]


def test_another_spelling_of_the_same_amount_is_no_change() -> None:
    load(gateway())
    assert not load(
        gateway((AMOUNT, "amount: 5e1"), ("included: 5000", "included: 5_000.0"))
    ).changed


def test_words_change_in_place() -> None:
    load(gateway())
    first = selectors.current_version("gateway")
    report = load(
        gateway(
            ("name: Gateway", "name: Gate\n    description: All models.\n    industries: [hs]"),
            ("key: base, type", "key: base, name: Basic fee, type"),
        )
    )
    assert (report.plans[0].outcome, report.plans[0].version) == (Outcome.UPDATED, 1)
    assert changes(report) == [
        "name: Gateway → Gate",
        "description: added, All models.",
        "industries: added, hs",
        "prices.base.name: Base → Basic fee",
    ]
    now = selectors.current_version("gateway")
    assert now.version_id == first.version_id
    assert (now.plan_name, now.price("base").name) == ("Gate", "Basic fee")


def test_words_that_a_file_leaves_out_stay_for_what_files_share() -> None:
    load(gateway(("{key: max_devices", "{name: Devices, description: Real ones, key: max_devices")))
    assert not load(gateway()).changed
    found = {feature.key: feature for feature in selectors.features()}
    assert (found["max_devices"].name, found["max_devices"].description) == ("Devices", "Real ones")
    assert found["can_export"].name == "Can export"


def test_plans_absent_from_the_file_stay() -> None:
    load(gateway())
    other = gateway(("code: gateway", "code: other"))
    assert load(other).plans[0].outcome is Outcome.CREATED
    assert {plan.code for plan in selectors.list_plans()} == {"gateway", "other"}


def test_a_file_may_refer_to_what_another_file_defined() -> None:
    load(gateway())
    terms = "model: per_unit, unit_amount: 1"
    text = f"""
currency: USD
plans:
  - code: extra
    application: gateway
    name: Extra
    interval: month
    prices: [{{key: n, type: metered, meter: ai_requests, {terms}}}]
    entitlements: {{max_devices: 1}}
"""
    assert load(parse_catalog(text, source="extra.yaml")).plans[0].outcome is Outcome.CREATED


def test_what_does_not_exist_is_named_with_its_place() -> None:
    document = gateway(
        ("application: gateway", "application: gatewax"),
        ("meter: ai_requests,", "meter: requests,"),
        ("max_devices: 50", "devices: 50"),
    )
    assert [(line, column) for line, column, _ in refusals(document)] == [
        (10, 18),
        (16, 50),
        (20, 20),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_devices: 50", "max_devices: true", "whole number without quotes, or null"),
        ("max_devices: 50", 'max_devices: "50"', "whole number without quotes, or null"),
        ("max_devices: 50", "max_devices: 1.5", "whole number without quotes, or null"),
        ("can_export: true}", "can_export: yes}", "true or false"),
        ("can_export: true}", "can_export: null}", "true or false"),
    ],
)
def test_a_grant_has_to_suit_its_feature(old: str, new: str, said: str) -> None:
    [(line, _, message)] = refusals(gateway((old, new)))
    assert line == 20
    assert said in message


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("aggregation: count", "aggregation: sum, value: n", 61),
        ("key: ai_requests, event_type: ai.request", "key: ai_requests, event_type: other", 36),
        ("aggregation: count", "aggregation: count, allow_negative: true", 84),
    ],
)
def test_a_meter_changed_in_meaning_is_refused_with_its_line(
    old: str, new: str, column: int
) -> None:
    load(gateway())
    [(line, at, message)] = refusals(gateway((old, new), (AMOUNT, "amount: 60")))
    assert (line, at) == (5, column)
    assert "ai_requests" in message


def test_what_the_meters_room_refuses_is_told_with_its_line() -> None:
    document = gateway(("value: context_tokens", "value: 0.tokens"), ("key: can_export", "key: x"))
    assert [(line, column) for line, column, _ in refusals(document)] == [(6, 76), (20, 37)]


def test_words_of_a_meter_change_in_place_and_stay_when_left_out() -> None:
    load(gateway())
    report = load(gateway(("aggregation: count", "aggregation: count, unit: request")))
    assert [str(entry.outcome) for entry in report.definitions if entry.key == "ai_requests"] == [
        "updated"
    ]
    assert report.plans[0].outcome is Outcome.UNCHANGED
    assert not load(gateway()).changed
    assert selectors.current_version("gateway").price("ai_requests").unit == "request"


def test_a_feature_keeps_its_kind_and_a_plan_its_application() -> None:
    load(gateway())
    [(line, _, message)] = refusals(
        gateway(("kind: limit", "kind: seats"), ("max_devices: 50", "max_devices: 60"))
    )
    assert line == 3
    assert "of kind limit" in message
    moved = gateway(
        ("{slug: gateway, name: AI Gateway}", "{slug: gateway2, name: AI Gateway}"),
        ("application: gateway", "application: gateway2\n    kind: add_on"),
    )
    assert [line for line, _, _ in refusals(moved)] == [9, 10]
    assert tenants.find_application("gateway2") is None


def test_a_dry_run_says_what_would_change_and_changes_nothing() -> None:
    load(gateway())
    before, facts = everything(), OutboxEvent.objects.count()
    report = load(gateway((AMOUNT, "amount: 60")), dry_run=True)
    assert (report.dry_run, report.changed, report.plans[0].version) == (True, True, 2)
    assert changes(report) == ["prices.base.amount: 50 → 60"]
    assert everything() == before
    assert OutboxEvent.objects.count() == facts
    assert load(gateway((AMOUNT, "amount: 60"))).plans[0].version == 2


def test_only_who_manages_the_catalogue_may_load_it() -> None:
    nobody = Actor("user", "usr_x", "somebody")
    with pytest.raises(Forbidden):
        services.load_catalog(gateway(), actor=nobody, at=AT)
    assert not Plan.objects.exists()


def test_a_publication_is_told_and_recorded() -> None:
    load(gateway())
    version = selectors.current_version("gateway")
    name = outbox.name_of(PlanVersionPublished)
    [fact] = OutboxEvent.objects.filter(name=name)
    assert fact.payload == {
        "plan_version_id": version.public_id,
        "plan_code": "gateway",
        "number": 1,
    }
    actions = {entry.action: entry for entry in AuditEntry.objects.filter(organization_id=None)}
    assert actions["plan_version.published"].target == version.public_id
    assert actions["plan_version.published"].after["prices"]["base"]["terms"]["amount"] == "50"
    assert actions["plan.created"].target == version.plan_public_id


def test_a_change_is_recorded_with_what_was_and_what_is() -> None:
    load(gateway())
    load(gateway((AMOUNT, "amount: 60"), ("name: Gateway", "name: Gate")))
    [entry] = [
        entry
        for entry in AuditEntry.objects.filter(organization_id=None)
        if entry.action == "plan.updated"
    ]
    assert entry.before == {"name": "Gateway", "prices.base.amount": "50"}
    assert entry.after == {"name": "Gate", "prices.base.amount": "60"}
