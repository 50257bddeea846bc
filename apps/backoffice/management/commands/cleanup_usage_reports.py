"""`manage.py cleanup_usage_reports`: forget old device reports."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.printing import counted
from apps.core import clock, rls
from apps.tenants import selectors as tenants
from apps.usage import devices, services

AGE = re.compile(r"([0-9]{1,4})d?")


class Command(BaseCommand):
    """Delete reports that nobody asks for any more."""

    help = (
        "Delete device reports of more than 90 days ago. The scheduler does so every day; usage"
        " that was counted stays. Safe to repeat."
    )
    examples = (
        "  manage.py cleanup_usage_reports\n"
        "  manage.py cleanup_usage_reports --older-than 30d --organization acme --dry-run"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take how old, and whose."""
        parser.add_argument(
            "--older-than", type=_age, default=devices.KEPT, metavar="DAYS", help="default: 90d"
        )
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")
        parser.add_argument("--dry-run", action="store_true", help="count them only")

    def run(self, **options: Any) -> None:
        """Delete them."""
        slug, dry = options["organization"], options["dry_run"]
        with rls.ops_scope("cleanup_usage_reports"):
            found = services.cleanup_reports(
                older_than=options["older_than"],
                actor=self.actor,
                at=clock.now(),
                organization_id=tenants.get_organization(slug).pk if slug else None,
                dry_run=dry,
            )
        if self.as_json:
            self.print_json({"deleted": 0 if dry else found, "found": found})
        done = "to delete" if dry else "deleted"
        self.note(f"{counted(found, 'report')} {done}.")


def _age(text: str) -> timedelta:
    found = AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days; write 90d")
    return timedelta(days=int(found[1]))
