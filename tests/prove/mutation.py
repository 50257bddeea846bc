"""Mutants: the real source of a function with one line changed, put in the function's place.

A mutant whose line is no longer in the source is an error and not a pass, so mutants cannot
outlive the code they change.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def mutate(module: ModuleType, function: str, *changes: tuple[str, str]) -> None:
    """Replace `module.function`, or `module.Class.method`, by itself with each text changed.

    A function is replaced wherever a room or the engine imported it by name too. Called in a
    process of its own, because nothing puts the original back. Raises LookupError when an old text
    is not in the function exactly once.
    """
    holder, name = _holder(module, function)
    original = getattr(holder, name)
    changed = mutant_of(module, function, *changes)
    for place in (holder, *_importers(name, original)):
        setattr(place, name, changed)
    _forget_answers()


def _forget_answers() -> None:
    """Empty the caches: what was computed before the change is not what it makes."""
    for module in [*sys.modules.values()]:
        if module.__name__.startswith("apps."):
            for value in [*vars(module).values()]:
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


def mutate_text(module: ModuleType, name: str, change: tuple[str, str]) -> None:
    """Replace the text `module.name` by itself with a part changed, as `mutate` does a function."""
    old, new = change
    if vars(module)[name].count(old) != 1:
        raise LookupError(f"{module.__name__}.{name} no longer says: {old}")
    vars(module)[name] = vars(module)[name].replace(old, new)


def mutant_of(module: ModuleType, function: str, *changes: tuple[str, str]) -> Any:
    """Return what `mutate` would put in the function's place; changes nothing."""
    holder, name = _holder(module, function)
    return _changed(getattr(holder, name), f"{module.__name__}.{function}", changes)


def _holder(module: ModuleType, function: str) -> tuple[Any, str]:
    *path, name = function.split(".")
    holder: Any = module
    for step in path:
        holder = getattr(holder, step)
    return holder, name


def _changed(original: Any, said: str, changes: tuple[tuple[str, str], ...]) -> Any:
    source = textwrap.dedent(inspect.getsource(original))
    for old, new in changes:
        if source.count(old) != 1:
            raise LookupError(f"{said} no longer says: {old}")
        source = source.replace(old, new)
    found: dict[str, Any] = {}
    exec(compile(source, f"<mutant of {said}>", "exec"), _globals_of(original), found)
    return found[original.__name__]


def _globals_of(original: Any) -> dict[str, Any]:
    return vars(sys.modules[original.__module__])


def _importers(name: str, original: Any) -> Iterator[ModuleType]:
    for module in [*sys.modules.values()]:
        if module.__name__.startswith("apps.") and vars(module).get(name) is original:
            yield module
