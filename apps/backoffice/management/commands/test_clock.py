"""`manage.py test_clock`: a sandbox's own time."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant, now
from apps.core import rls
from apps.core.errors import NotFound
from apps.tenants import selectors, services
from apps.tenants.models import TestClock


class Command(BaseCommand):
    """Make, attach, set and show test clocks."""

    help = (
        "Make a test clock, attach organizations to it, set it forward and show it. Sandbox only:"
        " a production system refuses. Setting the time bills nothing by itself."
    )
    examples = (
        "  manage.py test_clock create spring --now 2026-03-01T00:00:00Z\n"
        "  manage.py test_clock set clk_01jnabc --to 2026-04-01T00:00:00Z"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what to do, and with which clock."""
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
        create = self._act(acts, "create", "make a clock")
        create.add_argument("name", metavar="NAME")
        create.add_argument("--now", type=instant, help="where it stands; default: now")
        attach = self._act(acts, "attach", "let an organization live by a clock, for good")
        attach.add_argument("clock", metavar="CLOCK")
        attach.add_argument("organization", metavar="SLUG")
        later = self._act(acts, "set", "set a clock to a later instant")
        later.add_argument("clock", metavar="CLOCK")
        later.add_argument("--to", type=instant, required=True)
        show = self._act(acts, "show", "show a clock and who lives by it")
        show.add_argument("clock", metavar="CLOCK")

    def _act(self, acts: Any, name: str, what: str) -> CommandParser:
        parser: CommandParser = acts.add_parser(name, help=what, description=f"{name}: {what}.")
        # Suppressed, or it would put its default in the place of what was said before the act.
        parser.add_argument(
            "--format", choices=self.formats, default=argparse.SUPPRESS, help="how to print"
        )
        return parser

    def run(self, **options: Any) -> None:
        """Do it and show the clock."""
        with rls.ops_scope(f"test_clock {options['act']}"):
            self._print(self._done(options["act"], options))

    def _done(self, act: str, options: dict[str, Any]) -> TestClock:
        acts = {"create": self._create, "attach": self._attach, "set": self._set}
        return acts.get(act, self._find)(options)

    def _create(self, options: dict[str, Any]) -> TestClock:
        at = now()
        stands = options["now"] or at
        return services.create_test_clock(options["name"], now=stands, actor=self.actor, at=at)

    def _attach(self, options: dict[str, Any]) -> TestClock:
        found = selectors.get_organization(options["organization"])
        services.attach_test_clock(found.pk, clock=options["clock"], actor=self.actor, at=now())
        return self._find(options)

    def _set(self, options: dict[str, Any]) -> TestClock:
        return services.set_test_clock(
            options["clock"], to=options["to"], actor=self.actor, at=now()
        )

    def _find(self, options: dict[str, Any]) -> TestClock:
        found = selectors.find_test_clock(options["clock"])
        if found is None:
            raise NotFound(f"There is no test clock '{options['clock']}'.")
        return found

    def _print(self, row: TestClock) -> None:
        living = [one.slug for one in selectors.organizations_on_clock(row.pk)]
        shown = {"id": row.public_id, "name": row.name, "now": row.now.isoformat()}
        if self.as_json:
            self.print_json({**shown, "organizations": living})
        else:
            heads = ["Id", "Name", "Now", "Organizations"]
            self.print_table(heads, [[*shown.values(), ", ".join(living)]])
