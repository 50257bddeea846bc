"""One harness in a process of its own: `python -m tests.prove.run NAME PROFILE SEED`."""

from __future__ import annotations

import importlib
import sys

import django

from tests import database  # importing it starts the server and clones a migrated database
from tests.prove import ground


def main() -> int:
    """Run the harness, print its line, and leave nothing running; return the exit status."""
    name, profile, seed = sys.argv[1:]
    try:
        ground.sweep()
        django.setup()
        harness = importlib.import_module(f"tests.prove.{name}")  # its models need the set-up
        verdict = harness.prove(profile, int(seed))
    finally:
        database.pytest_unconfigure()
    for fault in verdict.faults[:20]:
        print(f"{name}: FAULT {fault}", file=sys.stderr)
    for mutant in verdict.uncaught:
        print(f"{name}: mutant '{mutant}' was NOT caught", file=sys.stderr)
    if not verdict.holds:
        print(f"{name}: repeat with --seed {seed}; add it to seeds.json", file=sys.stderr)
    print(verdict.line(), flush=True)
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
