"""`manage.py release_parked`: let runs bill again what was set aside."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.engine.period import iso
from apps.invoicing import selectors, services


class Command(BaseCommand):
    """Release parked subscriptions, or list them."""

    help = (
        "Let the next run bill subscriptions again that were set aside because billing them failed."
        " Without an id: list them."
    )
    examples = "  manage.py release_parked\n  manage.py release_parked --all"

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids from the list")
        parser.add_argument("--all", action="store_true", help="every one of them")

    def run(self, **options: Any) -> None:
        """List or release."""
        with rls.ops_scope("release_parked"):
            waiting = selectors.parked()
            chosen = [one.id for one in waiting] if options["all"] else options["ids"]
            if unknown := sorted(set(chosen) - {one.id for one in waiting}):
                raise CommandError(f"Nothing is parked as '{unknown[0]}'.")
            for parked_id in chosen:
                services.release_parked(parked_id, actor=self.actor, at=now())
        rows = [
            {
                "id": one.id,
                "subscription": one.subscription_id,
                "parked_at": iso(one.parked_at),
                "reason": one.reason,
                "released": one.id in chosen,
            }
            for one in waiting
        ]
        if self.as_json:
            self.print_json({"parked": rows})
        elif rows:
            heads = ["Id", "Subscription", "Since", "Reason", "Released"]
            self.print_table(heads, [[*row.values()] for row in rows])
        self.note(f"{len(chosen)} released, {len(rows) - len(chosen)} still set aside.")
