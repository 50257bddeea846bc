"""How commands print the keys that licences are checked with."""

from __future__ import annotations

from apps.backoffice.commands import Command, now
from apps.engine.period import iso
from apps.licensing import selectors
from apps.licensing.selectors import PublicKey


def print_keys(command: Command) -> None:
    """Print every published key, the one that signs first; in JSON with its PEM."""
    found = selectors.public_keys(now())
    if command.as_json:
        command.print_json([_json(one) for one in found])
        return
    heads = ["Key", "Algorithm", "State", "Signs from", "Published until"]
    command.print_table(heads, [_row(one) for one in found])


def _row(one: PublicKey) -> list[object]:
    times = (one.signs_from, one.published_until)
    said = ["" if moment is None else iso(moment) for moment in times]
    return [one.kid, one.algorithm, one.status, *said]


def _json(one: PublicKey) -> dict[str, str | None]:
    return {
        "kid": one.kid,
        "algorithm": one.algorithm,
        "status": one.status,
        "public_key": one.pem,
        "signs_from": None if one.signs_from is None else iso(one.signs_from),
        "published_until": None if one.published_until is None else iso(one.published_until),
    }
