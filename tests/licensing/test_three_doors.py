"""One decision at three doors: verify-seat, access/check and a licence signed at that instant.

A person and an organization live through random acts; ends come that nobody has processed. After
each the doors are asked about each application, and must say the same of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core import clock, outbox, rls
from apps.core.errors import DomainError
from apps.entitlements import selectors as entitlements
from apps.entitlements import services as overrides
from apps.invoicing import services as billing
from apps.licensing import services as licensing
from apps.licensing.content import camel
from apps.licensing.errors import NotLicensed
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.seats import selectors as seats
from apps.seats import services as seating
from apps.seats.verifying import Reason
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import is_only_a_trial
from apps.subscriptions.selectors import SubscriptionFacts
from apps.subscriptions.services import rows
from apps.subscriptions.states import CANCELED, PAUSED, TRANSITIONS
from apps.tenants.models import Organization, User
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import make_key, make_member

START = datetime(2026, 3, 1, tzinfo=UTC)
APPLICATIONS = ("studio", "stage")
CATALOG = """
currency: USD
applications: [{slug: studio, name: Studio}, {slug: stage, name: Stage}]
features:
  - {key: tracks, kind: limit}
  - {key: exports, kind: limit, meter: exports}
  - {key: offline, kind: switch}
  - {key: support, kind: config}
  - {key: max_devices, kind: limit}
meters: [{key: exports, event_type: export, aggregation: count}]
plans:
  - {code: band, application: studio, name: Band, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}],
     entitlements: {tracks: 24, exports: 100, offline: true, support: standard, max_devices: 3}}
  - {code: solo, application: studio, name: Solo, interval: month, trial_days: 9, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "4.00"}],
     entitlements: {tracks: 8, exports: 10, offline: false}}
  - {code: look, application: studio, name: Look, interval: month, trial_days: 9,
     prices: [], entitlements: {tracks: 2}}
  - {code: more, kind: add_on, application: studio, name: More, interval: month, prices: [
      {key: more, type: flat, amount: "5.00"}], entitlements: {tracks: 16, max_devices: 2}}
  - {code: tour, application: stage, name: Tour, interval: month, prices: [
      {key: crew, type: licensed, model: per_unit, unit_amount: "7.00"}],
     entitlements: {exports: {value: 500, on_limit: warn}, support: gold}}
"""
# What verify-seat says of the agreement, and not of the person.
OF_THE_AGREEMENT = {
    Reason.NO_SUBSCRIPTION, Reason.NOT_STARTED, Reason.INCOMPLETE, Reason.PAUSED, Reason.UNPAID,
    Reason.CANCELED,
}  # fmt: skip
VALUES: Mapping[str, tuple[Any, ...]] = {
    "tracks": (0, 99, None), "exports": (0, 7), "offline": (True, False), "support": ("gold",),
}  # fmt: skip
Dice = random.Random


class Story:
    """An organization with two people, and the keys that its applications ask with."""

    def __init__(self, organization: Organization, people: list[User], dice: Dice) -> None:
        self.organization, self.people, self.dice = organization, people, dice
        self.api, self.at = Api(make_key(None, at=START)), START

    def live(self) -> SubscriptionFacts:
        """Any of its agreements that have not ended."""
        return self.dice.choice(agreements.of_organization(self.organization.pk, live=True))

    def granting(self, application: str) -> list[SubscriptionFacts]:
        """Its agreements about the application that grant something now."""
        with rls.tenant_scope(self.organization.pk):
            found = entitlements.holdings(self.organization.pk, at=self.at).granting
        return [one for one in found if one.version.application_slug == application]

    def may(self, application: str) -> Mapping[str, Any]:
        """What an access check says of each feature of the application that anything grants."""
        with rls.tenant_scope(self.organization.pk):
            held = entitlements.holdings(self.organization.pk, at=self.at)
            mine = self.granting(application)
            keys = [one.feature.key for facts in mine for one in held.granted_by(facts)]
        return {key: self._checked(key) for key in keys}

    def _checked(self, key: str) -> Any:
        """The value that `POST /access/check` names; nothing set aside or used is in the way."""
        asked = {"feature": key, "organization": self.organization.public_id, "amount": "0"}
        with clock.frozen(self.at):
            return self.api.post("access/check", asked).json()["value"]

    def sits(self, person: User, application: str) -> Mapping[str, Any]:
        """What verify-seat says of the person, entitlements included."""
        asked = {
            "user_id": person.public_id,
            "application_slug": application,
            "external_org_id": self.organization.public_id,
            "include": ["entitlements"],
        }
        with clock.frozen(self.at):
            found: dict[str, Any] = self.api.post("verify-seat", asked).json()
            return found

    def licence(self, application: str) -> Mapping[str, Any] | None:
        """The claims of a licence signed now; None where there is none."""
        with rls.tenant_scope(self.organization.pk):
            try:
                return licensing.issue_license(
                    self.organization.pk, application=application, actor=STAFF, at=self.at
                ).claims
            except NotLicensed:
                return None

    def only_tries(self, application: str) -> bool:
        """Whether a bare trial is over: nobody can sit in one, which is all that is said of it."""
        with rls.tenant_scope(self.organization.pk):
            live = agreements.of_organization(self.organization.pk, live=True)
        mine = [one for one in live if one.version.application_slug == application]
        return any(is_only_a_trial(one.version) for one in mine) and not self.granting(application)

    def seats_of(self, person: User, application: str) -> set[int]:
        """The agreements about the application in which the person has a seat."""
        with rls.tenant_scope(self.organization.pk):
            mine = seats.seats(self.organization.pk).filter(user=person)
            return {one.subscription_id for one in mine if one.application.slug == application}


def disagreements(story: Story) -> list[str]:
    """Say where the doors differ."""
    found = []
    for application in APPLICATIONS:
        may, licence = story.may(application), story.licence(application)
        if (licence is None) == bool(may):
            found.append(f"{application}: granted {may}, licensed {licence}")
        signed = {} if licence is None else {**licence["features"], **licence["limits"]}
        if signed != {camel(key): value for key, value in may.items()}:
            found.append(f"{application}: granted {may}, signed {signed}")
        for person in story.people:
            said = story.sits(person, application)
            found += [f"{application}: {why}" for why in _of_a_person(said, may, licence)]
            sits = story.seats_of(person, application)
            open_ones = {one.id for one in story.granting(application)}
            if said["has_access"] != bool(sits & open_ones):
                found.append(f"{application}: sits in {sits}, granted by {open_ones}, said {said}")
            told = said["reason"] in OF_THE_AGREEMENT or story.only_tries(application)
            if sits <= open_ones and told == bool(may):
                found.append(f"{application}: granted {may}, said {said['reason']}")
    return found


def _of_a_person(
    said: Mapping[str, Any], may: Mapping[str, Any], licence: Mapping[str, Any] | None
) -> list[str]:
    found = []
    if said["has_access"] and said["entitlements"] != may:
        found.append(f"granted {may}, told {said['entitlements']}")
    if said["has_access"] and licence is not None:
        status = licence["subscription"]["status"]
        if said["subscription_status"] != status:
            found.append(f"signed {status}, said {said['subscription_status']}")
    if not said["has_access"] and (said["entitlements"] or said["expires_at"]):
        found.append(f"no access, and told {said}")
    return found


# --- what may happen ------------------------------------------------------------------------------
def subscribe(story: Story) -> None:
    plan = story.dice.choice(["band", "band", "solo", "look", "tour", "tour"])
    begin = story.at + timedelta(days=story.dice.choice([0, 0, 0, 2]))
    seats_ = None if plan == "look" else 3
    subscriptions.subscribe(
        story.organization.pk, plan=plan, start=begin, seats=seats_, actor=STAFF, at=story.at
    )


def sit(story: Story) -> None:
    person = story.dice.choice([*(one.public_id for one in story.people), "guest@band.example"])
    seating.assign_seat(story.live().public_id, person=person, actor=STAFF, at=story.at)


def stand_up(story: Story) -> None:
    seat = story.dice.choice(seats.seats(story.organization.pk))
    seating.revoke_seat(seat.public_id, actor=STAFF, at=story.at)


def cancel(story: Story) -> None:
    when: Any = story.dice.choice(["now", "period_end"])
    subscriptions.cancel(story.live().public_id, when=when, actor=STAFF, at=story.at)


def pause(story: Story) -> None:
    when: Any = story.dice.choice(["now", "period_end"])
    subscriptions.pause(story.live().public_id, when=when, actor=STAFF, at=story.at)


def resume(story: Story) -> None:
    subscriptions.resume(story.live().public_id, actor=STAFF, at=story.at)


def fall_or_rise(story: Story) -> None:
    """Past due, unpaid after its grace, paid again: whatever may follow the state it is in."""
    one = story.live()
    after = [to for before, to in TRANSITIONS if before == one.status and to not in ENDS]
    rows.go(subscriptions.lock(one.id), story.dice.choice(after), actor=STAFF, at=story.at)


def change_plan(story: Story) -> None:
    plan = story.dice.choice(["band", "solo"])
    subscriptions.change_plan(story.live().public_id, plan=plan, actor=STAFF, at=story.at)


def add_on(story: Story) -> None:
    subscriptions.add_item(story.live().public_id, plan="more", actor=STAFF, at=story.at)


def override(story: Story) -> None:
    feature = story.dice.choice(sorted(VALUES))
    value = story.dice.choice(VALUES[feature])
    overrides.override_entitlement(
        story.live().public_id, feature=feature, value=value, reason="x", actor=STAFF, at=story.at
    )


def process(story: Story) -> None:
    """Bill what is due, which ends what has come to its end, and let everybody hear of it."""
    billing.bill_due(as_of=story.at, actor=STAFF, at=story.at)
    with clock.frozen(story.at):
        outbox.deliver_due()


ENDS = {CANCELED, PAUSED}  # they come of canceling and pausing
ACTS: tuple[Callable[[Story], None], ...] = (
    subscribe, subscribe, subscribe, sit, sit, sit, stand_up, cancel, pause, resume, fall_or_rise,
    fall_or_rise, change_plan, add_on, override, process, process,
)  # fmt: skip


@pytest.fixture
def story(organization: Organization, request: pytest.FixtureRequest) -> Story:
    """Two people of a band, and what is on sale."""
    with rls.ops_scope("test: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="studio.yaml"), actor=STAFF, at=START)
    people = [make_member(organization, f"{n}@band.example", role="MEMBER") for n in ("ann", "bob")]
    return Story(organization, people, Dice(getattr(request, "param", 0)))


@pytest.mark.parametrize("story", range(6), indirect=True)
def test_three_doors_say_the_same_after_every_act(story: Story) -> None:
    told: list[str] = []
    assert disagreements(story) == []
    for _ in range(12):
        story.at += timedelta(hours=story.dice.randrange(1, 150))
        act = story.dice.choice(ACTS)
        try:
            with nullcontext() if act is process else rls.tenant_scope(story.organization.pk):
                act(story)
        except (DomainError, IndexError):  # no such act now: that, too, is a state
            told.append(f"no {act.__name__}")
        else:
            told.append(act.__name__)
        assert disagreements(story) == [], told


def seated(story: Story, plan: str = "band") -> SubscriptionFacts:
    """Subscribe and give the first person a seat."""
    with rls.tenant_scope(story.organization.pk):
        found = subscriptions.subscribe(
            story.organization.pk, plan=plan, start=START, seats=3, actor=STAFF, at=START
        )
        ann = story.people[0].public_id
        seating.assign_seat(found.public_id, person=ann, actor=STAFF, at=START)
    return found


@pytest.mark.parametrize(("end", "reason"), [("cancel", "canceled"), ("pause", "paused")])
@pytest.mark.parametrize("when", ["now", "period_end"])
def test_an_end_counts_at_every_door_before_anybody_has_processed_it(
    story: Story, end: str, reason: str, when: str
) -> None:
    one = seated(story)
    story.at = START + timedelta(days=10)
    with rls.tenant_scope(story.organization.pk):
        getattr(subscriptions, end)(one.public_id, when=when, actor=STAFF, at=story.at)
    story.at = START + timedelta(days=40)
    said = story.sits(story.people[0], "studio")
    assert (said["has_access"], said["reason"]) == (False, f"subscription_{reason}")
    assert story.licence("studio") is None
    with rls.tenant_scope(story.organization.pk):
        decision = entitlements.decide(story.organization.pk, "tracks", at=story.at)
    assert (decision.allowed, decision.reason) == (False, reason)


def test_a_bare_trial_grants_nothing_after_its_end_however_late_it_is_ended(story: Story) -> None:
    with rls.tenant_scope(story.organization.pk):
        subscriptions.subscribe(
            story.organization.pk, plan="look", start=START, actor=STAFF, at=START
        )
    story.at = START + timedelta(days=8)
    assert story.may("studio") == {"tracks": 2}
    story.at = START + timedelta(days=9)
    assert story.may("studio") == {}
    assert story.licence("studio") is None


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("has_access", False), ("subscription_status", "past_due"), ("entitlements", {"tracks": 1})],
)
def test_the_comparison_of_doors_sees_a_difference(story: Story, field: str, wrong: Any) -> None:
    seated(story)
    may, licence = story.may("studio"), story.licence("studio")
    said = story.sits(story.people[0], "studio")
    assert _of_a_person(said, may, licence) == []
    assert _of_a_person({**said, field: wrong}, may, licence) != []
