"""`manage.py detect_anomalies`: find usage that is not what it usually is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant, now
from apps.backoffice.printing import counted
from apps.core import rls
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.tenants import selectors as tenants
from apps.watch import services
from apps.watch.models import Anomaly

HEADS = ("Anomaly", "Meter", "Way", "Severity", "Hour", ">Seen", ">Expected", "Mostly")


class Command(BaseCommand):
    """Judge hours of usage."""

    help = (
        "Compare the hours that have passed since the last run with what is usual, by organization"
        " and meter, and record spikes and drops. The scheduler does this every hour. With --org"
        " only the last whole hour of that organization. Safe to repeat, to run twice at once and"
        " to kill."
    )
    examples = (
        "  manage.py detect_anomalies\n"
        "  manage.py detect_anomalies --org pied-piper --as-of 2026-06-01T13:10Z --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, and when."""
        parser.add_argument("--org", metavar="SLUG", help="of one organization only")
        parser.add_argument("--as-of", type=instant, help="default and latest: now")

    def run(self, **options: Any) -> None:
        """Judge, and show what was found."""
        slug, at = options["org"], min(options["as_of"] or now(), now())
        with rls.ops_scope("detect_anomalies: find the organization"):
            mine = [tenants.get_organization(slug).pk] if slug else None
        with self.progress("Organizations") as step:
            done = services.detect_anomalies(
                actor=self.actor, at=at, organization_ids=mine, step=step
            )
        if self.as_json:
            self.print_json(
                {
                    "hours": [iso(hour) for hour in done.hours],
                    "judged": done.judged,
                    "extended": done.extended,
                    "ended": done.ended,
                    "anomalies": [_json(row) for row in done.found],
                }
            )
        elif done.found:
            self.print_table(HEADS, [_row(row) for row in done.found])
        looked = counted(len(done.hours), "hour")
        self.note(f"Judged {looked} of {done.judged} series; {len(done.found)} found.")


def _json(row: Anomaly) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "meter": row.meter,
        "direction": row.direction,
        "severity": row.severity,
        "basis": row.basis,
        "hour": iso(row.worst_hour),
        "seen": plain(row.seen),
        "expected": plain(row.expected),
        "low": plain(row.low),
        "high": plain(row.high),
        "score": plain(row.score),
        "dimension": row.dimension,
        "dimension_value": row.dimension_value,
    }


def _row(row: Anomaly) -> tuple[str, ...]:
    cause = f"{row.dimension}={row.dimension_value or 'nothing'}" if row.dimension else ""
    figures = (iso(row.worst_hour), plain(row.seen), plain(row.expected))
    return row.public_id, row.meter, row.direction, row.severity, *figures, cause
