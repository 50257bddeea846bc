"""`manage.py list_changes`: what was changed of a subscription, and what is still to be."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, now, the_subscription
from apps.backoffice.printing import change_json
from apps.engine.period import iso
from apps.subscriptions import selectors, services
from apps.subscriptions.facts import ChangeFacts


class Command(BaseCommand):
    """List a subscription's changes, or call one off."""

    help = "List the changes of a subscription, latest first; --call-off ends one still to come."
    examples = (
        "  manage.py list_changes acme --subscription gateway\n"
        "  manage.py list_changes acme --call-off chg_01jd0c8y5wek3t6n4b2m1x9zqr"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, and which to call off."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--call-off", default="", metavar="ID", help="a change to come")

    def run(self, **options: Any) -> None:
        """Call one off where that is asked, and list them."""
        with inside(options["organization"], "list_changes") as organization:
            chosen = the_subscription(organization, options["subscription"])
            if options["call_off"]:
                services.cancel_scheduled_change(
                    chosen.public_id, change_id=options["call_off"], actor=self.actor, at=now()
                )
            found = selectors.changes_of(chosen.id)
        if self.as_json:
            self.print_json([change_json(one) for one in found])
        else:
            heads = ["Id", "Change", "Billed", "From", "Status", "By", ">Quoted"]
            self.print_table(heads, [_row(one, chosen.currency) for one in found])
        waiting = sum(one.status == "scheduled" for one in found)
        self.note(f"{len(found)} changes, {waiting} of them to come.")


def _row(one: ChangeFacts, currency: str) -> list[str]:
    quoted = "" if one.quoted_amount is None else amount(one.quoted_amount, currency)
    start = iso(one.effective_at)
    return [one.public_id, one.action, one.behaviour, start, one.status, one.requested_by, quoted]
