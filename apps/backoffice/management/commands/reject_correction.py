"""`manage.py reject_correction`: decide what review_corrections shows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import living_in, now
from apps.backoffice.printing import CORRECTION_HEADS, correction_json, correction_row
from apps.core import rls
from apps.invoicing import healing, services


class Command(BaseCommand):
    """Leave a line as it was billed."""

    help = (
        "Leave a line as it was billed. When its usage changes once more, somebody is asked again."
    )
    examples = (
        "  manage.py reject_correction cor_01jz0000000000000000000000 --reason 'our delay'\n"
        "  manage.py reject_correction cor_01jz0000000000000000000000 --reason known --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which and why."""
        parser.add_argument("correction", metavar="ID", help="as review_corrections shows it")
        parser.add_argument("--reason", required=True, help="kept with the correction")

    def run(self, **options: Any) -> None:
        """Decide."""
        wanted = options["correction"]
        with rls.ops_scope("reject_correction: find whose it is"):
            organization_id = healing.owner_of(wanted)
        with living_in(organization_id):
            done = services.reject_correction(
                wanted, reason=options["reason"], actor=self.actor, at=now()
            )
            (row,) = healing.named([done.pk])
        if self.as_json:
            self.print_json(correction_json(row))
        else:
            self.print_table(CORRECTION_HEADS, [correction_row(row)])
        self.note(f"{wanted} is not billed.")
