"""Telling that credit ran low, where a rule asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.core import outbox
from apps.invoicing import credit
from apps.invoicing.events import CreditLow
from apps.invoicing.models import RechargeRule


@dataclass(frozen=True, slots=True)
class Spender:
    """Whose credit in which currency became less, by what (a public id)."""

    organization_id: int
    currency: str
    cause: str


def tell_low(spenders: Sequence[Spender], *, at: datetime) -> None:
    """Emit CreditLow for those who have less left than their rule's threshold; at most two reading
    statements however many they are.
    """
    wanted = {spender.organization_id for spender in spenders}
    rules = {
        (rule.organization_id, rule.currency): rule.threshold
        for rule in (RechargeRule.objects.filter(organization_id__in=wanted, active=True))
    } if wanted else {}  # fmt: skip
    left = credit.available({organization for organization, _ in rules}, at) if rules else {}
    facts: list[tuple[outbox.Fact, int | None]] = []
    for spender in spenders:
        key = (spender.organization_id, spender.currency)
        if key in rules and left.get(key, 0) < rules[key]:
            fact = CreditLow(*key, left.get(key, 0), spender.cause)
            facts.append((fact, spender.organization_id))
    if facts:
        outbox.emit_all(facts, at=at)
