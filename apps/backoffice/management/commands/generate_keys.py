"""`manage.py generate_keys`: make the key that signs licences, or the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.keys import print_keys
from apps.core import rls
from apps.licensing import services
from apps.licensing.models import SigningKey


class Command(BaseCommand):
    """Make a key for licences."""

    help = (
        "Make a key that signs licences and store it sealed. The first one signs at once; another"
        " is published now and signs after rotate_keys. With LICENSE_PRIVATE_KEY, or --private-key,"
        " that key is taken over instead. Prints the public keys: give those to installations."
    )
    examples = (
        "  manage.py generate_keys\n"
        "  manage.py generate_keys --algorithm EdDSA --public-key-file keys/public-key.pem"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take the kind, a key made elsewhere, and where to put the public half."""
        parser.add_argument("--algorithm", choices=SigningKey.Algorithm.values, default="RS256")
        parser.add_argument("--private-key", metavar="FILE", help="PEM of a key made elsewhere")
        parser.add_argument("--public-key-file", metavar="FILE", help="write its public half there")

    def run(self, **options: Any) -> None:
        """Make or take it over, and print what is published."""
        given, public_pem = settings.LICENSE_PRIVATE_KEY, settings.LICENSE_PUBLIC_KEY
        if options["private_key"]:
            given, public_pem = Path(options["private_key"]).read_text(encoding="utf-8"), ""
        with rls.ops_scope("generate_keys"):
            if given:
                made = services.adopt_signing_key(
                    given, public_pem=public_pem, actor=self.actor, at=now()
                )
            else:
                made = services.generate_signing_key(
                    options["algorithm"], actor=self.actor, at=now()
                )
        if options["public_key_file"]:
            Path(options["public_key_file"]).write_text(made.public_pem, encoding="utf-8")
        print_keys(self)
