"""How the API shows an object: without what is ours, with what was asked for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apps.sandbox.errors import Refusal
from apps.sandbox.world.registry import DRAWN, GROWN, Body

if TYPE_CHECKING:
    from apps.sandbox.world.objects import World

DEEPEST = 4


def draw(world: World, body: Body, expand: Sequence[str] = ()) -> Body:
    """Return an object, or a list of objects, as the API shows it."""
    if body.get("object") == "list":
        shown = {**body, "data": [_draw_one(world, each) for each in body["data"]]}
    else:
        shown = _draw_one(world, body)
    for path in expand:
        if len([part for part in path.split(".") if part != "data"]) > DEEPEST:
            raise Refusal(400, f"You cannot expand more than {DEEPEST} levels of a property.")
        _expand(world, shown, path.split("."), path)
    return shown


def _draw_one(world: World, body: Body) -> Body:
    """Return one object as it is shown; a preview that is drawn already says so (`_as_is`)."""
    shown = {name: copy.deepcopy(each) for name, each in body.items() if not name.startswith("_")}
    complete = DRAWN.get(body["object"])
    if complete is not None and not body.get("deleted") and not body.get("_as_is"):
        complete(world, body, shown)
    return shown


def _expand(world: World, shown: Any, parts: list[str], path: str) -> None:
    """Put objects in the places of their ids, along one path."""
    if isinstance(shown, list):
        for each in shown:
            _expand(world, each, parts, path)
        return
    if not isinstance(shown, dict) or not parts:
        return
    name, rest = parts[0], parts[1:]
    kind = shown.get("object")
    if (kind, name) in GROWN and not isinstance(shown.get(name), dict):
        shown[name] = _grow(world, shown, str(kind), name)
    if name not in shown:
        message = f"This property cannot be expanded ({path})."
        raise Refusal(400, message, param="expand", code="property_cannot_be_expanded")
    shown[name] = _object_for(world, shown[name])
    _expand(world, shown[name], rest, path)


def _grow(world: World, shown: Body, kind: str, name: str) -> Any:
    body = world.look(shown["id"])
    return draw_all(world, GROWN[kind, name](world, body if body is not None else shown))


def draw_all(world: World, value: Any) -> Any:
    """Draw an object or the objects of a list; anything else is shown as it is."""
    if isinstance(value, dict) and "object" in value:
        return draw(world, value)
    return copy.deepcopy(value)


def _object_for(world: World, value: Any) -> Any:
    if isinstance(value, list):
        return [_object_for(world, each) for each in value]
    body = world.look(value) if isinstance(value, str) else None
    return draw(world, body) if body is not None else value
