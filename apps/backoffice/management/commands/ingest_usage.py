"""`manage.py ingest_usage`: take a file of events in."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.usage_files import pairs
from apps.core import rls
from apps.tenants import selectors as tenants
from apps.tenants.models import ExternalId, Organization
from apps.usage import cloudevents, files, services
from apps.usage.checking import NewEvent, Refusal, Unread

BATCH = 1000
SHOWN = 10
MANY_SUBJECTS = 100_000
DERIVED = (
    "Warning: the rows have no id of their own (--id), so ids are made from the file's content and"
    " the row's number: an appended or edited file counts as new."
)


class Command(BaseCommand):
    """Read, store batch by batch, each committed before the next, and count."""

    help = (
        "Take usage events in: CloudEvents 1.0 one a line (subject = organization), or CSV with"
        " --organization, --type, --time and --data. Loses nothing: what cannot be counted is kept"
        " with the reason, and the same file again adds nothing."
    )
    examples = (
        "  manage.py ingest_usage events.jsonl.gz\n"
        "  manage.py ingest_usage trace.csv.gz --organization acme --type ai.request"
        " --time TIMESTAMP --data context_tokens=ContextTokens generated_tokens=GeneratedTokens"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take the file and what its columns mean."""
        parser.add_argument("file", metavar="FILE", help=".jsonl or .csv, also .gz; - is stdin")
        parser.add_argument("--organization", metavar="SLUG", help="whose events a CSV file has")
        parser.add_argument("--type", help="event type of a CSV file's rows")
        parser.add_argument(
            "--time", metavar="COLUMN", help="column with the time; no zone means UTC"
        )
        parser.add_argument(
            "--data",
            metavar="NAME=COLUMN",
            nargs="+",
            action="extend",
            default=[],
            help="values to keep and their columns; may be repeated",
        )
        parser.add_argument("--id", metavar="COLUMN", help="column with an id of each row's own")
        parser.add_argument(
            "--application", metavar="SLUG", help="whose external ids the subjects are"
        )
        parser.add_argument("--strict", action="store_true", help="exit 1 when any row is rejected")

    def run(self, **options: Any) -> None:
        """Ingest the file and report."""
        started = time.monotonic()
        self.origin, self.application = options["file"], options["application"] or ""
        self.default = options["organization"]
        self.counts: Counter[str] = Counter(accepted=0, duplicate=0, rejected=0)
        self.owners: dict[str, int | str] = {}
        self.shown = 0
        self._check_application()
        columns = self._columns(options)
        twice = columns is not None and columns.key is None
        with files.opened(options["file"], twice=twice) as stream:
            self._ingest(self._events(stream, columns))
        self._report(time.monotonic() - started)
        if options["strict"] and self.counts["rejected"]:
            raise CommandError(f"{self.counts['rejected']} rejected (--strict).")

    def _check_application(self) -> None:
        with rls.ops_scope("ingest_usage: find the application"):
            if self.application and tenants.find_application(self.application) is None:
                raise CommandError(f"There is no application '{self.application}'.")

    def _columns(self, options: dict[str, Any]) -> files.Columns | None:
        """Return what the columns mean; None for a file of CloudEvents."""
        told = options["type"] or options["time"] or options["data"] or options["id"]
        if not told and not options["file"].removesuffix(".gz").endswith(".csv"):
            return None
        missing = [f"--{name}" for name in ("organization", "type", "time") if not options[name]]
        if missing:
            raise CommandError(f"A CSV file needs {', '.join(missing)}.")
        data = pairs(options["data"])
        with rls.ops_scope("ingest_usage: find the organization"):
            owner = self._owner(options["organization"])
        if isinstance(owner, str):
            raise CommandError(owner)
        return files.Columns(
            type=options["type"],
            time=options["time"],
            data=data,
            key=options["id"],
            subject=options["organization"],
        )

    def _events(
        self, stream: files.Stream, columns: files.Columns | None
    ) -> Iterator[NewEvent | Unread]:
        if columns is None:
            return files.json_events(stream)
        if columns.key is not None:
            return files.csv_events(stream, columns)
        columns = files.with_hash(columns, files.content_hash(stream))
        return self._warned(files.csv_events(stream, columns))

    def _warned(self, events: Iterator[NewEvent | Unread]) -> Iterator[NewEvent | Unread]:
        """Warn of derived ids, when there is a row that gets one."""
        for first in events:
            self.note(DERIVED)
            yield first
            yield from events

    def _ingest(self, events: Iterator[NewEvent | Unread]) -> None:
        with self.progress("Events") as advance:
            while batch := list(islice(events, BATCH)):
                with rls.ops_scope("ingest_usage"):
                    counts, refused = self._store(batch)
                self.counts.update(counts)  # the batch is committed now
                self._show(refused)
                advance(len(batch))

    def _store(self, batch: Sequence[NewEvent | Unread]) -> tuple[Counter[str], list[Unread]]:
        """Store a batch, organizations in a fixed order: two runs cannot deadlock."""
        owned, unknown = self._by_owner(batch)
        counts: Counter[str] = Counter(rejected=len(unknown))
        refused = list(unknown)
        common: dict[str, Any] = {
            "actor": self.actor,
            "at": now(),
            "origin": self.origin,
            "application": self.application,
        }
        for owner, events in sorted(owned.items()):
            outcome = services.ingest(owner, events=events, **common)
            counts.update(accepted=outcome.accepted, duplicate=outcome.duplicate)
            counts.update(rejected=outcome.rejected)
            refused += _refused(events, outcome)
        services.reject(None, refused=unknown, **common)
        return counts, refused

    def _by_owner(
        self, batch: Iterable[NewEvent | Unread]
    ) -> tuple[dict[int, list[NewEvent | Unread]], list[Unread]]:
        owned: dict[int, list[NewEvent | Unread]] = defaultdict(list)
        unknown: list[Unread] = []
        for event in batch:
            subject = "" if isinstance(event, Unread) else event.subject
            owner = self._owner(subject or self.default or "")
            if isinstance(owner, int):
                owned[owner].append(event)
            elif isinstance(event, Unread):
                unknown.append(event)
            else:
                refusal = Refusal("unknown_subject", owner, "/subject")
                unknown.append(Unread(refusal, cloudevents.payload_of(event), event.line))
        return owned, unknown

    def _owner(self, reference: str) -> int | str:
        """Return whose events these are, or why that is not known."""
        if not reference:
            return "The event names no organization."
        if reference not in self.owners:
            if len(self.owners) >= MANY_SUBJECTS:
                self.owners.clear()  # memory stays constant, whatever the file holds
            found = self._found(reference)
            self.owners[reference] = self._unknown(reference) if found is None else found.pk
        return self.owners[reference]

    def _found(self, reference: str) -> Organization | None:
        """Return the organization; --organization means a slug before an external id."""
        if reference == self.default:
            named = tenants.find_organization(reference)
            if named is not None and reference in {named.slug, named.public_id}:
                return named
        return tenants.find_organization(reference, application=self.application or None)

    def _unknown(self, reference: str) -> str:
        """Return why nobody was found. Needs the ops scope."""
        meant = ExternalId.objects.filter(
            kind=ExternalId.Kind.ORGANIZATION, external_id=reference
        ).values("organization_id")
        if not self.application and meant.distinct().count() > 1:
            return (
                f"'{reference}' means several organizations; name the application with"
                " --application."
            )
        return f"There is no organization '{reference}'."

    def _show(self, refused: Sequence[Unread]) -> None:
        for one in refused[: SHOWN - self.shown]:
            self.note(f"line {one.line}: {one.refusal.code}: {one.refusal.reason}")
        if self.shown < SHOWN < self.shown + len(refused):
            self.note("… and more; all of them are kept with their reasons.")
        self.shown += len(refused)

    def _report(self, seconds: float) -> None:
        if self.as_json:
            self.print_json(dict(self.counts))
            return
        self.print_table(["Result", ">Events"], [(k, f"{n:,}") for k, n in self.counts.items()])
        total = self.counts.total()
        rate = round(total / max(seconds, 0.001))
        self.stdout.write(f"{self.origin}: {total:,} read in {seconds:.1f} s ({rate:,} a second).")


def _refused(events: Sequence[NewEvent | Unread], outcome: services.Outcome) -> list[Unread]:
    return [
        Unread(Refusal(result.code, result.reason, result.pointer), "", event.line)
        for event, result in zip(events, outcome.results, strict=True)
        if result.code
    ]
