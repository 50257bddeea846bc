"""Every operation of Stripe's first API, as the installed stripe-python calls it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import stripe

SOURCES = Path(stripe.__file__).parent
_PARAMS_NAME = re.compile(r"\w+Params\w*")


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb and path; the types are names to be looked up in `module`."""

    verb: str
    path: str
    module: str
    params: str | None
    returns: str | None

    @property
    def key(self) -> str:
        """Return verb and path template: `POST /v1/customers/{customer}`."""
        return f"{self.verb} {self.path}"


@lru_cache(maxsize=1)
def operations() -> dict[str, Operation]:
    """Return all operations by key. The second API (`/v2`) is not among them."""
    found = (one for path in sorted(SOURCES.rglob("_*_service.py")) for one in _read(path))
    return {operation.key: operation for operation in found}


def _read(path: Path) -> Iterator[Operation]:
    place = path.relative_to(SOURCES)
    if place.parts[0] == "v2":
        return
    module = ".".join(("stripe", *place.with_suffix("").parts))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield from _read_method(module, node)


def _read_method(module: str, method: ast.FunctionDef) -> Iterator[Operation]:
    for call in ast.walk(method):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr == "_request":
            yield Operation(
                verb=_text(call.args[0]).upper(),
                path=_text(call.args[1]),
                module=module,
                params=_params_of(method),
                returns=ast.unparse(method.returns).strip("'\"") if method.returns else None,
            )


def _text(node: ast.expr) -> str:
    """Return a literal, or the template of `"/v1/customers/{customer}".format(...)`."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _text(node.func.value)
    raise TypeError(f"stripe-python calls in a way that is not known: {ast.unparse(node)}")


def _params_of(method: ast.FunctionDef) -> str | None:
    for argument in method.args.args:
        if argument.arg == "params" and argument.annotation is not None:
            name = _PARAMS_NAME.search(ast.unparse(argument.annotation))
            return name.group() if name else None
    return None
