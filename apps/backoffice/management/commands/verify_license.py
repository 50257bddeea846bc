"""`manage.py verify_license`: whether a licence is good, and why not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.engine.period import iso
from apps.licensing import selectors
from apps.licensing.selectors import Verdict


class Command(BaseCommand):
    """Judge a token by our own books."""

    help = (
        "Say whether a licence is good now, by its signature, its times and our own books. Reads"
        " the token from a file, or from standard input. Changes nothing. Exit code 1 when it is"
        " not."
    )
    examples = (
        "  manage.py verify_license licence.jwt\n"
        "  manage.py verify_license --instance plant-1 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take the file, and who holds it up."""
        parser.add_argument("file", metavar="FILE", nargs="?", help="usual: standard input")
        parser.add_argument("--instance", default="", help="the installation that holds it up")

    def run(self, **options: Any) -> None:
        """Judge and tell."""
        path = options["file"]
        token = Path(path).read_text(encoding="utf-8") if path else sys.stdin.read()
        with rls.ops_scope("verify_license"):
            found = selectors.judge(token.strip(), at=now(), instance=options["instance"])
        if self.as_json:
            self.print_json(_json(found))
        else:
            heads = ["Good", "Reason", "Licence", "Customer", "Plan", "Renew by", "Ends"]
            self.print_table(heads, [_row(found)])
        if not found.valid:
            raise SystemExit(1)


def _row(found: Verdict) -> list[object]:
    one, claims = found.license, found.claims or {}
    said = ["yes" if found.valid else "no", found.sentence]
    if one is None:
        return [*said, "", "", "", "", ""]
    who = [one.public_id, claims["customerName"], one.plan]
    return [*said, *who, iso(one.expires_at), iso(one.ends_at)]


def _json(found: Verdict) -> dict[str, Any]:
    return {
        "valid": found.valid,
        "reason": str(found.standing),
        "detail": found.sentence,
        "claims": found.claims,
    }
