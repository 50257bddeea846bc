"""`manage.py buy_seats`: more seats, or fewer with a choice of whom to release."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, inside, now, the_subscription
from apps.seats import quoting, selectors, services
from apps.subscriptions.changes import Behaviour


class Command(BaseCommand):
    """Buy seats, or release some, or only say what it would cost."""

    help = (
        "Buy so many seats more, billed at once; below zero release some, from the next period on."
    )
    examples = (
        "  manage.py buy_seats globex 3 --dry-run\n"
        "  manage.py buy_seats globex -1 --release seat_01jd0c4v9k3m8r2t6w5x7y1z0a"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, how many and how."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("count", type=int, metavar="N", help="more; below zero: fewer")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--item", default="", metavar="KEY", help="when there are several")
        parser.add_argument(
            "--behaviour", choices=[one.value for one in Behaviour], help="how it is billed"
        )
        parser.add_argument(
            "--release", type=comma_separated, default=[], metavar="ID,…", help="seats that go"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what it costs")

    def run(self, **options: Any) -> None:
        """Quote it, and do it."""
        with inside(options["organization"], "buy_seats") as organization:
            chosen = the_subscription(organization, options["subscription"])
            quoted = quoting.quote_seats(
                chosen.public_id,
                count=options["count"],
                item=options["item"],
                behaviour=options["behaviour"] and Behaviour(options["behaviour"]),
                releasing=options["release"],
                at=now(),
            )
            if not options["dry_run"]:
                self._change(chosen.public_id, quoted.considered.behaviour, options)
            pool = selectors.pool(organization.pk, chosen.public_id, item=options["item"], at=now())
        shown = {
            "bought": pool.bought,
            "assigned": pool.assigned,
            "amount": str(quoted.amount),
            "effective_at": quoted.considered.effective_at,
        }
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["", ""], [[name, str(value)] for name, value in shown.items()])
        self.note("Nothing was changed." if options["dry_run"] else "Done.")

    def _change(self, subscription: str, behaviour: Behaviour, options: dict[str, Any]) -> None:
        count, item = options["count"], options["item"]
        if count < 0:
            services.release_seats(
                subscription, count=-count, seats=options["release"], item=item,
                behaviour=behaviour, actor=self.actor, at=now(),
            )  # fmt: skip
        else:
            services.buy_seats(
                subscription, count=count, item=item, behaviour=behaviour,
                actor=self.actor, at=now(),
            )  # fmt: skip
