"""`manage.py prepare_database`: roles, database and privileges on a PostgreSQL server of yours."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import embedded, roles


class Command(BaseCommand):
    """Make the server ready for `migrate`; run it again after every upgrade."""

    help = (
        "Create the database roles, the database, its default privileges and the queue schema, or"
        " bring them up to date. Passwords come from DATABASE_URL and DATABASE_OWNER_URL unless"
        " given. Needs PostgreSQL 16 or newer."
    )
    examples = (
        "  manage.py prepare_database --admin-url postgresql://postgres:secret@db.example/postgres\n"
        "  manage.py prepare_database --admin-url URL --backup-password secret"
    )
    formats = ()

    def arguments(self, parser: CommandParser) -> None:
        """Add where and with which passwords."""
        parser.add_argument(
            "--admin-url", required=True, help="a login that may create roles and databases"
        )
        parser.add_argument("--database", default="", help="default: the one in DATABASE_URL")
        parser.add_argument("--app-password", default="", help="for billing_app")
        parser.add_argument("--owner-password", default="", help="for billing_owner")
        parser.add_argument("--backup-password", default="", help="for billing_backup")

    def run(self, **options: Any) -> None:
        """Prepare the server and say what for."""
        database = options["database"] or settings.DATABASES["default"]["NAME"]
        passwords = roles.Passwords(
            app=options["app_password"] or _password("default", roles.APP),
            owner=options["owner_password"] or _password("owner", roles.OWNER),
            backup=options["backup_password"] or None,
        )
        try:
            roles.prepare(options["admin_url"], database or embedded.DATABASE, passwords)
        except roles.UnfitServer as refusal:
            raise CommandError(str(refusal)) from refusal
        except psycopg.Error as error:
            raise CommandError(f"The server refused: {str(error).splitlines()[0]}") from error
        self.note(f"Database {database} is prepared; next: manage.py migrate")


def _password(alias: str, role: str) -> str | None:
    """Return the password that the settings use for this role, if it is the one they log in as."""
    login = settings.DATABASES[alias]
    return login.get("PASSWORD") or None if login.get("USER") == role else None
