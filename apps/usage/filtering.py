"""Filters: which events are counted, by the values in their data.

A filter includes the events that have one of the values in every dimension named, and excludes
those to which one of several combinations applies as a whole. Values are compared as texts, as JSON
prints them; a missing value, a list or an object is none of them. The SQL function `usage_matches`
decides; here filters are read and brought into one form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LONGEST_VALUE = 100  # bytes; a longer one is known by its hash, so that it fits an index

Values = Mapping[str, Sequence[str]]
Document = dict[str, Any]


def document(include: Values, exclude: Iterable[Values] = ()) -> Document:
    """Return the filter as one JSON object, the same for the same meaning; {} lets all pass."""
    combinations = sorted((_known_values(one) for one in exclude), key=repr)
    found: Document = {}
    if include:
        found["include"] = _known_values(include)
    if combinations:
        found["exclude"] = combinations
    return found


def paths(filtered: Document) -> set[str]:
    """Return the dimensions that a filter's document names."""
    combinations = [filtered.get("include", {}), *filtered.get("exclude", [])]
    return {path for one in combinations for path in one}


def _known_values(values: Values) -> dict[str, list[str]]:
    return {path: sorted({dimension(one) for one in values[path]}) for path in sorted(values)}


def dimension(value: str) -> str:
    """Return what `usage_dimension` makes of a text."""
    raw = value.encode()
    return value if len(raw) <= LONGEST_VALUE else f"sha256:{hashlib.sha256(raw).hexdigest()}"
