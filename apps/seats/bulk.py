"""Seats by the file: a CSV is read, every row is looked at, and nothing is applied by half."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apps.core.errors import Invalid

MOST_ROWS = 1000
ASSIGN, REVOKE = "assign", "revoke"
COLUMNS = ("person", "action")
TEMPLATE = "person,action\nsomebody@example.com,assign\n"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file: what is to be done for whom. `number` counts lines, the heading is 1."""

    number: int
    person: str
    action: str = ASSIGN


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would come of a row: assign, invite, keep or revoke; or nothing and a `problem`."""

    row: Row
    outcome: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outlooks:
    """What would come of a file: every row, and the three numbers of the pool before and after."""

    rows: Sequence[Outlook]
    bought: int
    before: int
    after: int

    @property
    def bought_then(self) -> int:
        """How many are bought when it is done."""
        return max(self.bought, self.after)

    @property
    def buys(self) -> int:
        """How many seats more are bought, where the pool may grow by itself."""
        return self.bought_then - self.bought

    @property
    def wrong(self) -> list[Outlook]:
        """The rows with a problem: as long as there is one, nothing is applied."""
        return [one for one in self.rows if one.problem]


def read(text: str) -> list[Row]:
    """Return the rows of a CSV with the heading `person` and, where wanted, `action`.

    Empty lines are passed over. Raises Invalid for what is no such file, or is too long.
    """
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    try:
        heading = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = heading
        _check_heading(heading)
        rows = list(_rows(reader))
    except csv.Error as error:
        raise Invalid(f"This is not CSV: {error}.", param="csv") from None
    if not 0 < len(rows) <= MOST_ROWS:
        raise Invalid(f"The file has {len(rows)} rows; send 1 to {MOST_ROWS}.", param="csv")
    return rows


def _check_heading(heading: Sequence[str]) -> None:
    unknown = [name for name in heading if name not in COLUMNS]
    if "person" not in heading or unknown or len(set(heading)) != len(heading):
        raise Invalid("The first line names the columns: person and action.", param="csv")


def _rows(reader: csv.DictReader[str]) -> Iterator[Row]:
    for said in reader:
        person = (said.get("person") or "").strip()
        action = (said.get("action") or "").strip().lower() or ASSIGN
        if None in said:
            raise Invalid(f"Line {reader.line_num} has too many fields.", param="csv")
        if person or action != ASSIGN:
            yield Row(reader.line_num, person, action)
