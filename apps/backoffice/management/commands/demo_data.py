"""`manage.py demo_data`: a world to look at."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice import demo
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.demo import cards
from apps.payments import gateway


class Command(BaseCommand):
    """Make the demo world, or bring its usage up to date."""

    help = (
        "Make demo customers with agreements, usage, invoices and logins: three with people,"
        " limits, alerts and an hour of unusual usage, and six that each show something, such as"
        " reverse charge, a promotion code, credit, a draft that is held, a threshold, yen. Run"
        " again it adds the usage of the days since, and on the same day nothing. Where Stripe"
        " answers (a test key, or the stand-in), one customer is charged by card."
    )
    examples = "  manage.py demo_data\n  manage.py demo_data --format json"

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do only."""
        super().add_arguments(parser)
        parser.add_argument(
            "--cards-only", action="store_true", help="only charge the customer who pays by card"
        )

    def run(self, **options: Any) -> None:
        """Build and say who can sign in."""
        if options["cards_only"]:
            self._charge()
            return
        started = time.monotonic()
        done = demo.build(actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"made": done.made, "left_alone": done.left_alone, "logins": _logins()})
        else:
            heads = ["Sign in as", "Password", "At", "Organization", "Role"]
            self.print_table(heads, [[*login.values()] for login in _logins()])
        for slug in done.left_alone:
            self.note(f"The organization '{slug}' is not the demo's and stays as it is.")
        said = ", ".join(f"{count:,} {what}" for what, count in done.made.items())
        self.note(f"{said or 'Nothing new'} ({time.monotonic() - started:.1f} s).")
        if gateway.configured():
            self._charge()

    def _charge(self) -> None:
        charged = cards.charge(actor=self.actor, at=now())
        if charged:
            self.note(f"{charged} invoices of {cards.SLUG} were charged to a test card.")


def _logins() -> list[dict[str, str]]:
    return [
        {
            "email": login.email,
            "password": demo.PASSWORD,
            "door": login.door,
            "organization": login.organization,
            "role": login.role or login.group,
        }
        for login in demo.LOGINS
    ]
