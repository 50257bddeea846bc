"""`manage.py expire_reservations`: say of reservations that have run out that they have."""

from __future__ import annotations

from typing import Any

from apps.backoffice.commands import Command as BaseCommand
from apps.core import clock
from apps.entitlements import services


class Command(BaseCommand):
    """Settle what has run out."""

    help = (
        "Settle reservations that have run out. Their amounts are free from that instant on anyway;"
        " the scheduler does this every minute."
    )
    examples = "  manage.py expire_reservations\n  manage.py expire_reservations --format json"

    def run(self, **options: Any) -> None:
        """Settle them."""
        expired = services.expire_reservations(actor=self.actor, at=clock.now())
        if self.as_json:
            self.print_json({"expired": expired})
        else:
            self.stdout.write(f"{expired} reservations have run out.")
