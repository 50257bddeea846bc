"""`manage.py create_api_key`: a program may come in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, inside, instant
from apps.core import clock, rls
from apps.tenants import services
from apps.tenants.roles import SCOPES
from apps.tenants.services import NewKey


class Command(BaseCommand):
    """Make an API key and print it, once."""

    help = (
        "Make an API key for an organization, or with --platform for the platform. The key stands"
        f" alone on stdout and can never be shown again. Scopes: {', '.join(SCOPES)}."
    )
    examples = (
        "  manage.py create_api_key acme --scopes usage:write,invoices:read\n"
        "  manage.py create_api_key --platform --scopes organizations:write --name provisioning"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose key and what it may do."""
        parser.add_argument("organization", metavar="SLUG", nargs="?")
        parser.add_argument("--platform", action="store_true", help="a key for all organizations")
        parser.add_argument("--scopes", type=comma_separated, required=True, metavar="A,B")
        parser.add_argument("--name", default="API key", help="to recognise it by")
        parser.add_argument("--expires", type=instant, help="until when it works; default: always")

    def run(self, **options: Any) -> None:
        """Make it."""
        if bool(options["organization"]) == options["platform"]:
            raise CommandError("Say whose key it is: an organization's SLUG, or --platform.")
        made = self._make(options)
        if self.as_json:
            shown = {"id": made.row.public_id, "name": made.row.name, "key": made.secret}
            self.print_json({**shown, "scopes": made.row.scopes, "expires_at": options["expires"]})
        else:
            self.stdout.write(made.secret)
        self.note(f"{made.row} may {', '.join(made.row.scopes)}. It is not shown again: keep it.")

    def _make(self, options: dict[str, Any]) -> NewKey:
        if options["platform"]:
            with rls.ops_scope("create_api_key"):
                return self._key(None, options, clock.now())
        with inside(options["organization"], "create_api_key") as organization:
            return self._key(organization.pk, options, clock.now())

    def _key(self, organization_id: int | None, options: dict[str, Any], at: datetime) -> NewKey:
        return services.create_api_key(
            organization_id,
            name=options["name"],
            scopes=options["scopes"],
            expires_at=options["expires"],
            actor=self.actor,
            at=at,
        )
