"""`manage.py simulate_price`: what a catalogue would have charged for a file of usage."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.analytics.offered import Offer, offer_of, plan_of
from apps.analytics.sifting import Fate, Sieve, door_of, voided_in
from apps.analytics.simulation import Assumptions, Simulation, Statement
from apps.backoffice.commands import INVISIBLE, amount, instant
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.printing import line_json, working_text
from apps.backoffice.usage_files import FileOptions, add_file_arguments
from apps.core import rls
from apps.engine.calendar import UnknownTimezone, zone
from apps.invoicing.paper.words import FALLBACK, Words
from apps.plans.catalog import read_catalog
from apps.plans.document import CatalogDocument
from apps.usage import files
from apps.usage import selectors as usage
from apps.usage.checking import NewEvent, Unread

MOST_SHOWN = 24
GROUPS = ("period", "month", "quarter", "year", "customer", "total")
Groups = dict[str, int]


class Command(BaseCommand):
    """Read a catalogue and a usage file, load neither, and print what would be charged."""

    help = (
        "Try a plan of any catalogue file on any usage file, and print the invoice of every period"
        " line by line. Loads nothing and stores nothing. Every subject of the file is a customer"
        " of its own. Amounts are before discounts and taxes; a period has its own base fees and"
        " its own usage. With --against a second catalogue shows the difference."
    )
    examples = (
        "  manage.py simulate_price events.jsonl.gz --catalog gateway --plan gateway --seats 8\n"
        "  manage.py simulate_price trace.csv.gz --catalog gateway --against new-prices.yaml"
        " --type ai.request --time TIMESTAMP --data context_tokens=ContextTokens --group-by month"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take the two files, and what the usage file does not say."""
        add_file_arguments(parser)
        parser.add_argument(
            "--catalog", required=True, metavar="CATALOG", help="a YAML file, or one that ships"
        )
        parser.add_argument("--plan", default="", metavar="CODE", help="when it has several")
        parser.add_argument("--against", metavar="CATALOG", help="a second one, to compare with")
        parser.add_argument(
            "--against-plan", metavar="CODE", help="its plan; default: of the same code"
        )
        parser.add_argument("--seats", type=int, metavar="N", help="default: the included ones")
        parser.add_argument("--currency", default="", metavar="CODE", help="one of the plan's")
        parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="of the periods")
        parser.add_argument(
            "--from", dest="start", type=instant, help="first period; default: the calendar's"
        )
        parser.add_argument("--to", dest="end", type=instant, help="count no event from then on")
        parser.add_argument(
            "--one-customer", action="store_true", help="all usage is of the same customer"
        )
        parser.add_argument("--group-by", choices=GROUPS, default="period", help="of the sums")
        parser.add_argument(
            "--json",
            action="store_const",
            const="json",
            dest="format",
            default=argparse.SUPPRESS,
            help="the same as --format json",
        )

    def run(self, **options: Any) -> None:
        """Simulate one catalogue, or two on the same reading of the file."""
        offers = self._offers(options)
        assumed = _assumed(options)
        self.simulations = [Simulation(offer, assumed) for offer in offers]
        self.zone = zone(assumed.timezone)
        sieve = self._feed(FileOptions.of(options), merged=options["one_customer"])
        told = [[*simulation.statements()] for simulation in self.simulations]
        sums = [self._sums(statements, options["group_by"]) for statements in told]
        if self.as_json:
            self.print_json(self._json(sieve, told, sums))
        else:
            self._print(told[0], sums)
        fates = ", ".join(f"{n:,} {fate}" for fate, n in sorted(sieve.fates.items()))
        self.note(f"{options['file']}: {fates or 'no events'}. Nothing was stored.")
        for code, count in sorted(sieve.refusals.items()):
            self.note(f"{count:,} refused: {code}.")

    def _offers(self, options: Mapping[str, Any]) -> list[Offer]:
        first = read_catalog(options["catalog"])
        entry = plan_of(first, options["plan"])
        offers = [_offer(first, entry.code, options["currency"])]
        if options["against"] is not None or options["against_plan"] is not None:
            other = read_catalog(options["against"] or options["catalog"])
            code = options["against_plan"] or entry.code
            offers.append(_offer(other, code, options["currency"]))
        if len({offer.version.currency for offer in offers}) > 1:
            raise CommandError("The two plans are in different currencies; say --currency.")
        return offers

    def _feed(self, source: FileOptions, *, merged: bool) -> Sieve:
        door = door_of(g for s in self.simulations for g in s.offer.gauges.values())
        with files.opened(source.path, twice=True) as stream, self.progress("Events") as advance:
            # A void may stand anywhere in the file, so the file is read twice; rows void nothing.
            voided: frozenset[str] = frozenset()
            if source.columns is None:
                voided = voided_in(source.events(stream), door.meters, one_customer=merged)
                stream.seek(0)
            sieve = Sieve(door, voided, one_customer=merged)
            for event in sieve.events(_advancing(source.events(stream), advance)):
                one = _of_nobody(event) if merged else event
                taken = [simulation.take(one) for simulation in self.simulations]
                sieve.fates[Fate.COUNTED if any(taken) else Fate.OUTSIDE] += 1
        return sieve

    def _sums(self, statements: Sequence[Statement], group_by: str) -> Groups:
        found: Groups = {}
        for one in statements:
            name = self._group(one, group_by)
            found[name] = found.get(name, 0) + one.total
        return found

    def _group(self, one: Statement, group_by: str) -> str:
        start = one.period.start.astimezone(self.zone)
        match group_by:
            case "month":
                return f"{start:%Y-%m}"
            case "quarter":
                return f"{start:%Y}-Q{(start.month + 2) // 3}"
            case "year":
                return f"{start:%Y}"
            case "customer":
                return one.subject or "–"
            case "total":
                return "all"
        return self._words(one).period(one.period)

    def _words(self, one: Statement) -> Words:
        return Words(FALLBACK, self.zone, one.currency)

    def _print(self, statements: Sequence[Statement], sums: Sequence[Groups]) -> None:
        for one in statements[:MOST_SHOWN]:
            self.stdout.write(INVISIBLE.sub("", self._title(one)))
            for line in one.lines:
                text = "\n".join(f"  {row}" for row in working_text(line, self._words(one)))
                self.stdout.write(INVISIBLE.sub("", text))
            self.stdout.write("")
        if len(statements) > MOST_SHOWN:
            more = len(statements) - MOST_SHOWN
            self.stdout.write(f"… and {more:,} more invoices; --format json has all of them.\n")
        self._print_sums(sums)

    def _title(self, one: Statement) -> str:
        who = f"{one.subject}, " if one.subject else ""
        return f"{who}{self._words(one).period(one.period)}: {amount(one.total, one.currency)}"

    def _print_sums(self, sums: Sequence[Groups]) -> None:
        currency = self.simulations[0].offer.version.currency
        names = dict.fromkeys(name for one in sums for name in one)
        rows = {name: _compared([one.get(name, 0) for one in sums]) for name in names}
        if len(rows) != 1:
            rows["Total"] = _compared([sum(one.values()) for one in sums])
        heads = ["When", ">Charged"] if len(sums) == 1 else ["When", ">Now", ">Then", ">Change"]
        self.print_table(
            heads,
            [(name, *(amount(n, currency) for n in minors)) for name, minors in rows.items()],
        )

    def _json(
        self, sieve: Sieve, told: Sequence[Sequence[Statement]], sums: Sequence[Groups]
    ) -> dict[str, Any]:
        both = [
            {
                "plan": simulation.offer.version.plan_code,
                "invoices": [_statement_json(one) for one in statements],
                "groups": groups,
                "total": sum(groups.values()),
            }
            for simulation, statements, groups in zip(self.simulations, told, sums, strict=True)
        ]
        found: dict[str, Any] = {
            "currency": self.simulations[0].offer.version.currency,
            "events": dict(sieve.fates),
            "refused": dict(sieve.refusals),
            **both[0],
        }
        if len(both) > 1:
            difference = sum(sums[1].values()) - sum(sums[0].values())
            found |= {"against": both[1], "difference": difference}
        return found


def _offer(document: CatalogDocument, code: str, currency: str) -> Offer:
    defined = {meter.key for meter in document.meters}
    named = {price.meter for price in plan_of(document, code).prices if price.meter}
    known = []
    if named - defined:
        with rls.ops_scope("simulate_price: meters that the file leaves to the system"):
            known = [meter for meter in usage.meters() if meter.key in named - defined]
    return offer_of(document, code, currency=currency, known=known)


def _assumed(options: Mapping[str, Any]) -> Assumptions:
    start, end, seats = options["start"], options["end"], options["seats"]
    if start is not None and end is not None and end <= start:
        raise CommandError("--to must be later than --from.")
    if seats is not None and seats < 0:
        raise CommandError("--seats is a whole number, not below 0.")
    try:
        zone(options["timezone"])
    except UnknownTimezone as error:
        raise CommandError(f"{error}.") from error
    return Assumptions(options["timezone"], seats, start, end)


def _advancing(
    events: Iterable[NewEvent | Unread], advance: Any, every: int = 1000
) -> Iterator[NewEvent | Unread]:
    for number, event in enumerate(events, start=1):
        if number % every == 0:
            advance(every)
        yield event


def _of_nobody(event: NewEvent) -> NewEvent:
    return NewEvent(event.source, event.key, event.type, event.occurred_at, event.data)


def _compared(minors: Sequence[int]) -> list[int]:
    return [*minors, minors[1] - minors[0]] if len(minors) > 1 else [*minors]


def _statement_json(one: Statement) -> dict[str, Any]:
    return {
        "customer": one.subject or None,
        "period": one.period.as_dict(),
        "total": one.total,
        "lines": [line_json(line) for line in one.lines],
    }
