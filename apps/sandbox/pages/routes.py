"""Which page is where."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from apps.sandbox.pages.drawing import Answer

Draws = TypeVar("Draws", bound=Callable[..., Answer])
_ROUTES: list[tuple[re.Pattern[str], Callable[..., Answer]]] = []


def page(path: str) -> Callable[[Draws], Draws]:
    """Put a page at a path: `/i/{invoice}` calls it with the visit and the id."""
    pattern = re.compile(re.sub(r"\{\w+\}", r"([A-Za-z0-9_]+)", path))

    def register(function: Draws) -> Draws:
        _ROUTES.append((pattern, function))
        return function

    return register


def find(path: str) -> tuple[Callable[..., Answer], tuple[str, ...]] | None:
    """Return the page of a path, with the ids in it."""
    for pattern, function in _ROUTES:
        if found := pattern.fullmatch(path):
            return function, found.groups()
    return None
