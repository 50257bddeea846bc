"""How commands are told what the rows of a usage file mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.usage import files
from apps.usage.checking import NewEvent, Unread


def add_file_arguments(parser: CommandParser) -> None:
    """Take a file, and what the columns mean where it is CSV."""
    parser.add_argument("file", metavar="FILE", help=".jsonl or .csv, also .gz; - is stdin")
    parser.add_argument("--type", help="event type of a CSV file's rows")
    parser.add_argument("--time", metavar="COLUMN", help="column with the time; no zone means UTC")
    parser.add_argument(
        "--data",
        metavar="NAME=COLUMN",
        nargs="+",
        action="extend",
        default=[],
        help="values and their columns; may be repeated",
    )
    parser.add_argument("--id", metavar="COLUMN", help="column with an id of each row's own")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """A usage file; `columns` says what CSV means, None stands for CloudEvents one a line."""

    path: str
    columns: files.Columns | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> FileOptions:
        """Read the options of `add_file_arguments`. Raises CommandError."""
        told = options["type"] or options["time"] or options["data"] or options["id"]
        if not told and not options["file"].removesuffix(".gz").endswith(".csv"):
            return cls(options["file"], None)
        if missing := [f"--{name}" for name in ("type", "time") if not options[name]]:
            raise CommandError(f"A CSV file needs {', '.join(missing)}.")
        data, kind = pairs(options["data"]), options["type"]
        return cls(
            options["file"], files.Columns(kind, options["time"], data=data, key=options["id"])
        )

    def events(self, stream: files.Stream) -> Iterator[NewEvent | Unread]:
        """Yield what stands in the file; the stream stands at its beginning and can go back."""
        if self.columns is None:
            return files.json_events(stream)
        if self.columns.key is not None:
            return files.csv_events(stream, self.columns)
        columns = files.with_hash(self.columns, files.content_hash(stream))
        return files.csv_events(stream, columns)


def pairs(texts: list[str]) -> dict[str, str]:
    """Return the columns by name, of texts NAME=COLUMN. Raises CommandError."""
    found = [_pair(text) for text in texts]
    for name, times in Counter(name for name, _ in found).items():
        if times > 1:
            raise CommandError(f"--data gives '{name}' {times} times; once is enough.")
    return dict(found)


def _pair(text: str) -> tuple[str, str]:
    name, sign, column = text.partition("=")
    if not name or not sign or not column:
        raise CommandError(f"--data takes NAME=COLUMN, not '{text}'.")
    return name, column
