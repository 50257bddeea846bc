"""Who may call which operation, as `docs/access.md` declares it for people to review."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from tests.api.client import ROOT

DECLARED = ROOT / "docs" / "access.md"
ROLES = ("OWNER", "BILLING_ADMIN", "ADMIN", "MEMBER")
KEYS = {
    "organization, platform": frozenset({"organization", "platform"}),
    "platform": frozenset({"platform"}),
    "nobody needs one": frozenset[str](),
}
MARKS = {"✔": True, "–": False}


@dataclass(frozen=True, slots=True)
class Row:
    """Who may call an operation: keys of `keys` with all of the scopes, and people by role.

    An open one everybody may call; without scopes every key of `keys` may.
    """

    name: str
    address: str
    scopes: tuple[str, ...]
    keys: frozenset[str]
    roles: frozenset[str]

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key."""
        return not self.keys

    @property
    def for_platform(self) -> bool:
        """Whether a key of an organization may not, whatever scopes it has."""
        return self.keys == KEYS["platform"]


@functools.cache
def declared() -> dict[str, Row]:
    """Return every row by its operation; raises ValueError for one that cannot be read."""
    lines = DECLARED.read_text().splitlines()
    rows = [_row(line) for line in lines if line.startswith("| `")]
    found = {row.name: row for row in rows}
    if len(found) != len(rows):
        raise ValueError("docs/access.md has two rows for one operation")
    return found


def _row(line: str) -> Row:
    name, address, scopes, keys, *marks = [cell.strip() for cell in line.strip("|").split("|")]
    if keys not in KEYS or len(marks) != len(ROLES) or not set(marks) <= MARKS.keys():
        raise ValueError(f"docs/access.md: cannot read: {line}")
    roles = frozenset(role for role, mark in zip(ROLES, marks, strict=True) if MARKS[mark])
    needed = tuple(re.findall(r"`([a-z_:]+)`", scopes))
    return Row(name.strip("`"), address.strip("`"), needed, KEYS[keys], roles)
