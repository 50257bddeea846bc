"""Price terms in a catalogue file: the keys are the engine's own fields, read by their types.

What the engine learns to price can stand in a file without a second list of keys; what makes sense
is for the engine to say, and its complaint is told at the place it is about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_type_hints

from apps.engine.decimals import ZERO
from apps.engine.prices import Capacity, Flat, InvalidTerms, Terms, parse_terms
from apps.plans.errors import Place
from apps.plans.form import Form

T = TypeVar("T")

MODELS: Mapping[str, type] = {
    kind.model: kind
    for kind in get_args(Terms)
    if kind is not Capacity  # its tiers limit several meters, and a price has one
}
MOST = 10**9


def read_terms(form: Form, model: str) -> Terms:
    """Return the terms of that model, which is one of MODELS; `Flat(0)` when something is wrong."""
    places: dict[str, Place] = {}
    before = form.count
    raw = {"model": model, **_fields(form, MODELS[model], "", places)}
    if form.count > before:
        return Flat(ZERO)
    return judged(form, lambda: parse_terms(raw), places) or Flat(ZERO)


def read_fields(form: Form, kind: type) -> tuple[dict[str, Any], dict[str, Place]]:
    """Return what the form says of an engine value's fields, and where."""
    places: dict[str, Place] = {}
    return _fields(form, kind, "", places), places


def judged(form: Form, make: Callable[[], T], places: Mapping[str, Place]) -> T | None:
    """Let the engine make a value; note its complaint where it belongs and return None."""
    try:
        return make()
    except InvalidTerms as error:
        form.note(places.get(error.path, form.place), f"{error.path or 'price'}: {error.message}")
        return None


def _fields(form: Form, kind: type, path: str, places: dict[str, Place]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for one in dataclasses.fields(kind):
        required = one.default is dataclasses.MISSING
        places[f"{path}{one.name}"] = form.place_of(one.name)
        if required or form.has(one.name):
            found[one.name] = _value(form, one.name, hints[one.name], path, places)
        else:
            form.take(one.name)  # it may stand here
    return found


def _value(form: Form, key: str, hint: Any, path: str, places: dict[str, Place]) -> Any:
    inner = _tier_of(hint)
    if inner is not None:
        return _tiers(form, key, inner, path, places)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return form.choice(key, [str(member) for member in hint])
    if hint is bool:
        return form.flag(key, default=False)
    if int in (hint, *get_args(hint)):
        return form.whole(key, 0, 0, MOST)
    if type(None) in get_args(hint) and form.is_null(key):
        form.take(key)
        return None
    return _number(form, key)


def _number(form: Form, key: str) -> Decimal | None:
    return form.decimal(key, required=True)


def _tier_of(hint: Any) -> type | None:
    inner = [kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)]
    return inner[0] if inner and isinstance(inner[0], type) else None


def _tiers(
    form: Form, key: str, kind: type, path: str, places: dict[str, Place]
) -> list[dict[str, Any]]:
    tiers = []
    for index, tier in enumerate(form.forms(key, "a tier", required=True)):
        there = f"{path}{key}[{index}]"
        places[there] = tier.place
        tiers.append(_fields(tier, kind, f"{there}.", places))
        tier.close()
    return tiers
