"""`manage.py replay_rejected`: try rejected events again."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import selectors as tenants
from apps.usage import services


class Command(BaseCommand):
    """Replay batch by batch, each committed before the next."""

    help = (
        "Try rejected usage events again: after a meter was defined, a customer created or an"
        " external id mapped. What is refused again stays, with the newest reason."
    )
    examples = "  manage.py replay_rejected\n  manage.py replay_rejected --organization acme"

    def arguments(self, parser: CommandParser) -> None:
        """Take the organization."""
        parser.add_argument("--organization", metavar="SLUG", help="only this one's events")

    def run(self, **options: Any) -> None:
        """Replay everything that is open and report."""
        counts: Counter[str] = Counter(accepted=0, duplicate=0, rejected=0)
        chosen, last_id = self._chosen(options["organization"]), 0
        with self.progress("Events") as advance:
            while (done := self._batch(chosen, last_id)).tried:
                counts.update(
                    accepted=done.accepted, duplicate=done.duplicate, rejected=done.rejected
                )
                last_id = done.last_id
                advance(done.tried)
        if self.as_json:
            self.print_json(dict(counts))
            return
        said = ", ".join(f"{number:,} {name}" for name, number in counts.items())
        self.stdout.write(f"{counts.total():,} tried again: {said}.")

    def _chosen(self, reference: str | None) -> int | None:
        if reference is None:
            return None
        with rls.ops_scope("replay_rejected: find the organization"):
            return tenants.get_organization(reference).pk

    def _batch(self, organization_id: int | None, after_id: int) -> services.Replayed:
        with rls.ops_scope("replay_rejected"):
            return services.replay_rejected(
                actor=self.actor, at=now(), organization_id=organization_id, after_id=after_id
            )
