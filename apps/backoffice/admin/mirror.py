"""Stripe's objects as they were last read: dj-stripe's copies, to be looked at.

dj-stripe's own pages read fields that this version of the API does not have any more: that of
invoices crashes. These show the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import BigScreen
from apps.payments import mirror

# What tells people most about an object, if it has it.
NAMES = ("name", "description", "number", "code", "nickname", "email", "type")
AMOUNTS = ("total", "amount", "unit_amount")


@dataclass(frozen=True, slots=True)
class Named:
    """A row as the theme names it: what model it is of, its key, and a name."""

    pk: int
    name: str
    _meta: Any

    def __str__(self) -> str:
        return self.name


class MirrorScreen(BigScreen):
    """Copies of one kind of Stripe's objects."""

    view_capability = "view_invoices"
    list_display = ("id", "called", "sum", "state", "made", "read")
    search_fields = ("=id",)
    search_help_text = "The id at Stripe"
    ordering = ("-djstripe_id",)

    @column("Name")
    def called(self, row: Any) -> object:
        """What it is called."""
        found = (row.stripe_data.get(name) for name in NAMES)
        return cells.short(str(next(filter(None, found), "")), 60)

    @column("Amount")
    def sum(self, row: Any) -> str:
        """What it comes to."""
        said, currency = row.stripe_data, row.stripe_data.get("currency")
        amount = next((said[name] for name in AMOUNTS if isinstance(said.get(name), int)), None)
        return cells.EMPTY if amount is None or not currency else _money(amount, currency)

    @column("State")
    def state(self, row: Any) -> str:
        """What it says of itself."""
        said = row.stripe_data
        status = "deleted" if said.get("deleted") else said.get("status")
        return cells.badge(str(status)) if status else cells.EMPTY

    @column("Created")
    def made(self, row: Any) -> object:
        """When Stripe made it."""
        return cells.when(row.created)

    @column("Read", order="djstripe_updated")
    def read(self, row: Any) -> object:
        """When it was last read."""
        return cells.when(row.djstripe_updated)

    def heading(self, row: Any) -> str:
        """Its id: what dj-stripe calls it, it reads from fields that are not there."""
        return str(row.id)

    def named(self, row: Any) -> Named:
        """Its id, as in the heading."""
        return Named(row.pk, str(row.id), row._meta)

    def facts(self, row: Any) -> Sequence[Fact]:
        """What is known of it, and the whole of it."""
        return [
            Fact("State", self.state(row)),
            Fact("Amount", self.sum(row)),
            Fact("Created", cells.when(row.created)),
            Fact("Read", cells.when(row.djstripe_updated)),
            Fact("Mode", "live" if row.livemode else "test"),
            Fact("Id", cells.code(row.id)),
            Fact("Object", cells.document(row.stripe_data), wide=True),
        ]


def _money(amount: int, currency: str) -> str:
    return cells.money(amount, currency.upper())


SCREENS = dict.fromkeys(mirror.MODELS.values(), MirrorScreen)
