"""What every management command shares: actor, formats, one-line errors, progress, exit codes.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 refused or findings,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, ProgrammingError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.backoffice import schema
from apps.core import clock, processes, rls
from apps.core.actor import Actor, operator
from apps.core.errors import Conflict, DomainError, NotFound
from apps.engine.decimals import NotADecimal, decimal_of
from apps.engine.money import Money
from apps.engine.recognition import Month
from apps.invoicing import selectors as invoices
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants

if TYPE_CHECKING:
    from apps.subscriptions.selectors import SubscriptionFacts
    from apps.tenants.models import Organization

PIPE_WIDTH = 200
# Whose time `now()` tells; see `living_in`.
_home: ContextVar[int | None] = ContextVar("home", default=None)
# Names are other people's: an escape sequence in one must not reach the terminal.
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Command(BaseCommand):
    """A command: parses, calls one service or selector, prints. `examples` end its help."""

    requires_system_checks: list[str] = []
    examples: str = ""
    formats: Sequence[str] = ("table", "json")

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Show the examples under the help, as written."""
        kwargs.setdefault("epilog", f"Examples:\n{self.examples}" if self.examples else None)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --format; subclasses add theirs in `arguments`."""
        self.arguments(parser)
        if self.formats:
            parser.add_argument(
                "--format", choices=self.formats, default=self.formats[0], help="how to print"
            )

    def arguments(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; a refusal becomes one line on stderr and exit code 1."""
        self.output_format = options.get("format", "table")
        try:
            schema.bring_up_to_date()
            self.run(**options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.message} {refusal.remedy}".strip()) from refusal
        except ValidationError as refusal:
            raise CommandError(" ".join(refusal.messages)) from refusal
        except BrokenPipeError:
            sys.stderr.close()  # the reader has gone; nothing is left to say
            raise SystemExit(0) from None
        except KeyboardInterrupt:
            self.note("Interrupted. What was finished is kept; run the command again to go on.")
            raise SystemExit(130) from None
        except OSError as error:
            raise CommandError(f"{error.filename or 'The system'}: {error.strerror}.") from error
        except DatabaseError as error:
            first = str(error).strip().split("\n", 1)[0]
            behind = " Run manage.py migrate first." if isinstance(error, ProgrammingError) else ""
            raise CommandError(f"The database refused: {first}.{behind}") from error

    def run(self, **options: Any) -> None:
        """Do the work; subclasses implement it."""
        raise NotImplementedError

    @property
    def actor(self) -> Actor:
        """Whoever can run a command on this machine."""
        return operator(type(self).__module__.rsplit(".", 1)[-1])

    @property
    def as_json(self) -> bool:
        """Whether JSON was asked for."""
        return bool(self.output_format == "json")

    def print_json(self, value: Any) -> None:
        """Print one JSON document on stdout."""
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def print_table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows under headings; columns whose heading starts with '>' are right-aligned."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            right = column.startswith(">")
            table.add_column(column.lstrip(">"), justify="right" if right else "left")
        for row in rows:
            table.add_row(*(INVISIBLE.sub("", str(cell)) for cell in row))
        self.console().print(table)

    def console(self) -> Console:
        """Return a console on stdout that takes texts as they are; as wide as needed in a pipe."""
        wrapper: Any = self.stdout
        out = wrapper._out  # the wrapper would add newlines
        width = None if out.isatty() else PIPE_WIDTH
        return Console(file=out, width=width, markup=False, emoji=False, highlight=False)

    def note(self, text: str) -> None:
        """Say something to the person at the terminal, on stderr."""
        self.stderr.write(text, self.style.NOTICE)

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Any]:
        """Show a progress bar on a terminal; yields a function that takes the steps done."""
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns,
            console=console,
            disable=not sys.stderr.isatty(),
            transient=True,
            auto_refresh=False,  # no thread: work inside may be shared among forked processes
        ) as bar:
            task = bar.add_task(what, total=total)
            yield lambda steps=1: bar.update(task, advance=steps, refresh=True)


@contextlib.contextmanager
def inside(reference: str, why: str) -> Iterator[Organization]:
    """Find the organization (slug, public id or external id), stay in its scope and its time."""
    with rls.ops_scope(f"{why}: find the organization"):
        found = tenants.get_organization(reference)
    with living_in(found.pk):
        yield found


@contextlib.contextmanager
def inside_owner_of(invoice: str, why: str) -> Iterator[None]:
    """Find whose invoice (number or public id) it is; stay in the scope and time of its owner."""
    with rls.ops_scope(f"{why}: find the invoice"):
        organization_id = invoices.get(invoice).organization_id
    with living_in(organization_id):
        yield


@contextlib.contextmanager
def living_in(organization_id: int) -> Iterator[None]:
    """Stay in the organization's scope; meanwhile `now()` tells its time, a test clock's too."""
    with rls.tenant_scope(organization_id):
        token = _home.set(organization_id)
        try:
            yield
        finally:
            _home.reset(token)


def the_subscription(organization: Organization, chosen: str = "") -> SubscriptionFacts:
    """Return the organization's live subscription: the only one, or the one that is `chosen` by
    public id, application or plan. Raises NotFound and, when it must be said which, Conflict.
    """
    live = subscriptions.of_organization(organization.pk, live=True)
    found = [
        facts
        for facts in live
        if chosen in {"", facts.public_id, facts.version.application_slug, facts.version.plan_code}
    ]
    if not found:
        raise NotFound(f"{organization.name} has no such live subscription.")
    if len(found) > 1:
        known = ", ".join(f"{f.public_id} ({f.version.plan_code})" for f in found)
        raise Conflict(f"{organization.name} has several: say --subscription. There are {known}.")
    return found[0]


def decimal(text: str) -> Decimal:
    """Read an exact decimal for argparse: 262.99."""
    try:
        return decimal_of(text)
    except NotADecimal:
        raise argparse.ArgumentTypeError(f"'{text}' is no plain number; write 262.99") from None


def charge_item(text: str) -> tuple[str, Decimal]:
    """Read `Training day=950.00` for argparse."""
    name, _, price = text.rpartition("=")
    if not name.strip():
        raise argparse.ArgumentTypeError(f"'{text}' names nothing; write 'Training day=950.00'")
    return name.strip(), decimal(price.strip())


def comma_separated(text: str) -> list[str]:
    """Read `a,b` for argparse."""
    return [part.strip() for part in text.split(",") if part.strip()]


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant for argparse; a date alone is its midnight, no zone means UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no instant; write 2026-01-31T00:00:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def month(text: str) -> Month:
    """Read a calendar month for argparse: 2026-01."""
    try:
        return Month.of(datetime.strptime(text, "%Y-%m").date())  # noqa: DTZ007 - a month has no zone
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no month; write 2026-01") from None


def now() -> datetime:
    """Return the current instant, for commands: within an organization what time it is there.

    Usage and keys are dated by their doors, which know the real time alone: they ask the clock.
    """
    home = _home.get()
    return clock.now() if home is None else tenants.now_for(home, clock.now())


def amount(minor: int, currency: str) -> str:
    """Return minor units as people read them: 262.99 USD."""
    return str(Money(minor, currency))


def add_jobs(parser: CommandParser) -> None:
    """Add --jobs, for work that processes can share."""
    parser.add_argument(
        "--jobs",
        type=_processes,
        default=processes.available(),
        metavar="N",
        help="share the work among N processes; default: one for every core",
    )


def _processes(text: str) -> int:
    """Read how many processes are to share the work, for argparse: one or more."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of processes; write 1 or more")
    return int(text)
