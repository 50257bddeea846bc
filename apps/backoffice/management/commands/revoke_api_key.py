"""`manage.py revoke_api_key`: a program may come in no longer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import clock, rls
from apps.tenants import services


class Command(BaseCommand):
    """Revoke an API key."""

    help = "Revoke an API key: it is refused from the next request on. Safe to repeat."
    examples = (
        "  manage.py revoke_api_key key_01jd0c…\n"
        "  manage.py revoke_api_key key_01jd0c… --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        parser.add_argument("key", metavar="KEY", help="its id, key_…; not the key itself")

    def run(self, **options: Any) -> None:
        """Revoke it."""
        with rls.ops_scope("revoke_api_key"):
            row = services.revoke_api_key(options["key"], actor=self.actor, at=clock.now())
        shown = {"id": row.public_id, "name": row.name, "revoked_at": row.revoked_at}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "Name", "Revoked"], [[*shown.values()]])
        self.note(f"{row} is refused from now on.")
