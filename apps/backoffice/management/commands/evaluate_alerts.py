"""`manage.py evaluate_alerts`: raise alerts for limits that are crossed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.printing import counted
from apps.core import rls
from apps.engine.decimals import plain
from apps.engine.money import Money
from apps.tenants import selectors as tenants
from apps.watch import services
from apps.watch.models import Alert

HEADS = ("Alert", "Kind", "Of", ">Figure", ">Limit")


class Command(BaseCommand):
    """Hold rules against figures."""

    help = (
        "Raise an alert for every limit that usage, amounts or credit have crossed, once a crossing"
        " and period. Looks at the organizations whose usage or rules changed since the last run;"
        " the scheduler does that every minute. Safe to repeat and to run twice at once."
    )
    examples = (
        "  manage.py evaluate_alerts\n"
        "  manage.py evaluate_alerts --organization pied-piper --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, and whether to look at everybody."""
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")
        parser.add_argument("--everything", action="store_true", help="of all, changed or not")

    def run(self, **options: Any) -> None:
        """Evaluate, and show what was raised."""
        slug = options["organization"]
        with rls.ops_scope("evaluate_alerts: find the organization"):
            mine = [tenants.get_organization(slug).pk] if slug else None
        done = services.evaluate_alerts(
            actor=self.actor, at=now(), organization_ids=mine, everything=options["everything"]
        )
        if self.as_json:
            self.print_json(
                {
                    "organizations": done.organizations,
                    "cleared": done.cleared,
                    "alerts": [_json(row) for row in done.raised],
                }
            )
        elif done.raised:
            self.print_table(HEADS, [_row(row) for row in done.raised])
        looked = counted(done.organizations, "organization")
        self.note(f"Looked at {looked}; {counted(len(done.raised), 'alert')} raised.")


def _json(row: Alert) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "rule": row.rule,
        "kind": row.kind,
        "name": row.name,
        "meter": row.meter,
        "subscription": row.subscription,
        "figure": plain(row.figure),
        "limit": plain(row.limit),
        "currency": row.currency,
    }


def _row(row: Alert) -> tuple[str, ...]:
    return row.public_id, row.kind, row.name, _said(row, row.figure), _said(row, row.limit)


def _said(row: Alert, value: Decimal) -> str:
    return f"{plain(value)} %" if row.is_percent else str(Money(int(value), row.currency))
