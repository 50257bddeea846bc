"""One group of measurements in a database of its own: `python -m tests.bench.run GROUP`."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from dataclasses import asdict

import django

from tests import database  # importing it starts the server and clones a migrated database
from tests.bench.timing import table
from tests.prove import ground


def main() -> None:
    """Measure, and print the results as JSON."""
    try:
        django.setup()
        logging.disable()
        with ground.copy_of(ground.here(), f"{ground.here()}_bench"):
            results = importlib.import_module(f"tests.bench.{sys.argv[1]}").measure()
    finally:
        database.pytest_unconfigure()
    print(table(results), file=sys.stderr)
    print(json.dumps([asdict(result) for result in results]))


if __name__ == "__main__":
    main()
