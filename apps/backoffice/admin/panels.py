"""What a detail page is made of: facts at the top, and tables in tabs below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.text import slugify

Cell = SafeString | str | int | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A value with its name; a wide one takes a row of its own."""

    label: str
    value: Cell
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; amounts stand at its right."""

    label: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A table in a tab. Headings that start with '>' are those of amounts.

    `body` replaces the table with ready markup; `more` leads to the whole list.
    """

    title: str
    headings: tuple[str, ...] = ()
    rows: Sequence[Sequence[Cell]] = ()
    empty: str = "Nothing here yet."
    note: str = ""
    more: str = ""
    body: SafeString | None = None

    @property
    def key(self) -> str:
        """The tab's name in the address."""
        return slugify(self.title)

    @property
    def columns(self) -> list[Column]:
        """The columns of the table."""
        return [Column(text.lstrip(">"), text.startswith(">")) for text in self.headings]

    @property
    def cells(self) -> list[list[tuple[Column, Cell]]]:
        """The rows, each cell with its column."""
        return [list(zip(self.columns, row, strict=True)) for row in self.rows]
