"""Stripe's nested forms: `items[0][price]=…`, `expand[]=…`, `metadata[key]=…`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

DEEPEST = 12
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


class BadForm(ValueError):
    """The form is not one: a key that is no key, or one that is both a text and a nest."""


def decode(body: str) -> dict[str, Any]:
    """Return the form as nested dictionaries of texts; lists are keyed by position.

    `a[]=x&a[]=y` and `a[0]=x&a[1]=y` both become `{"a": {"0": "x", "1": "y"}}`; the contract says
    which dictionaries are lists. Raises BadForm.
    """
    form: dict[str, Any] = {}
    for key, value in parse_qsl(body, keep_blank_values=True):
        _put(form, _parts(key), value)
    return form


def encode(params: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return the pairs of a form that `decode` reads back."""
    if isinstance(params, dict):
        pairs = ((_under(prefix, str(key)), value) for key, value in params.items())
    elif isinstance(params, list):
        pairs = ((_under(prefix, str(place)), value) for place, value in enumerate(params))
    elif isinstance(params, bool):
        return [(prefix, "true" if params else "false")]
    else:
        return [(prefix, "" if params is None else str(params))]
    return [pair for key, value in pairs for pair in encode(value, key)]


def _parts(key: str) -> list[str]:
    found = _KEY.fullmatch(key)
    if found is None:
        raise BadForm(f"Invalid key: {key}")
    parts = [found[1], *(part[:-1] for part in found[2].split("[")[1:])]
    if len(parts) > DEEPEST:
        raise BadForm(f"Nested too deeply: {key}")
    return parts


def _put(form: dict[str, Any], parts: list[str], value: str) -> None:
    place = form
    for part in parts[:-1]:
        place = place.setdefault(_position(place, part), {})
        if not isinstance(place, dict):
            raise BadForm(f"{part} is a text and holds others as well")
    last = _position(place, parts[-1])
    if isinstance(place.get(last), dict):
        raise BadForm(f"{last} is a text and holds others as well")
    place[last] = value


def _position(place: dict[str, Any], part: str) -> str:
    """Return the next position for `[]`."""
    return part or str(len(place))


def _under(prefix: str, key: str) -> str:
    return f"{prefix}[{key}]" if prefix else key
