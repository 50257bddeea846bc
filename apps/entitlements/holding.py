"""Which grant answers for a feature: of the plan, its add-ons, or an override."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.engine.entitlements import Counting, Reset, counting, sum_of_grants
from apps.entitlements.decisions import Held, Reason
from apps.entitlements.models import Override
from apps.plans import selectors as plans
from apps.plans.content import Value
from apps.plans.selectors import FeatureWords, GrantRules, GrantTerms, VersionTerms
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.changes import is_only_a_trial
from apps.subscriptions.selectors import SubscriptionFacts
from apps.subscriptions.states import CANCELED, PAUSED

OPEN_STATES = frozenset({"trialing", "active", "past_due"})
"""A subscription in one of these grants what its plan says."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """An organization's live subscriptions and overrides at an instant."""

    organization_id: int
    at: datetime
    live: Sequence[SubscriptionFacts]
    overrides: Mapping[tuple[int, str], Override]

    @property
    def granting(self) -> list[SubscriptionFacts]:
        """The subscriptions that grant something now."""
        return [one for one in self.live if self._is_open(one) and one.started_at <= self.at]

    def held(self, key: str) -> Held | Reason:
        """Return the most generous grant of the feature, or why there is none."""
        found = [held for one in self.granting if (held := self._held_by(one, key)) is not None]
        if found:
            return max(found, key=_generosity)
        if plans.find_feature(key) is None:
            return Reason.UNKNOWN_FEATURE
        return Reason.NOT_INCLUDED if self.granting else self.why_nothing()

    def granted_by(self, facts: SubscriptionFacts) -> list[Held]:
        """Return what is held of every feature that this subscription grants anything of, by key.

        Where another one grants more of a feature, that is what is held.
        """
        keys = {key for owner, key in self.overrides if owner == facts.id}
        keys |= {grant.key for version in _versions(facts, self.at) for grant in version.grants}
        found = [self.held(key) for key in sorted(keys)]
        return [one for one in found if isinstance(one, Held)]

    def metered(self) -> list[Held]:
        """Return what is held of every limit that a meter counts against, by key."""
        keys = {key for _, key in self.overrides}
        for facts in self.granting:
            keys |= {g.key for v in _versions(facts, self.at) for g in v.metered_grants}
        found = [self.held(key) for key in sorted(keys)]
        return [one for one in found if isinstance(one, Held) and one.counting is not None]

    def _held_by(self, facts: SubscriptionFacts, key: str) -> Held | None:
        row = self.overrides.get((facts.id, key))
        if row is not None:
            rules = GrantRules(row.reset, row.on_limit, row.prepaid)
            return self._made(facts, _feature(row), row.value, rules)
        grants = [g for v in _versions(facts, self.at) for g in v.grants if g.key == key]
        if not grants:
            return None
        first = grants[0]
        words = FeatureWords(
            first.key, first.name, first.kind, "", first.feature_id, first.meter_key, first.unit
        )
        return self._made(facts, words, _together(grants), first.rules)

    def _made(
        self, facts: SubscriptionFacts, feature: FeatureWords, value: Value, rules: GrantRules
    ) -> Held:
        counted = None if feature.meter_key is None else self._counting(facts, rules)
        return Held(feature, facts, value, rules, counted)

    def _counting(self, facts: SubscriptionFacts, rules: GrantRules) -> Counting:
        return counting(
            Reset(rules.reset),
            self.at,
            timezone=facts.timezone,
            period=facts.current_period(self.at),
            since=facts.started_at,
        )

    def why_nothing(self) -> Reason:
        """Say why none of the subscriptions grants anything; the newest one speaks."""
        waiting = [self._status(one) for one in self.live if not self._is_open(one)]
        if waiting:
            return Reason(waiting[0])
        ended = not self.live and subscriptions.of_organization(self.organization_id)
        return Reason.CANCELED if ended else Reason.NO_SUBSCRIPTION

    def _is_open(self, facts: SubscriptionFacts) -> bool:
        return self._status(facts) in OPEN_STATES

    def _status(self, facts: SubscriptionFacts) -> str:
        """Return the status, where an end that is reached counts before anybody has processed it.

        `seats_verify` says the same of a cancellation and a pause; nobody sits in a bare trial.
        """
        trial = facts.trial_end if is_only_a_trial(facts.version) else None
        ends = ((facts.cancel_at, CANCELED), (trial, CANCELED), (facts.pause_at, PAUSED))
        for end, after in ends:
            if end is not None and end <= self.at and facts.status in OPEN_STATES:
                return after
        return facts.status


def holdings(organization_id: int, *, at: datetime) -> Holdings:
    """Return what the organization holds at the instant, in its scope."""
    live = subscriptions.of_organization(organization_id, live=True)
    rows = Override.objects.filter(organization_id=organization_id, during__contains=at)
    overrides = {
        (row.subscription_id, row.feature.key): row for row in rows.select_related("feature__meter")
    }
    return Holdings(organization_id, at, live, overrides)


def _versions(facts: SubscriptionFacts, at: datetime) -> Iterator[VersionTerms]:
    """Yield the plan version in force, then those of the add-ons in force."""
    plan = facts.phase(at).version
    yield plan
    add_ons = {one.version.version_id: one.version for one in facts.items_at(at)}
    add_ons.pop(plan.version_id, None)
    yield from add_ons.values()


def _together(grants: Sequence[GrantTerms]) -> Value:
    """Return what plan and add-ons grant together."""
    if grants[0].kind == "switch":
        return any(grant.value is True for grant in grants)
    if grants[0].kind == "config":
        return grants[0].value
    return sum_of_grants(_whole(grants))


def _whole(grants: Iterable[GrantTerms]) -> Iterator[int | None]:
    for grant in grants:
        yield None if grant.value is None else int(grant.value)


def _generosity(held: Held) -> tuple[bool, int]:
    unlimited = held.is_limit and held.value is None
    return unlimited, held.value if isinstance(held.value, int) else 0


def _feature(row: Override) -> FeatureWords:
    feature = row.feature
    meter = feature.meter
    return FeatureWords(
        feature.key,
        feature.name,
        feature.kind,
        "",
        id=feature.pk,
        meter_key=meter.key if meter else None,
        unit=meter.unit if meter else "",
    )
