"""Whatever has happened, licence and access decision say the same at the same instant."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.core import rls
from apps.core.errors import DomainError
from apps.entitlements import services as entitlements
from apps.licensing import services
from apps.licensing.content import camel
from apps.licensing.errors import NotLicensed
from apps.licensing.selectors import Standing
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.subscriptions.services import rows
from apps.subscriptions.states import CANCELED, TRANSITIONS
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.entitlements import maps
from tests.entitlements.maps import check, use
from tests.licensing.world import judge

FEATURES = ("tiles", "exports", "viewers", "styles", "offline", "support", "history", "none_such")
UNCOUNTED = {"styles"}
VALUES: dict[str, tuple[Any, ...]] = {
    "tiles": (0, 7, None),
    "styles": (0, 5, None),
    "offline": (True, False),
    "history": (True, False),
    "support": ("gold", "standard"),
}
Dice = random.Random


def claims_of_all(organization: Organization, at: datetime) -> Mapping[str, Any]:
    """What the licences of all applications say, together; nothing where there is none."""
    said: dict[str, Any] = {}
    for application in ("maps", "routes"):
        try:
            with rls.tenant_scope(organization.pk):
                found = services.issue_license(
                    organization.pk, application=application, actor=STAFF, at=at
                )
        except NotLicensed:
            continue
        assert judge(organization, found.token, at=at).standing == Standing.OK
        for part in (found.claims["features"], found.claims["limits"]):
            assert all(said.get(name, value) == value for name, value in part.items())
            said |= part
    return said


def disagreements(organization: Organization, at: datetime) -> list[str]:
    """The features of which the licences say otherwise than the decision."""
    said = claims_of_all(organization, at)
    return [key for key in FEATURES if not agrees(organization, key, said, at)]


def agrees(organization: Organization, key: str, said: Mapping[str, Any], at: datetime) -> bool:
    decision = check(organization, key, at=at)
    if camel(key) not in said:
        return not decision.allowed and decision.held is None
    value = said[camel(key)]
    if isinstance(value, bool):
        return decision.allowed is value
    if key in UNCOUNTED:
        return _reaches_to(organization, key, value, at)
    return decision.held is not None and decision.value == value


def _reaches_to(organization: Organization, key: str, value: int | None, at: datetime) -> bool:
    if value is None:
        return check(organization, key, 10**15, at=at).allowed
    inside = check(organization, key, value, at=at).allowed
    return inside and not check(organization, key, value + 1, at=at).allowed


def live(organization: Organization) -> list[SubscriptionFacts]:
    with rls.tenant_scope(organization.pk):
        return agreements.of_organization(organization.pk, live=True)


def subscribe(organization: Organization, dice: Dice, at: datetime) -> None:
    maps.subscribe(organization, dice.choice(["maps", "maps-try", "routes"]), start=at)


def add(organization: Organization, dice: Dice, at: datetime) -> None:
    one = dice.choice(live(organization))
    subscriptions.add_item(one.public_id, plan="maps-more", actor=STAFF, at=at)


def override(organization: Organization, dice: Dice, at: datetime) -> None:
    one, feature = dice.choice(live(organization)), dice.choice(sorted(VALUES))
    entitlements.override_entitlement(
        one.public_id,
        feature=feature,
        value=dice.choice(VALUES[feature]),
        reason="x",
        actor=STAFF,
        at=at,
    )


def change_state(organization: Organization, dice: Dice, at: datetime) -> None:
    one = dice.choice(live(organization))
    after = [to for before, to in TRANSITIONS if before == one.status and to != CANCELED]
    rows.go(subscriptions.lock(one.id), dice.choice(after), actor=STAFF, at=at)


def change_plan(organization: Organization, dice: Dice, at: datetime) -> None:
    one = dice.choice(live(organization))
    plan = dice.choice(["maps", "maps-try", "routes"])
    subscriptions.change_plan(one.public_id, plan=plan, actor=STAFF, at=at)


def cancel(organization: Organization, dice: Dice, at: datetime) -> None:
    one = dice.choice(live(organization))
    when: Any = dice.choice(["now", "period_end"])
    subscriptions.cancel(one.public_id, when=when, actor=STAFF, at=at)


def work(organization: Organization, dice: Dice, at: datetime) -> None:
    use(organization, dice.randrange(1, 30), at=at)


ACTS: tuple[Callable[[Organization, Dice, datetime], None], ...] = (
    subscribe, add, override, override, override, change_state, change_plan, cancel, work,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_licence_and_decision_say_the_same_after_every_act(
    shop_of_maps: None, organization: Organization, seed: int
) -> None:
    dice, at = Dice(seed), maps.START
    assert disagreements(organization, at) == []
    maps.subscribe(organization, start=at)
    told = []
    for _ in range(10):
        at += timedelta(hours=dice.randrange(1, 200))
        act = dice.choice(ACTS)
        try:
            with rls.tenant_scope(organization.pk):
                act(organization, dice, at)
        except (DomainError, IndexError) as refusal:  # no such act now: that, too, is a state
            told.append(f"{act.__name__}: {refusal}")
        else:
            told.append(act.__name__)
        assert disagreements(organization, at) == [], told


@pytest.mark.parametrize(
    ("key", "wrong"), [("tiles", 99), ("styles", 4), ("offline", False), ("support", "gold")]
)
def test_the_comparison_sees_a_difference(
    shop_of_maps: None, organization: Organization, key: str, wrong: Any
) -> None:
    maps.subscribe(organization)
    said = claims_of_all(organization, maps.NOW)
    assert agrees(organization, key, said, maps.NOW)
    assert not agrees(organization, key, {**said, key: wrong}, maps.NOW)
    without = {name: value for name, value in said.items() if name != key}
    assert not agrees(organization, key, without, maps.NOW)
