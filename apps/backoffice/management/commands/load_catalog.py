"""`manage.py load_catalog`: bring the catalogue to what a file says."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.plans import services
from apps.plans.catalog import read_catalog, shipped
from apps.plans.report import CatalogReport, PlanReport


class Command(BaseCommand):
    """Load a catalogue file; loading it again changes nothing."""

    help = "Load a catalogue file: a changed published plan becomes a new version."
    examples = "  manage.py load_catalog my-prices.yaml --dry-run\n  manage.py load_catalog gateway"

    def arguments(self, parser: CommandParser) -> None:
        """Take the file and --dry-run."""
        parser.add_argument(
            "file", metavar="FILE", help=f"a YAML file, or one that ships: {', '.join(shipped())}"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would change")

    def run(self, **options: Any) -> None:
        """Read, load and report."""
        document = read_catalog(options["file"])
        with rls.ops_scope("load_catalog"):
            report = services.load_catalog(
                document, actor=self.actor, at=now(), dry_run=options["dry_run"]
            )
        if self.as_json:
            self.print_json(report.as_dict())
            return
        self.print_table(["Plan", "Name", ">Version", "Outcome"], [*map(_row, report.plans)])
        for change in (change for plan in report.plans for change in _changes(plan)):
            self.stdout.write(change)
        self.stdout.write(_summary(report))


def _row(plan: PlanReport) -> tuple[object, ...]:
    return plan.code, plan.name, plan.version, plan.outcome


def _changes(plan: PlanReport) -> list[str]:
    return [f"{plan.code}: {change}" for change in plan.changes]


def _summary(report: CatalogReport) -> str:
    if not report.changed:
        return f"{report.source}: nothing has changed."
    outcomes = [entry.outcome for entry in report.definitions]
    outcomes += [plan.outcome for plan in report.plans]
    said = ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).items())
    return f"{report.source}: {said}{' (dry run: nothing was written)' if report.dry_run else ''}."
