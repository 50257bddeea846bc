"""`manage.py replay_stripe_events`: handle events of Stripe's once more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant
from apps.core import rls
from apps.payments import services


class Command(BaseCommand):
    """Put events of Stripe's back into the inbox, to be handled again."""

    help = (
        "Handle events that Stripe told once more: all that match. Their objects are read as they"
        " are now, so this is harmless as often as you like."
    )
    examples = (
        "  manage.py replay_stripe_events --failed\n"
        "  manage.py replay_stripe_events --since 2026-01-30 --type invoice. --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which events."""
        parser.add_argument("events", nargs="*", help="their ids (evt_…)")
        parser.add_argument("--since", type=instant, help="those that happened from then on")
        parser.add_argument("--type", default="", help="those whose type begins so: invoice.")
        parser.add_argument("--object", default="", help="those of this object: in_…, sub_…")
        parser.add_argument("--failed", action="store_true", help="those that were given up")

    def run(self, **options: Any) -> None:
        """Put them back, handle them and report."""
        named = ("events", "since", "type", "object", "failed")
        if not any(options[name] for name in named):
            raise CommandError("Say which events: ids, --since, --type, --object or --failed.")
        with rls.ops_scope("replay events of the provider"):
            replayed = services.replay_events(
                options["events"],
                since=options["since"],
                type_prefix=options["type"],
                object_id=options["object"],
                only_failed=options["failed"],
                actor=self.actor,
            )
        handled = services.handle_events()
        if self.as_json:
            self.print_json({"replayed": replayed, "handled": handled})
        else:
            self.print_table(["Replayed", "Handled"], [[replayed, handled]])
        self.note(f"{replayed} events were put back, {handled} objects were handled.")
