"""The answer to "may this organization use this now", and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from apps.engine.entitlements import Behaviour, Counting, Standing
from apps.plans.content import Value
from apps.plans.selectors import FeatureWords, GrantRules
from apps.subscriptions.selectors import SubscriptionFacts


class Reason(StrEnum):
    """Why something may be used, or may not."""

    OK = "ok"
    UNKNOWN_ORGANIZATION = "unknown_organization"
    UNKNOWN_FEATURE = "unknown_feature"
    NO_SUBSCRIPTION = "no_subscription"
    INCOMPLETE = "incomplete"
    PAUSED = "paused"
    UNPAID = "unpaid"
    CANCELED = "canceled"
    NOT_INCLUDED = "not_included"
    LIMIT_REACHED = "limit_reached"
    SPEND_CAP_REACHED = "spend_cap_reached"
    CREDIT_USED_UP = "credit_used_up"


class Caution(StrEnum):
    """What is passed although it is allowed."""

    LIMIT_PASSED = "limit_passed"
    SPEND_CAP_PASSED = "spend_cap_passed"


SENTENCES = {
    Reason.OK: "It may be used.",
    Reason.UNKNOWN_ORGANIZATION: "There is no such organization.",
    Reason.UNKNOWN_FEATURE: "There is no such feature.",
    Reason.NO_SUBSCRIPTION: "The organization has no subscription.",
    Reason.INCOMPLETE: "The subscription waits for its first payment.",
    Reason.PAUSED: "The subscription is paused.",
    Reason.UNPAID: "The subscription is unpaid.",
    Reason.CANCELED: "The subscription has ended.",
    Reason.NOT_INCLUDED: "The plan does not include it.",
    Reason.LIMIT_REACHED: "The limit leaves no room for so much.",
    Reason.SPEND_CAP_REACHED: "The spend cap leaves no room for so much.",
    Reason.CREDIT_USED_UP: "The credit does not cover so much.",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What an organization holds of a feature: the grant that answers, and whose it is.

    `counting` is None where no meter counts against it.
    """

    feature: FeatureWords
    facts: SubscriptionFacts
    value: Value
    rules: GrantRules
    counting: Counting | None

    @property
    def behaviour(self) -> Behaviour:
        """What happens where the limit is reached."""
        return Behaviour(self.rules.on_limit)

    @property
    def is_limit(self) -> bool:
        """Whether its value is a number to stay within."""
        return self.feature.kind in ("limit", "seats")

    @property
    def limit(self) -> Decimal | None:
        """The number to stay within; None: unlimited, or no number at all."""
        whole = self.is_limit and self.value is not None
        return Decimal(int(self.value)) if whole else None  # type: ignore[arg-type] # a limit's


@dataclass(frozen=True, slots=True)
class NextUnits:
    """What the amount asked for will be billed at, beyond what is billed already.

    `amount` in minor units as the line's rounding makes it now; `exact` before it rounds, in major
    units as a decimal (or "a/b" where it has no end).
    """

    currency: str
    amount: int
    exact: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether so much of a feature may be used now, and what there is of it.

    `standing` is None where nothing is counted; `held` where nothing is granted.
    """

    feature: str
    allowed: bool
    reason: Reason
    amount: Decimal
    held: Held | None = None
    standing: Standing | None = None
    price: NextUnits | None = None
    warnings: tuple[Caution, ...] = ()

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return SENTENCES[self.reason]

    @property
    def kind(self) -> str | None:
        """Switch, config, limit or seats."""
        return None if self.held is None else self.held.feature.kind

    @property
    def value(self) -> Value:
        """What is granted; None is unlimited, or nothing at all."""
        return None if self.held is None else self.held.value

    @property
    def behaviour(self) -> Behaviour | None:
        """What happens where the limit is reached."""
        return self.held.behaviour if self.held is not None and self.held.is_limit else None

    @property
    def limit(self) -> Decimal | None:
        """The number to stay within, where there is one."""
        return None if self.held is None else self.held.limit

    @property
    def used(self) -> Decimal | None:
        """What was counted since the limit counts anew."""
        return None if self.standing is None else self.standing.used

    @property
    def reserved(self) -> Decimal | None:
        """What is set aside."""
        return None if self.standing is None else self.standing.reserved

    @property
    def remaining(self) -> Decimal | None:
        """What is left of the limit."""
        return None if self.standing is None else self.standing.remaining

    @property
    def resets_at(self) -> datetime | None:
        """When it counts anew."""
        counting = None if self.held is None else self.held.counting
        return None if counting is None else counting.end

    @property
    def subscription(self) -> str | None:
        """Public id of the subscription that answers."""
        return None if self.held is None else self.held.facts.public_id


def refused(feature: str, reason: Reason, amount: Decimal) -> Decision:
    """Return the answer where nothing is held."""
    return Decision(feature, False, reason, amount)
