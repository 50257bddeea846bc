"""`manage.py rotate_keys`: let the next key sign licences from now on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.keys import print_keys
from apps.core import rls
from apps.licensing import services
from apps.licensing.models import SigningKey


class Command(BaseCommand):
    """Change which key signs licences."""

    help = (
        "Let the next key sign from now on: the one that generate_keys published, or a new one."
        " What the old key signed stays good until it ends, and the old key is published as long."
    )
    examples = "  manage.py rotate_keys\n  manage.py rotate_keys --algorithm EdDSA --compromised"

    def arguments(self, parser: CommandParser) -> None:
        """Take the kind of a new key, and what became of the old one."""
        parser.add_argument("--algorithm", choices=SigningKey.Algorithm.values, default="")
        parser.add_argument(
            "--compromised",
            action="store_true",
            help="the old key is in wrong hands: withdraw it, and revoke all that it signed",
        )

    def run(self, **options: Any) -> None:
        """Rotate, and print what is published."""
        with rls.ops_scope("rotate_keys"):
            services.rotate_signing_key(
                options["algorithm"],
                compromised=options["compromised"],
                actor=self.actor,
                at=now(),
            )
        print_keys(self)
