"""What a licence says: the access decision of that instant, in the former system's words.

Installations that nobody updates read `features`, `limits` and `subscription` by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from apps.engine.period import iso
from apps.entitlements.selectors import Held
from apps.plans.content import Value
from apps.subscriptions.changes import is_only_a_trial
from apps.subscriptions.facts import SubscriptionFacts

if TYPE_CHECKING:
    from apps.tenants.models import Organization

# Numbers that installations look for among the features, not among the limits.
NUMBERS_AMONG_FEATURES = {"max_devices", "data_retention_days"}
CLOCKS_DIFFER = timedelta(minutes=5)  # an installation's clock may be so far behind


@dataclass(frozen=True, slots=True)
class Content:
    """What is licensed at an instant. `until`: where it is agreed to end, None: open."""

    organization: Organization
    facts: SubscriptionFacts
    held: Sequence[Held]
    period_ends_at: datetime
    until: datetime | None

    def said(self) -> dict[str, Any]:
        """Return the claims about what is licensed, without times and names of the token."""
        return {
            "customerId": self.organization.public_id,
            "customerName": self.organization.name,
            "plan": self.facts.version.plan_code,
            "features": {
                camel(one.feature.key): one.value for one in self.held if not _is_bound(one)
            },
            "limits": {camel(one.feature.key): one.value for one in self.held if _is_bound(one)},
            "subscription": {
                "status": self.facts.status,
                "currentPeriodEndsAt": iso(self.period_ends_at),
            },
        }


def content_of(
    organization: Organization, facts: SubscriptionFacts, held: Sequence[Held], *, at: datetime
) -> Content:
    """Return what a licence of this subscription would say at the instant."""
    ends = facts.current_period(at).end
    return Content(organization, facts, held, ends, _agreed_end(facts, at))


def says_the_same(claims: Mapping[str, Any], content: Content) -> bool:
    """Tell whether a licence with these claims says what would be said now."""
    said = content.said()
    return {name: claims.get(name) for name in said} == said


def says_too_much(claims: Mapping[str, Any], content: Content) -> bool:
    """Tell whether a licence with these claims grants anything that is not granted now."""
    said = content.said()
    return any(
        _is_more(value, said[part].get(name, False))
        for part in ("features", "limits")
        for name, value in dict(claims.get(part) or {}).items()
    )


def camel(key: str) -> str:
    """Return `max_devices` as `maxDevices`."""
    first, *others = key.replace("-", "_").split("_")
    return first + "".join(part.capitalize() for part in others)


def _is_bound(one: Held) -> bool:
    return one.is_limit and one.feature.key not in NUMBERS_AMONG_FEATURES


def _is_more(value: Value, now: Value) -> bool:
    """Compare what was granted with what is; False stands for nothing, None for no limit."""
    if value == now or value is False:
        return False
    if now is False or isinstance(value, str) or isinstance(now, str):
        return True
    return now is not None and (value is None or value > now)


def _agreed_end(facts: SubscriptionFacts, at: datetime) -> datetime | None:
    """Return the next instant from which nothing is agreed any more, if there is one."""
    trial = facts.trial_end if is_only_a_trial(facts.version) else None
    ends = [one for one in (facts.cancel_at, facts.pause_at, trial) if one is not None and one > at]
    return min(ends, default=None)
