"""stripe-python's types as JSON Schema (draft 2020-12, the part of it that they need).

Requests are closed: what Stripe does not know it refuses. Answers are closed too, so that a field
of an older version is seen. An enumeration that Stripe declares `Literal[...] | str` carries
`x-open`: a value that it does not name is refused in a request and only noted in an answer.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any

import typing_extensions
from stripe import ListObject, SearchResultObject, StripeObject
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject

type_of = typing_extensions.get_origin
parts_of = typing_extensions.get_args

Schema = dict[str, Any]
PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
    UntypedStripeObject: {"type": "object"},
}
_OPTIONS = frozenset(RequestOptions.__annotations__)


class Names(dict[str, Any]):
    """The names of a module, with those that it imports for type checkers only."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__()
        self._module = module
        self._deferred = dict(_deferred_imports(module))

    def __missing__(self, name: str) -> Any:
        value = self._find(name)
        self[name] = value
        return value

    def _find(self, name: str) -> Any:
        if hasattr(self._module, name):
            return getattr(self._module, name)
        if name in self._deferred:
            module, original = self._deferred[name]
            return getattr(importlib.import_module(module), original)
        for place in (typing_extensions, builtins):
            if hasattr(place, name):
                return getattr(place, name)
        raise NameError(f"{self._module.__name__} speaks of {name}, which is nowhere")


class InnerNames(dict[str, Any]):
    """The names inside a class body: classes nested in it come first."""

    def __init__(self, outer: Names, owner: type) -> None:
        super().__init__()
        self._outer = outer
        self._owner = owner

    def __missing__(self, name: str) -> Any:
        place: Any = sys.modules[self._owner.__module__]
        for part in self._owner.__qualname__.split("."):
            place = getattr(place, part)
            if inspect.isclass(getattr(place, name, None)):
                return getattr(place, name)
        return self._outer[name]


class Definitions(dict[str, Schema]):
    """Named schemas, each built when it is first looked at: all of them would take seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, Callable[[], Schema]] = {}

    def promise(self, key: str, build: Callable[[], Schema]) -> None:
        """Say how the schema of this name is built, unless that is known."""
        if key not in self:
            self._waiting.setdefault(key, build)

    def __missing__(self, key: str) -> Schema:
        self[key] = self._waiting.pop(key)()
        return self[key]


class Schemas:
    """Builds schemas on demand; what was built once stays in `definitions`."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self._names: dict[str, Names] = {}

    def names(self, module: str) -> Names:
        """Return the names of a module of stripe-python."""
        if module not in self._names:
            self._names[module] = Names(importlib.import_module(module))
        return self._names[module]

    def of(self, kind: Any, names: dict[str, Any]) -> Schema:
        """Return the schema of a type, a forward reference or an annotation's text."""
        if isinstance(kind, typing.ForwardRef):
            kind = kind.__forward_arg__
        if isinstance(kind, str):
            return self._of_text(kind, names)
        if kind in PLAIN:
            return PLAIN[kind]
        origin, arguments = type_of(kind), parts_of(kind)
        if origin is None:
            return self._of_class(kind)
        return self._of_generic(origin, arguments, names)

    def _of_text(self, text: str, names: dict[str, Any]) -> Schema:
        alternatives = _alternatives(text)
        if len(alternatives) > 1:
            return _union([self.of(each, names) for each in alternatives])
        # The text is an annotation of the pinned package, not anybody's input.
        return self.of(eval(text, {"__builtins__": {}}, names), names)  # noqa: S307

    def _of_generic(self, origin: Any, arguments: tuple[Any, ...], names: dict[str, Any]) -> Schema:
        if origin in (typing.Union, UnionType):
            return _union([self.of(each, names) for each in arguments])
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0], names)}
        if origin in (dict, UntypedStripeObject):
            return {"type": "object", "additionalProperties": self.of(arguments[-1], names)}
        if origin in (ListObject, SearchResultObject):
            return _listing(self.of(arguments[0], names), search=origin is SearchResultObject)
        return self.of(arguments[0], names)  # NotRequired, Required, ClassVar

    def _of_class(self, kind: Any) -> Schema:
        if typing_extensions.is_typeddict(kind):
            return self._reference("request", kind, self._request)
        if inspect.isclass(kind) and issubclass(kind, StripeObject):
            return self._reference("answer", kind, self._answer)
        raise TypeError(f"stripe-python uses a type that is not known: {kind!r}")

    def _reference(self, side: str, kind: type, build: Callable[[type], Schema]) -> Schema:
        key = f"{side}.{kind.__module__}.{kind.__qualname__}"
        self.definitions.promise(key, lambda: build(kind))
        return {"$ref": f"#/$defs/{key}"}

    def _request(self, kind: type) -> Schema:
        names = self.names(kind.__module__)
        properties: dict[str, Schema] = {}
        required = []
        for name, annotation in _fields_of_request(kind):
            text = annotation.__forward_arg__ if _is_forward(annotation) else annotation
            if isinstance(text, str) and text.startswith("NotRequired["):
                text = text.removeprefix("NotRequired[")[:-1]
            elif type_of(text) is not typing_extensions.NotRequired:
                required.append(name)
            properties[name] = self.of(text, names)
        return _closed(properties, required)

    def _answer(self, kind: type) -> Schema:
        names = InnerNames(self.names(kind.__module__), kind)
        properties: dict[str, Schema] = {}
        required = []
        for name, annotation in inspect.get_annotations(kind).items():
            if name.startswith("_") or name == "OBJECT_NAME" or "ClassVar" in str(annotation):
                continue
            properties[name] = self.of(annotation, names)
            if not _may_be_none(annotation):
                required.append(name)
        return _closed(properties, required)


def _fields_of_request(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a TypedDict and of those it extends, without the request's options."""
    for base in getattr(kind, "__orig_bases__", ()):
        if typing_extensions.is_typeddict(base) and base is not RequestOptions:
            yield from _fields_of_request(base)
    for name, annotation in inspect.get_annotations(kind).items():
        if name not in _OPTIONS:
            yield name, annotation


def _deferred_imports(module: ModuleType) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what a module imports for type checkers: the name here, and where it comes from."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    for name in line.names:
                        yield name.asname or name.name, (line.module, name.name)


def _alternatives(text: str) -> list[str]:
    """Split `Literal["a"]|str` at its outermost bars."""
    found, depth, current, quote = [], 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "[(") - (letter in "])")
        if letter == "|" and depth == 0 and not quote:
            found.append(current.strip())
            current = ""
        else:
            current += letter
    return [*found, current.strip()]


def _union(schemas: list[Schema]) -> Schema:
    flat = [one for each in schemas for one in each.get("anyOf", [each])]
    named = [value for each in flat for value in each.get("enum", ())]
    rest = [each for each in flat if "enum" not in each]
    if named:
        text = {"type": "string"}
        is_open = any(named) and text in rest
        rest = [each for each in rest if not (is_open and each == text)]
        rest.append({"enum": named, **({"x-open": True} if is_open else {})})
    unique = [each for position, each in enumerate(rest) if each not in rest[:position]]
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _listing(item: Schema, *, search: bool) -> Schema:
    properties: dict[str, Schema] = {
        "object": {"enum": ["search_result" if search else "list"]},
        "data": {"type": "array", "items": item},
        "has_more": {"type": "boolean"},
        "url": {"type": "string"},
    }
    if search:
        properties["next_page"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        properties["total_count"] = {"type": "integer"}
    required = ["object", "data", "has_more", "url"]
    return {"type": "object", "properties": properties, "required": required}


def _closed(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _is_forward(annotation: Any) -> bool:
    return isinstance(annotation, typing.ForwardRef)


def _may_be_none(annotation: Any) -> bool:
    return type_of(annotation) is typing.Union and type(None) in parts_of(annotation)
