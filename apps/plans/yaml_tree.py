"""A YAML text as a tree whose every node knows its line, and whose every scalar is still text.

YAML turns `0.1` into a binary fraction, `no` into false and `010` into 8. Here a scalar keeps its
characters, and the field that asks for it decides what they mean. Tags, anchors, aliases and
several documents in one text are refused: a catalogue needs none of them, and they are how YAML
runs code or blows up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from apps.plans.errors import Place

MAX_DEPTH = 12


class Unreadable(ValueError):
    """The text is no YAML, or uses what is refused here."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class Scalar:
    """Characters as they were written; `plain` when they stood without quotes."""

    place: Place
    text: str
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether this is YAML's null: nothing at all, `null` or `~`, unquoted."""
        return self.plain and self.text.lower() in {"", "null", "~"}


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping in the order written, doubled keys included."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Items | Pairs


def tree_of(text: str) -> Node:
    """Return the text's one document. Raises Unreadable, with the place."""
    try:
        events = _meaningful(yaml.parse(text, Loader=yaml.SafeLoader))
        first = next(events, None)
        if first is None:
            raise Unreadable(Place(1, 1), "the file is empty")
        node = _node(first, events, 1)
        for event in events:
            raise Unreadable(_place(event.start_mark), "one document only: remove the others")
        return node
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_place(error.problem_mark), _sentence(error)) from error
    except yaml.reader.ReaderError as error:
        raise Unreadable(
            _place_at(text, error.position), "a control character; remove it"
        ) from error


def _meaningful(events: Iterator[Any]) -> Iterator[Any]:
    frame = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent)
    return (event for event in events if not isinstance(event, (*frame, yaml.DocumentEndEvent)))


def _node(event: Any, events: Iterator[Any], depth: int) -> Node:
    _refuse_magic(event)
    place = _place(event.start_mark)
    if depth > MAX_DEPTH:
        raise Unreadable(place, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(place, event.value, event.style is None)
    if isinstance(event, yaml.SequenceStartEvent):
        return Items(place, tuple(_until(yaml.SequenceEndEvent, events, depth)))
    return Pairs(place, tuple(_paired(_until(yaml.MappingEndEvent, events, depth))))


def _until(end: type, events: Iterator[Any], depth: int) -> Iterator[Node]:
    for event in events:
        if isinstance(event, end):
            return
        yield _node(event, events, depth + 1)


def _paired(nodes: Iterator[Node]) -> Iterator[tuple[Scalar, Node]]:
    for key in nodes:
        if not isinstance(key, Scalar):
            raise Unreadable(key.place, "a key must be a single word")
        yield key, next(nodes)


def _refuse_magic(event: Any) -> None:
    place = _place(event.start_mark)
    if getattr(event, "anchor", None) is not None:
        raise Unreadable(place, "anchors and aliases (& and *) are not read: write the value out")
    if getattr(event, "tag", None) is not None:
        raise Unreadable(place, f"tags are not read: remove {event.tag!r}")


def _place(mark: Any) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _place_at(text: str, position: int) -> Place:
    before = text[:position]
    return Place(before.count("\n") + 1, position - before.rfind("\n"))


def _sentence(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    return f"not YAML: {said}"
