"""Which price an event belongs to, where one meter has several: the most specific match wins.

A price with filters takes the events whose properties they name, {dimension: values}; one without
takes what is left. The more dimensions a price names the more specific it is, and of two equally
specific ones the earlier takes the event. So every event belongs to one price, or to none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from apps.engine.agreement import Item, ItemKind
from apps.engine.values import value_class

Filters = Mapping[str, tuple[str, ...]]


@value_class(frozen=True, slots=True)
class Match:
    """The events of one price: they fit all of `include`, and none of `exclude` as a whole.

    Nothing to include is every event.
    """

    include: Filters = field(default_factory=dict, hash=False)
    exclude: tuple[Filters, ...] = field(default=(), hash=False)

    def takes(self, properties: Mapping[str, str]) -> bool:
        """Whether an event with these properties belongs to the price."""
        return fits(self.include, properties) and not any(
            fits(other, properties) for other in self.exclude
        )

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: dimensions and values in order."""
        return {"include": _plain(self.include), "exclude": [_plain(one) for one in self.exclude]}


EVERYTHING = Match()


def fits(filters: Filters, properties: Mapping[str, str]) -> bool:
    """Whether every dimension named has one of its values; a missing property has none."""
    return all(properties.get(name) in values for name, values in filters.items())


def matches(items: Iterable[Item]) -> dict[int, Match]:
    """What each metered item takes of its meter, by item id.

    Items compete within a meter and a group: the prices of one plan version. Two items of one key
    are the same price one after the other and leave each other alone.
    """
    rivals: dict[tuple[str | None, int], list[Item]] = defaultdict(list)
    for item in items:
        if item.kind is ItemKind.METERED:
            rivals[item.meter, item.group].append(item)
    return {item.id: _match(item, group) for group in rivals.values() for item in group}


def _match(item: Item, group: Sequence[Item]) -> Match:
    mine = group.index(item)
    exclude: list[Filters] = []
    for position, other in enumerate(group):
        before = (len(other.filters), -position) > (len(item.filters), -mine)
        if (
            other.key != item.key
            and before
            and _meet(item.filters, other.filters)
            and other.filters not in exclude
        ):
            exclude.append(other.filters)
    return Match(item.filters, tuple(exclude))


def _meet(one: Filters, other: Filters) -> bool:
    """Whether an event could fit both."""
    return all(set(one[name]) & set(other[name]) for name in one.keys() & other.keys())


def _plain(filters: Filters) -> dict[str, list[str]]:
    return {name: sorted(filters[name]) for name in sorted(filters)}
