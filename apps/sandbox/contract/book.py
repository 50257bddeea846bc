"""The contract: every operation, with what it takes and what it answers, made when first asked."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import stripe
from stripe._object_classes import OBJECT_CLASSES

from apps.sandbox.contract.checking import Checker, Finding, Schema, read_form, resolve
from apps.sandbox.contract.operations import Operation, operations
from apps.sandbox.contract.schemas import Schemas

_PLACE = re.compile(r"\\{\w+\\}")
_BLANK: dict[str | None, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "null": None,
}


class Contract:
    """Answers what the installed version of Stripe's API accepts. Shared by all engines."""

    version = stripe.api_version

    def __init__(self) -> None:
        self._schemas = Schemas()
        self._routes = [(_pattern(one.path), one) for one in _literal_first(operations())]
        self._requests: dict[str, Schema] = {}
        self._answers: dict[str, Schema] = {}
        self._strict = Checker(self._schemas.definitions, strict=True)
        self._lenient = Checker(self._schemas.definitions, strict=False)

    @property
    def definitions(self) -> Mapping[str, Schema]:
        """Return the named schemas made so far, as `$defs` of a JSON Schema."""
        return self._schemas.definitions

    def match(self, verb: str, path: str) -> tuple[Operation, tuple[str, ...]] | None:
        """Return the operation that this request is for, with the ids in its path."""
        for pattern, operation in self._routes:
            if operation.verb == verb and (found := pattern.fullmatch(path)):
                return operation, found.groups()
        return None

    def request_schema(self, operation: Operation) -> Schema:
        """Return the schema of an operation's parameters."""
        if operation.key not in self._requests:
            names = self._schemas.names(operation.module)
            empty = {"type": "object", "additionalProperties": False}
            self._requests[operation.key] = (
                self._schemas.of(operation.params, names) if operation.params else empty
            )
        return self._requests[operation.key]

    def answer_schema(self, operation: Operation) -> Schema:
        """Return the schema of what an operation answers."""
        if operation.key not in self._answers:
            names = self._schemas.names(operation.module)
            self._answers[operation.key] = self._schemas.of(operation.returns or "Any", names)
        return self._answers[operation.key]

    def object_schema(self, kind: str) -> Schema:
        """Return the schema of an object by its `object` field, `checkout.session` for example."""
        module, name = OBJECT_CLASSES[kind]
        return self._schemas.of(getattr(importlib.import_module(module), name), {})

    def read(self, operation: Operation, form: Mapping[str, Any]) -> dict[str, Any]:
        """Return a decoded form with the types of the operation's parameters."""
        schema = self.request_schema(operation)
        read: dict[str, Any] = read_form(schema, dict(form), self._schemas.definitions)
        return read

    def wrong_in_request(self, operation: Operation, params: Mapping[str, Any]) -> list[Finding]:
        """Return what Stripe would refuse about these parameters."""
        return list(self._strict.findings(self.request_schema(operation), dict(params)))

    def wrong_in_answer(self, operation: Operation, body: Mapping[str, Any]) -> list[Finding]:
        """Return where an answer is not what Stripe answers. What is deleted is a stub only."""
        if body.get("deleted"):
            return []
        return list(self._lenient.findings(self.answer_schema(operation), dict(body)))

    def wrong_in_object(self, body: Mapping[str, Any]) -> list[Finding]:
        """Return where an object is not what its `object` field says."""
        if body.get("deleted"):
            return []
        return list(self._lenient.findings(self.object_schema(body["object"]), dict(body)))

    def blank(self, kind: str, *within: str) -> dict[str, Any]:
        """Return an object with all its fields: null where they may be, else their first value.

        `within` names the way to an object inside: `blank("invoice", "status_transitions")`.
        """
        schema = self.object_schema(kind)
        for name in within:
            schema = self._inner(self._resolved(schema)["properties"][name])
        made: dict[str, Any] = self._blank(schema)
        return made

    def _blank(self, schema: Schema) -> Any:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            null = {"type": "null"} in schema["anyOf"]
            return None if null else self._blank(schema["anyOf"][0])
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("type") == "object":
            fields = schema.get("properties", {})
            return {name: self._blank(inner) for name, inner in fields.items()}
        return [] if schema.get("type") == "array" else _BLANK[schema.get("type", "null")]

    def _resolved(self, schema: Schema) -> Schema:
        return resolve(schema, self._schemas.definitions)

    def _inner(self, schema: Schema) -> Schema:
        """Return the object among the alternatives, or in the list."""
        schema = self._resolved(schema)
        for each in schema.get("anyOf", (schema,)):
            each = self._resolved(each)
            if each.get("type") == "array":
                return self._inner(each["items"])
            if "properties" in each:
                return each
        raise LookupError(f"no object in {schema}")


@lru_cache(maxsize=1)
def current() -> Contract:
    """Return the contract of the installed version; one for the whole process."""
    return Contract()


def _literal_first(known: Mapping[str, Operation]) -> Iterator[Operation]:
    """Order the paths so that `/invoices/create_preview` is not taken for an invoice's id."""
    yield from sorted(known.values(), key=lambda operation: operation.path.count("{"))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_PLACE.sub("([^/]+)", re.escape(path)))
