"""Compares a value with a schema, and makes one from the text of a form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
_INTEGER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a value is not what the schema says. `where` is like `items[0][price]`."""

    where: str
    message: str
    code: str = "parameter_invalid"
    only_noted: bool = False


class Checker:
    """Compares requests (`strict`: enumerations are closed, texts not empty) or answers."""

    def __init__(self, definitions: Mapping[str, Schema], *, strict: bool) -> None:
        self._definitions = definitions
        self._strict = strict

    def findings(self, schema: Schema, value: Any, where: str = "") -> Iterator[Finding]:
        """Yield what is wrong with the value."""
        schema = resolve(schema, self._definitions)
        if "anyOf" in schema:
            yield from self._among(schema["anyOf"], value, where)
        elif "enum" in schema:
            yield from self._in_enumeration(schema, value, where)
        elif not _has_type(schema.get("type"), value):
            kind = schema["type"]
            yield Finding(where, f"Invalid {kind}: {value!r}", f"parameter_invalid_{kind}")
        elif isinstance(value, dict):
            yield from self._in_object(schema, value, where)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                yield from self.findings(schema.get("items", {}), item, f"{where}[{position}]")
        elif isinstance(value, str):
            yield from self._in_text(schema, value, where)

    def _among(self, schemas: list[Schema], value: Any, where: str) -> Iterator[Finding]:
        """Yield nothing when one of the schemas fits, else what the closest has to say."""
        best: list[Finding] | None = None
        for schema in schemas:
            found = list(self.findings(schema, value, where))
            if not found:
                return
            if best is None or _weight(found) < _weight(best):
                best = found
        yield from best or ()

    def _in_enumeration(self, schema: Schema, value: Any, where: str) -> Iterator[Finding]:
        if value in schema["enum"] and not isinstance(value, list | dict):
            return
        if schema.get("x-open") and not isinstance(value, str):
            yield Finding(where, f"Invalid string: {value!r}", "parameter_invalid_string")
            return
        named = ", ".join(str(each) for each in schema["enum"])
        message = f"Invalid {where}: must be one of {named}"
        noted = bool(schema.get("x-open")) and not self._strict
        yield Finding(where, message, "parameter_invalid", only_noted=noted)

    def _in_object(self, schema: Schema, value: dict[str, Any], where: str) -> Iterator[Finding]:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        for name in schema.get("required", ()):
            if name not in value:
                place = _inside(where, name)
                yield Finding(place, f"Missing required param: {place}.", "parameter_missing")
        for name, item in value.items():
            place = _inside(where, name)
            if name in properties:
                yield from self.findings(properties[name], item, place)
            elif others is False:
                yield Finding(place, f"Received unknown parameter: {place}", "parameter_unknown")
            elif isinstance(others, dict) and item != "":  # an empty one takes the entry away
                yield from self.findings(others, item, place)

    def _in_text(self, schema: Schema, value: str, where: str) -> Iterator[Finding]:
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield Finding(where, f"Invalid decimal: {value}", "parameter_invalid_decimal")
        elif self._strict and value == "":
            message = (
                f"You passed an empty string for '{where}'. We assume empty values are an attempt "
                f"to unset a parameter; however '{where}' cannot be unset. You should remove "
                f"'{where}' from your request or supply a non-empty value."
            )
            yield Finding(where, message, "parameter_invalid_empty")


def resolve(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Follow a reference."""
    return definitions[schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema


def read_form(schema: Schema, value: Any, definitions: Mapping[str, Schema]) -> Any:
    """Return a form's texts as the types that the schema names; what does not fit stays as it is.

    The texts of a list arrive under its positions: `{"0": …, "1": …}`.
    """
    schema = resolve(schema, definitions)
    if "anyOf" in schema:
        return _read_best(schema["anyOf"], value, definitions)
    kind = schema.get("type")
    if isinstance(value, dict):
        return _read_nested(schema, value, definitions)
    if kind == "array" and value == "":
        return []
    return _read_scalar(kind, value)


def _read_best(schemas: list[Schema], value: Any, definitions: Mapping[str, Schema]) -> Any:
    checker = Checker(definitions, strict=True)
    read = [(each, read_form(each, value, definitions)) for each in schemas]
    weights = [(_weight(list(checker.findings(each, item))), item) for each, item in read]
    return min(weights, key=lambda pair: pair[0])[1]


def _read_nested(schema: Schema, value: dict[str, Any], definitions: Mapping[str, Schema]) -> Any:
    if schema.get("type") == "array":
        if not all(key.isdigit() for key in value):
            return value
        items = [value[key] for key in sorted(value, key=int)]
        return [read_form(schema.get("items", {}), item, definitions) for item in items]
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    default = others if isinstance(others, dict) else {}
    return {
        name: read_form(properties.get(name, default), item, definitions)
        for name, item in value.items()
    }


def _read_scalar(kind: str | None, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if kind == "integer" and _INTEGER.fullmatch(value):
        return int(value)
    if kind == "number" and _NUMBER.fullmatch(value):
        # A percentage travels as a JSON number; sums are made from its text, see `amounts`.
        return float(value) if "." in value else int(value)
    if kind == "boolean" and value in {"true", "false"}:
        return value == "true"
    return value


def _has_type(kind: str | None, value: Any) -> bool:
    if kind is None:
        return True
    if kind in {"integer", "number"}:
        allowed = (int, float) if kind == "number" else int
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])


def _weight(findings: list[Finding]) -> tuple[int, int, int]:
    """Order alternatives: none wrong, then those that differ deepest inside, then the fewest."""
    hard = [each for each in findings if not each.only_noted]
    depth = max((each.where.count("[") for each in hard), default=0)
    return bool(hard), -depth if hard else 0, len(findings)


def _inside(where: str, name: str) -> str:
    return f"{where}[{name}]" if where else name
