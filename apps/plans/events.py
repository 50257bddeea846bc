"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlanVersionPublished:
    """New subscriptions to the plan get this version from now on; the older ones keep theirs."""

    plan_version_id: str
    plan_code: str
    number: int
