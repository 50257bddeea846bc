"""`migrate`, as the schema's owner: the run-time login owns nothing and may create nothing."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from apps.backoffice import schema


class Command(migrate.Command):
    """Django's command with another default database."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Default to the owner's login."""
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; when nothing was left out, remember that the schema is up to date."""
        super().handle(*args, **options)
        left_out = ("app_label", "plan", "check_unapplied", "fake", "prune")
        if not any(options.get(name) for name in left_out):
            schema.stamp()
