"""`manage.py migrate_plan`: bring a plan's customers to another of its versions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice import versions
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.migrating import Move, Moved, move_all, preview_all
from apps.core import rls
from apps.engine.period import iso
from apps.subscriptions.changes import Behaviour
from apps.tenants import selectors as tenants

WHEN = {Behaviour.NEXT_PERIOD.value: Behaviour.NEXT_PERIOD, Behaviour.NOW.value: Behaviour.NOW}


class Command(BaseCommand):
    """Move every live subscription of a plan to a version; one transaction each."""

    help = (
        "Move the subscriptions of a plan to another of its versions, with their next period or"
        " now, prorated and billed at once. Quantities and prices agreed with a customer stay."
        " --dry-run shows everybody's next invoice without and with the move, and writes nothing."
        " May be stopped and repeated: who has moved is passed over. Exit code 1 when somebody"
        " could not be moved; the reasons are shown, and the others are moved all the same."
    )
    examples = (
        "  manage.py migrate_plan gateway --to gateway@2 --dry-run\n"
        "  manage.py migrate_plan gateway@1 --to gateway@2 --at now --reason 'Prices of 2027'"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take from where, to where, and when."""
        parser.add_argument(
            "plan", metavar="PLAN", help=f"{versions.HOW}; a code means all versions"
        )
        parser.add_argument(
            "--to", required=True, metavar="VERSION", help=f"{versions.HOW}, or its number alone"
        )
        parser.add_argument(
            "--at", choices=[*WHEN], default=Behaviour.NEXT_PERIOD.value, help="when they move"
        )
        parser.add_argument("--reason", default="", help="kept with every change")
        parser.add_argument("--dry-run", action="store_true", help="show it and write nothing")

    def run(self, **options: Any) -> None:
        """Move or preview, and tell with the exit code whether anybody stayed behind."""
        move, dry = _move(options), options["dry_run"]
        common: dict[str, Any] = {"at": now()}
        if not dry:
            common |= {"actor": self.actor, "reason": options["reason"]}
        rows: list[Moved] = []
        with self.progress("Subscriptions") as step:
            for one in preview_all(move, **common) if dry else move_all(move, **common):
                rows.append(one)
                step()
        slugs = _slugs(rows)
        if self.as_json:
            self.print_json([_json(one, slugs, dry) for one in rows])
        else:
            self._print(rows, slugs, dry)
        problems = sum(bool(one.problem) for one in rows)
        already = sum(one.already for one in rows)
        done = len(rows) - problems - already
        verb = "would move; nothing was written" if dry else "moved or scheduled"
        self.note(f"{done} {verb}. {already} were scheduled already, {problems} cannot be moved.")
        if problems:
            sys.exit(1)

    def _print(self, rows: list[Moved], slugs: dict[int, str], dry: bool) -> None:
        if not rows:
            return
        heads = ["Customer", "Subscription", ">Version", "From"]
        heads += [">Next invoice", ">With the move", ">At once"] if dry else ["Invoice"]
        self.print_table(
            [*heads, "Note"], [_row(one, slugs[one.organization_id], dry) for one in rows]
        )


def _move(options: dict[str, Any]) -> Move:
    with rls.ops_scope("migrate_plan: find the versions"):
        old = versions.find(options["plan"])
        to = versions.find_of(old.plan_code, options["to"])
    only = old.version_id if versions.names_a_version(options["plan"]) else None
    return Move(old.plan_id, only, to, WHEN[options["at"]])


def _slugs(rows: Iterable[Moved]) -> dict[int, str]:
    with rls.ops_scope("migrate_plan: name the customers"):
        found = tenants.organizations({one.organization_id for one in rows})
    return {key: row.slug for key, row in found.items()}


def _row(one: Moved, slug: str, dry: bool) -> tuple[object, ...]:
    when = "" if one.effective_at is None else iso(one.effective_at)
    note = one.problem or ("scheduled already" if one.already else "")
    middle = [one.before, one.after, one.now] if dry else [one.invoice]
    return (
        slug,
        one.subscription,
        one.version,
        when,
        *("" if cell is None else cell for cell in middle),
        note,
    )


def _json(one: Moved, slugs: dict[int, str], dry: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "customer": slugs[one.organization_id],
        "subscription": one.subscription,
        "version": one.version,
        "effective_at": None if one.effective_at is None else iso(one.effective_at),
        "already": one.already,
        "problem": one.problem or None,
    }
    if not dry:
        return told | {"invoice": one.invoice}
    amounts = {"before": one.before, "after": one.after, "now": one.now}
    return told | {
        name: None if money is None else {"total": money.minor, "currency": money.currency}
        for name, money in amounts.items()
    }
