"""Records of published examples: read from JSON, handed to an adapter, compared by value.

A record holds the inputs and the expected facts of one example of somebody else's test or page. Its
`kind` selects the adapter, its `profile` says whether the default rules apply or an option.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from types import ModuleType
from typing import Any

OWN = Path(__file__).parent / "data"
NOT_ASSERTED = frozenset({"flagged", "avoid"})
HOW_TO_COMPARE = frozenset({"places", "rounding"})


@dataclass(frozen=True)
class Record:
    """One published example; `raw` is the whole of it as it was read."""

    id: str
    topic: str
    kind: str
    source: Mapping[str, Any]
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    profile: str
    convention: Sequence[str]
    notes: str
    raw: Mapping[str, Any]

    @property
    def option(self) -> str | None:
        """The option that the example takes for granted, or None for the default rules."""
        return self.profile.removeprefix("option:") if ":" in self.profile else None


class Unsupported(Exception):
    """What the engine does not do, with the reason."""


Adapter = Callable[[Record], Mapping[str, object]]


def records() -> Iterator[Record]:
    """Every record to be asserted of the JSON files in CASES_DIR, or of the project's copy."""
    folder = Path(os.environ.get("CASES_DIR") or OWN)
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no *.json in {folder}")
    for path in files:
        for raw in json.loads(path.read_text()):
            if raw["profile"] not in NOT_ASSERTED:
                yield record_of(raw)


def record_of(raw: Mapping[str, Any]) -> Record:
    """Read one record as it stands in the file."""
    return Record(
        id=raw["id"],
        topic=raw["topic"],
        kind=raw["kind"],
        source=raw.get("source") or {},
        inputs=raw["inputs"],
        expected=raw["expected"],
        profile=raw["profile"],
        convention=raw.get("convention") or (),
        notes=raw.get("notes") or "",
        raw=raw,
    )


def adapter_for(record: Record) -> Adapter:
    """The adapter of the record's kind; raises Unsupported, naming what is missing."""
    module = _topic(record.topic)
    if module is None:
        raise Unsupported(f"no adapter for the topic {record.topic}")
    if record.option is not None and record.option not in module.OPTIONS:
        raise Unsupported(f"option {record.option}")
    adapters: Mapping[str, Adapter] = module.ADAPTERS
    if record.kind not in adapters:
        raise Unsupported(f"no adapter for {record.topic}/{record.kind}")
    return adapters[record.kind]


def _topic(topic: str) -> ModuleType | None:
    name = f"tests.cases.adapters.{topic}"
    # Only a missing file is forgiven: one that does not import must fail.
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)


def differences(record: Record, results: Mapping[str, object]) -> list[str]:
    """What the expected keys say otherwise; empty when all of them hold."""
    expected = {k: v for k, v in record.expected.items() if k not in HOW_TO_COMPARE}
    places = record.expected.get("places")
    rounding = record.expected.get("rounding", "half_up")
    compare = Comparison(None if places is None else int(places), rounding)
    return list(compare.differences(expected, results, ""))


@dataclass(frozen=True)
class Comparison:
    """By value: numbers after rounding to `places`, instants as instants, lists in order.

    Groups have no order: a list of `{group, ...}` is matched by its groups.
    """

    places: int | None
    rounding: str

    def differences(self, expected: object, actual: object, path: str) -> Iterator[str]:
        """Every leaf that differs, as a sentence with its path."""
        if isinstance(expected, Mapping):
            if not isinstance(actual, Mapping):
                yield f"{path}: expected a mapping, got {actual!r}"
                return
            for key, value in expected.items():
                where = f"{path}.{key}" if path else str(key)
                if key in actual:
                    yield from self.differences(value, actual[key], where)
                else:
                    yield f"{where}: missing"
        elif isinstance(expected, list):
            yield from self._list(expected, actual, path)
        elif not self._same(expected, actual):
            yield f"{path}: expected {expected!r}, got {shown(actual)}"

    def _list(self, expected: list[Any], actual: object, path: str) -> Iterator[str]:
        if not isinstance(actual, list | tuple):
            yield f"{path}: expected a list, got {actual!r}"
            return
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} entries, got {[shown(a) for a in actual]}"
            return
        if all(isinstance(part, Mapping) and "group" in part for part in [*expected, *actual]):
            expected, actual = sorted(expected, key=_group), sorted(actual, key=_group)
        for i, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from self.differences(one, other, f"{path}[{i}]")

    def _same(self, expected: object, actual: object) -> bool:
        if expected is None or isinstance(expected, bool):
            return actual is expected
        number = number_of(expected)
        if number is not None:
            found = number_of(actual)
            return found is not None and self._rounded(found) == number
        moment = moment_of(expected)
        return moment_of(actual) == moment if moment is not None else actual == expected

    def _rounded(self, value: Fraction) -> Fraction:
        if self.places is None:
            return value
        scale = 10**self.places
        return Fraction(_ROUND[self.rounding](value * scale), scale)


def _half_up(value: Fraction) -> int:
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


_ROUND: dict[str, Callable[[Fraction], int]] = {
    "half_up": _half_up,
    "half_even": round,
    "up": lambda value: ceil(value) if value > 0 else floor(value),
    "ceil": ceil,
    "ceiling": ceil,
    "down": int,
    "floor": floor,
}


def number_of(value: object) -> Fraction | None:
    """The value as an exact number, or None when it is none (a bool and a date are none)."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | Fraction | str):
        return None
    try:
        return Fraction(value)
    except ValueError:
        return None


def moment_of(value: object) -> date | datetime | None:
    """The value as a date or as an instant in UTC, or None when it is neither."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    return value if isinstance(value, date) else None


def shown(value: object) -> str:
    """A value for a message: a fraction with its decimals beside it."""
    return f"{value} ≈ {float(value)}" if isinstance(value, Fraction) else repr(value)


def _group(part: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((key, "" if v is None else f"={v}") for key, v in part["group"].items())
