"""Reading typed values out of a tree, noting every problem with its place instead of stopping.

A reader that finds something wrong notes it and answers with a harmless stand-in, so that one pass
over a file finds all that is wrong with it. Nobody uses the stand-ins: a file with problems is
refused as a whole.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from apps.plans.errors import Place, Problem
from apps.plans.yaml_tree import Items, Node, Pairs, Scalar

WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
WORD_RULE = "up to 50 of a-z, 0-9, _ and -, the first a letter or digit"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# No leading zero: 010 is eight to some readers of YAML. The exponent is short, lest it explode.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17}|[1-9][0-9]{0,2}(_[0-9]{3}){1,5})")
_DECIMAL = re.compile(_WHOLE.pattern + r"(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")


class Form:
    """One mapping of the file: ask for each key it may have, then `close()`."""

    def __init__(self, node: Node, problems: list[Problem], what: str) -> None:
        self.place = node.place
        self.what = what
        self._problems = problems
        self._given_up = False
        self._asked: list[str] = []
        self._nodes: dict[str, Node] = {}
        self._places: dict[str, Place] = {}
        if isinstance(node, Pairs):
            self._keep(node)
        else:
            self.note(node.place, f"{what} must be a mapping of keys and values")

    def _keep(self, node: Pairs) -> None:
        for key, value in node.entries:
            if key.text in self._nodes:
                first = self._places[key.text].line
                self.note(key.place, f"{shown(key.text)} stands here twice, first on line {first}")
                continue
            self._nodes[key.text], self._places[key.text] = value, key.place

    @property
    def count(self) -> int:
        """How many problems were noted so far, here and elsewhere in the file."""
        return len(self._problems)

    def is_null(self, key: str) -> bool:
        """Tell whether the key is written and says null."""
        node = self._nodes.get(key)
        return isinstance(node, Scalar) and node.is_null

    def places(self) -> dict[str, Place]:
        """Return where each key's value stands."""
        return {key: node.place for key, node in self._nodes.items()}

    def note(self, place: Place, message: str) -> None:
        """Add a problem, unless the form was given up."""
        if not self._given_up:
            self._problems.append(Problem(place, message))

    def give_up(self) -> None:
        """Note nothing more here: the rest depends on something that is wrong already."""
        self._given_up = True

    def place_of(self, key: str) -> Place:
        """Return where the key's value stands, or the mapping itself when it is missing."""
        node = self._nodes.get(key)
        return self.place if node is None else node.place

    def has(self, key: str) -> bool:
        """Tell whether the key is written."""
        return key in self._nodes

    def names(self) -> list[str]:
        """Return the keys as written: for mappings whose keys are names, not fields."""
        return list(self._nodes)

    def key_place(self, key: str) -> Place:
        """Return where the key itself stands."""
        return self._places[key]

    def take(self, key: str, *, required: bool = False) -> Node | None:
        """Return the key's node; note its absence when it is required."""
        self._asked.append(key)
        node = self._nodes.get(key)
        if node is None and required:
            self.note(self.place, f"{self.what} needs {key!r}")
        return node

    def scalar(self, key: str, *, required: bool = False) -> Scalar | None:
        """Return the key's scalar; a list or mapping in its place is a problem."""
        node = self.take(key, required=required)
        if node is None or isinstance(node, Scalar):
            return node
        self.note(node.place, f"{key!r} must be a single value")
        return None

    def text(self, key: str, *, required: bool = False, limit: int = 200) -> str:
        """Return printable text of at most `limit` characters, empty when it is absent."""
        return self.optional_text(key, required=required, limit=limit) or ""

    def optional_text(self, key: str, *, required: bool = False, limit: int = 200) -> str | None:
        """Return the text, or None when the key is absent: the file has no opinion."""
        scalar = self.scalar(key, required=required)
        if scalar is None:
            return None
        if scalar.is_null:
            self.note(scalar.place, f'{key!r} needs text; write "" for none')
        return self._printable(scalar, key, limit, required)

    def _printable(self, scalar: Scalar, key: str, limit: int, required: bool) -> str:
        text = scalar.text.strip()
        if required and not text and not scalar.is_null:
            self.note(scalar.place, f"{key!r} must not be empty")
        if len(text) > limit:
            self.note(scalar.place, f"{key!r} has {len(text)} characters; at most {limit}")
        if _UNPRINTABLE.search(text):
            self.note(scalar.place, f"{key!r} has a control character; remove it")
        return text

    def word(self, key: str, *, required: bool = True, rule: str = WORD_RULE) -> str:
        """Return a key, code or slug."""
        scalar = self.scalar(key, required=required)
        if scalar is None:
            return ""
        if scalar.is_null or not WORD.fullmatch(scalar.text):
            self.note(scalar.place, f"{key!r} must be {rule}: not {shown(scalar.text)}")
        return scalar.text

    def choice(self, key: str, choices: Collection[str], default: str = "") -> str:
        """Return one of the choices; without a default the key is required."""
        scalar = self.scalar(key, required=not default)
        if scalar is None:
            return default
        if scalar.text not in choices:
            self.note(scalar.place, f"{key!r} must be one of {one_of(choices, scalar.text)}")
        return scalar.text

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false, as YAML 1.2 spells them."""
        scalar = self.scalar(key)
        if scalar is None:
            return default
        if not scalar.plain or scalar.text not in {"true", "false"}:
            self.note(scalar.place, f"{key!r} must be true or false: not {shown(scalar.text)}")
        return scalar.text == "true"

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number between `least` and `most`."""
        scalar = self.scalar(key)
        if scalar is None:
            return default
        number = int(scalar.text) if _WHOLE.fullmatch(scalar.text) else None
        if number is None or not least <= number <= most:
            self.note(
                scalar.place,
                f"{key!r} must be a whole number from {least} to {most}: not {shown(scalar.text)}",
            )
        return default if number is None else number

    def decimal(self, key: str, *, required: bool = False) -> Decimal | None:
        """Return the exact decimal, quoted or not; None when it is absent or wrong."""
        scalar = self.scalar(key, required=required)
        if scalar is None:
            return None
        if not _DECIMAL.fullmatch(scalar.text):
            rule = f"{key!r} must be a decimal number such as 12.50 or 0.0000015"
            self.note(scalar.place, f"{rule}: not {shown(scalar.text)}")
            return None
        return Decimal(scalar.text)

    def items(self, key: str, *, required: bool = False) -> Sequence[Node]:
        """Return the nodes of the key's list, none when it is absent."""
        node = self.take(key, required=required)
        if node is None or isinstance(node, Items):
            return () if node is None else node.nodes
        self.note(node.place, f"{key!r} must be a list")
        return ()

    def forms(self, key: str, what: str, *, required: bool = False) -> Iterator[Form]:
        """Return a form for each mapping of the key's list."""
        return (Form(node, self._problems, what) for node in self.items(key, required=required))

    def inner(self, key: str, what: str) -> Form | None:
        """Return a form for the key's mapping, None when it is absent."""
        node = self.take(key)
        return None if node is None else Form(node, self._problems, what)

    def counted(self, key: str, most: int) -> int | None:
        """Return a whole number from 1 to `most`, None when it is absent."""
        self.take(key)
        return self.whole(key, 1, 1, most) if self.has(key) else None

    def optional_texts(self, key: str) -> tuple[str, ...] | None:
        """Return the list of texts, or None when the key is absent: the file has no opinion."""
        found = self.texts(key)
        return found if self.has(key) else None

    def choices(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return which values are meant in each dimension, {} when the key is absent."""
        inner = self.inner(key, f"{key!r}")
        return {} if inner is None else inner.choices_of()

    def choices_of(self) -> dict[str, tuple[str, ...]]:
        """Read the form itself so: every key is a dimension, with at least one value."""
        if not self._nodes:
            self.note(self.place, f"{self.what} must name a dimension; remove it to mean all")
        found = {name: self.texts(name) for name in self._nodes}
        for name, values in found.items():
            if not values and isinstance(self._nodes[name], Items):
                self.note(self.place_of(name), f"{name!r} needs at least one value")
        return found

    def instant(self, key: str) -> datetime | None:
        """Return an ISO 8601 instant; a day alone is its midnight, no zone means UTC."""
        scalar = self.scalar(key)
        if scalar is None:
            return None
        try:
            found = datetime.fromisoformat(scalar.text)
        except ValueError:
            rule = f"{key!r} must be an instant such as 2027-01-31T00:00:00Z"
            self.note(scalar.place, f"{rule}: not {shown(scalar.text)}")
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def day(self, key: str) -> date | None:
        """Return a required day."""
        scalar = self.scalar(key, required=True)
        if scalar is None:
            return None
        try:
            return date.fromisoformat(scalar.text)
        except ValueError:
            rule = f"{key!r} must be a day such as 2027-01-31"
            self.note(scalar.place, f"{rule}: not {shown(scalar.text)}")
            return None

    def amounts(self, key: str) -> dict[str, Decimal]:
        """Return amounts by currency, in major units."""
        inner = self.inner(key, f"{key!r}")
        if inner is None:
            return {}
        read = {code: inner.decimal(code) for code in inner.names()}
        return {code: amount for code, amount in read.items() if amount is not None}

    def numbers(self, key: str) -> tuple[Decimal, ...]:
        """Return the key's list of exact decimals."""
        found: list[Decimal] = []
        for node in self.items(key):
            if isinstance(node, Scalar) and _DECIMAL.fullmatch(node.text):
                found.append(Decimal(node.text))
            else:
                self.note(node.place, f"each of {key!r} must be a decimal number such as 12.50")
        return tuple(found)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the key's list of texts, or its one text; each at most once."""
        node = self.take(key)
        nodes = (node,) if isinstance(node, Scalar) else self.items(key)
        found: list[str] = []
        for one in nodes:
            if not isinstance(one, Scalar) or one.is_null or not one.text.strip():
                self.note(one.place, f"each of {key!r} must be a text")
            elif one.text in found:
                self.note(one.place, f"{shown(one.text)} stands twice in {key!r}")
            else:
                found.append(one.text)
        return tuple(found)

    def words(
        self, key: str, pattern: re.Pattern[str] = WORD, rule: str = WORD_RULE
    ) -> tuple[str, ...]:
        """Return the key's list of words, each at most once."""
        found: list[str] = []
        for node in self.items(key):
            if not isinstance(node, Scalar) or not pattern.fullmatch(node.text):
                self.note(node.place, f"each of {key!r} must be {rule}")
            elif node.text in found:
                self.note(node.place, f"{shown(node.text)} stands twice in {key!r}")
            else:
                found.append(node.text)
        return tuple(found)

    def close(self) -> None:
        """Note every key that nobody asked for."""
        for key, place in self._places.items():
            if key not in self._asked:
                known = one_of(self._asked, key)
                self.note(place, f"{self.what} has no key {shown(key)}; it has {known}")


def one_of(choices: Collection[str], written: str) -> str:
    """Name the choices, and the one that was probably meant."""
    close = difflib.get_close_matches(written, choices, n=1)
    return ", ".join(choices) + (f" (did you mean {close[0]!r}?)" if close else "")


def shown(text: str) -> str:
    """Quote what was written, as much of it as fits in a line."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
