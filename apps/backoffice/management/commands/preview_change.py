"""`manage.py preview_change`: what a change would cost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now, the_subscription
from apps.backoffice.printing import quote_json
from apps.backoffice.wishing import add_wishes, show_quote, told, wish_of
from apps.invoicing import quoting
from apps.subscriptions.changes import Behaviour


class Command(BaseCommand):
    """Quote a change of a subscription; changes nothing."""

    help = (
        "Show what a change would bill, by the computation that bills it: at once, and on the next"
        " invoice. change_subscription takes `amount` and `at` of the JSON as what was quoted."
    )
    examples = (
        "  manage.py preview_change acme --plan large --behaviour now --format json\n"
        "  manage.py preview_change acme --quantity 12 --behaviour next_period"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, what and how."""
        add_wishes(parser)

    def run(self, **options: Any) -> None:
        """Quote it."""
        with inside(options["organization"], "preview_change") as organization:
            chosen = the_subscription(organization, options["subscription"])
            quoted = quoting.quote_change(
                chosen.public_id,
                wish=wish_of(chosen, options),
                behaviour=Behaviour(options["behaviour"]),
                at=now(),
                effective_at=options["start"],
            )
        if self.as_json:
            self.print_json(quote_json(quoted))
        else:
            show_quote(self, quoted)
        self.note(told(quoted))
