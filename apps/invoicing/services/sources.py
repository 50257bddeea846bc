"""What is done once a cause: again, it is the same, or it is refused."""

from __future__ import annotations

from collections.abc import Mapping

from apps.core.errors import Conflict
from apps.invoicing.models import Charge, CreditGrant

LONGEST = 60


def clean(source: str) -> str:
    """Return a cause as it is kept."""
    return source.strip()[:LONGEST]


def refuse_other_terms(row: Charge | CreditGrant, said: Mapping[str, object]) -> None:
    """Raise Conflict when what is there of the cause is not what is said now, by field."""
    moved = [name for name, value in said.items() if getattr(row, name) != value]
    if moved:
        words = ", ".join(name.removesuffix("_id").replace("_", " ") for name in moved)
        raise Conflict(
            f"'{row.source}' is there already, with other terms ({words}): "
            "give this one a source of its own.",
            param="source",
        )
