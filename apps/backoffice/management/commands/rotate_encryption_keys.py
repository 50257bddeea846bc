"""`manage.py rotate_encryption_keys`: seal stored secrets with the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.core.crypto import CannotOpen
from apps.licensing import services
from apps.tenants import services as tenants


class Command(BaseCommand):
    """Move stored secrets over to the first of ENCRYPTION_KEYS."""

    help = (
        "Seal every stored secret with the first of ENCRYPTION_KEYS; the others may go afterwards."
        " Put the new key in front of the old one first. Safe to repeat."
    )
    examples = (
        "  manage.py rotate_encryption_keys\n  manage.py rotate_encryption_keys --format json"
    )

    def run(self, **options: Any) -> None:
        """Seal them anew, all or none, and print how many."""
        try:
            with rls.ops_scope("rotate_encryption_keys"):
                sealed = services.reseal_signing_keys(actor=self.actor, at=now())
                factors = tenants.reseal_second_factors()
        except CannotOpen as refusal:
            raise CommandError(str(refusal)) from refusal
        if self.as_json:
            self.print_json({"signing_keys": sealed, "second_factors": factors})
        else:
            self.print_table(
                ["Secret", ">Sealed"], [["signing keys", sealed], ["second factors", factors]]
            )
