"""What loading a catalogue did, and how two contents of a version differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of an entry of the file."""

    CREATED = "created"
    NEW_VERSION = "new version"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; None where there was or is nothing."""

    what: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        """`prices.base.amount: 50 → 60`, for people."""
        if self.old is None:
            return f"{self.what}: added, {self.new}"
        return f"{self.what}: {self.old} → {self.new}" if self.new else f"{self.what}: removed"


@dataclass(frozen=True, slots=True)
class DefinitionReport:
    """What became of an application, feature or meter."""

    kind: str
    key: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What became of a plan; `version` is the number that new subscriptions get."""

    code: str
    name: str
    outcome: Outcome
    version: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What became of a catalogue file. After a dry run it says what would become of it."""

    source: str
    dry_run: bool
    definitions: tuple[DefinitionReport, ...]
    plans: tuple[PlanReport, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was (or would be) written."""
        outcomes = [entry.outcome for entry in self.definitions]
        outcomes += [entry.outcome for entry in self.plans]
        return any(outcome is not Outcome.UNCHANGED for outcome in outcomes)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {**asdict(self), "changed": self.changed}


_SAID_WHEN_UNUSUAL = ("currencies", "trial_requires_card", "thresholds")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Compare two contents (`PlanEntry.content()`), in a steady order: terms, prices, grants."""
    changes = [*_compare(_basics(old), _basics(new))]
    changes += _compare_prices(old["prices"], new["prices"])
    changes += _compare(_grants(old), _grants(new))
    return tuple(changes)


def _compare(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for what in dict.fromkeys([*old, *new]):
        if old.get(what) != new.get(what):
            yield Change(what, old.get(what), new.get(what))


def _basics(content: Mapping[str, Any]) -> dict[str, str]:
    interval = content["interval"]
    count = "" if interval["count"] == 1 else f"{interval['count']} × "
    usual = {
        "currency": content["currency"],
        "interval": f"{count}{interval['unit']}",
        "trial_days": str(content["trial_days"]),
    }
    rest = {key: content[key] for key in _SAID_WHEN_UNUSUAL if key in content}
    return usual | _leaves(rest, "")


def _grants(content: Mapping[str, Any]) -> dict[str, str]:
    said = {f"entitlements.{key}": _said(value) for key, value in content["entitlements"].items()}
    return said | _leaves(content.get("limits", {}), "limits")


def _compare_prices(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*old, *new]):
        before, after = _leaves(old.get(key), ""), _leaves(new.get(key), "")
        if before and after:
            yield from _compare(_under(f"prices.{key}", before), _under(f"prices.{key}", after))
        else:
            yield Change(f"prices.{key}", _summary(before), _summary(after))


def _under(path: str, leaves: Mapping[str, str]) -> dict[str, str]:
    return {f"{path}.{leaf}": text for leaf, text in leaves.items()}


def _summary(leaves: Mapping[str, str]) -> str | None:
    return ", ".join(f"{leaf} {text}" for leaf, text in leaves.items()) or None


def _leaves(value: Any, path: str) -> dict[str, str]:
    """Flatten a price to `{"type": …, "tiers[0].unit_amount": …}`; the word `terms` is left out."""
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = path if key == "terms" else f"{path}.{key}".lstrip(".")
            found |= _leaves(inner, name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= _leaves(inner, f"{path}[{index}]")
    elif path not in {"", "meter"} or value is not None:
        found[path] = _said(value)
    return found


def _said(value: object) -> str:
    if value is None:
        return "unlimited"
    return str(value).lower() if isinstance(value, bool) else str(value)
