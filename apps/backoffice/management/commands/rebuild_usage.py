"""`manage.py rebuild_usage`: count the buckets anew from the events."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.engine.decimals import plain
from apps.tenants import selectors as tenants
from apps.usage import services
from apps.usage.selectors import BucketDifference


class Command(BaseCommand):
    """Rebuild, and say what was different."""

    help = (
        "Count the hourly buckets anew from the events and print what differed. Needed after a"
        " restore from a dump (the worker then does it by itself), harmless at any time."
    )
    examples = "  manage.py rebuild_usage\n  manage.py rebuild_usage --organization acme"

    def arguments(self, parser: CommandParser) -> None:
        """Take the organization."""
        parser.add_argument("--organization", metavar="SLUG", help="only this one's buckets")

    def run(self, **options: Any) -> None:
        """Rebuild in one transaction and report."""
        with rls.ops_scope("rebuild_usage"):
            reference = options["organization"]
            chosen = tenants.get_organization(reference).pk if reference else None
            done = services.rebuild(actor=self.actor, at=now(), organization_id=chosen)
            slugs = {
                one.organization_id: tenants.organization(one.organization_id).slug
                for one in done.differences
            }
        if self.as_json:
            found = [_as_json(one, slugs[one.organization_id]) for one in done.differences]
            self.print_json({"new_epoch": done.new_epoch, "differences": found})
            return
        for one in done.differences:
            self.stdout.write(f"{slugs[one.organization_id]}: {one}")
        self.stdout.write(_summary(done))


def _as_json(one: BucketDifference, slug: str) -> dict[str, object]:
    return {
        "organization": slug,
        "meter": one.meter_key,
        "hour": one.hour.isoformat(),
        "stored_events": one.stored_events,
        "counted_events": one.counted_events,
        "stored_total": plain(one.stored_total),
        "counted_total": plain(one.counted_total),
    }


def _summary(done: services.Rebuilt) -> str:
    if done.new_epoch:
        return "The database came from a dump: all buckets were counted anew."
    if not done.differences:
        return "The buckets were right."
    return f"{len(done.differences):,} buckets were different and are right now."
