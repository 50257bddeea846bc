"""One loading of a catalogue under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.audit import services as audit
from apps.core.actor import Actor
from apps.plans.document import CatalogDocument
from apps.plans.errors import CatalogInvalid, Place, Problem
from apps.plans.models import Feature, Plan
from apps.plans.report import DefinitionReport, Outcome

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """One loading under way: what was found wrong, and the rows that its plans refer to."""

    document: CatalogDocument
    actor: Actor
    at: datetime
    problems: list[Problem] = field(default_factory=list)
    definitions: list[DefinitionReport] = field(default_factory=list)
    applications: dict[str, int] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)
    meters: dict[str, int] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)

    def note(self, place: Place, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(place, message))

    def report(self, kind: str, key: str, outcome: Outcome) -> None:
        """Say what became of an application, feature or meter."""
        self.definitions.append(DefinitionReport(kind, key, outcome))

    def record(
        self, action: str, target: str, *, after: Facts, before: Facts | None = None
    ) -> None:
        """Add an audit entry."""
        audit.record(
            action=action, target=target, actor=self.actor, at=self.at, before=before, after=after
        )

    def refuse_problems(self) -> None:
        """Raise CatalogInvalid when anything is wrong."""
        if self.problems:
            raise CatalogInvalid(self.document.source, self.problems)
