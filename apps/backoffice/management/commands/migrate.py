"""`migrate`, as the schema's owner: the run-time login owns nothing and may create nothing."""

from __future__ import annotations

from django.core.management.base import CommandParser
from django.core.management.commands import migrate


class Command(migrate.Command):
    """Django's command with another default database."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Default to the owner's login."""
        super().add_arguments(parser)
        parser.set_defaults(database="owner")
