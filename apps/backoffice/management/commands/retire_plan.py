"""`manage.py retire_plan`: a plan is sold no more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.plans import services


class Command(BaseCommand):
    """Take a plan off the price list."""

    help = (
        "Sell a plan no more; who subscribed keeps it. Loading a file that names it sells it again."
    )
    examples = "  manage.py retire_plan gateway\n  manage.py retire_plan gateway --format json"

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        parser.add_argument("plan", metavar="PLAN", help="its code or id")

    def run(self, **options: Any) -> None:
        """Retire its version."""
        with rls.ops_scope("retire_plan"):
            gone = services.retire_plan(options["plan"], actor=self.actor, at=now())
        if self.as_json:
            shown = {"plan": gone.plan_code, "plan_version": gone.public_id, "number": gone.number}
            self.print_json({**shown, "status": gone.status})
        else:
            self.stdout.write(f"{gone.plan_name} is sold no more; v{gone.number} was its last.")
