"""`manage.py revoke_license`: let a licence count no more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import living_in, now
from apps.backoffice.management.commands.issue_license import license_json
from apps.core import rls
from apps.engine.period import iso
from apps.licensing import selectors, services


class Command(BaseCommand):
    """Take a licence back."""

    help = (
        "Revoke a licence: at once where it is verified here, for installations that nobody"
        " connects by the list of revoked ones. Whoever asks next gets a fresh one, as long as"
        " something is agreed. Safe to repeat."
    )
    examples = (
        "  manage.py revoke_license lic_01jd0c... --because 'stolen laptop'\n"
        "  manage.py revoke_license lic_01jd0c... --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which one, and why."""
        parser.add_argument("license", metavar="LICENCE", help="its id, the token's jti")
        parser.add_argument("--because", default="", help="kept on the record")

    def run(self, **options: Any) -> None:
        """Revoke it and show it."""
        with rls.ops_scope("revoke_license: whose it is"):
            owner = selectors.get(options["license"]).organization_id
        with living_in(owner):
            found = services.revoke_license(
                options["license"], because=options["because"], actor=self.actor, at=now()
            )
        if self.as_json:
            self.print_json(license_json(found))
        else:
            moment = "" if found.revoked_at is None else iso(found.revoked_at)
            heads = ["Licence", "Plan", "Instance", "Revoked", "Because"]
            row = [found.public_id, found.plan, found.instance, moment, found.revoked_because]
            self.print_table(heads, [row])
