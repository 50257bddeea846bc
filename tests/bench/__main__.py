"""`python -m tests.bench [NAME]`: measure, and write `bench/results.json`.

Ratios only travel between machines: ours, the limit and the typical implementation are measured in
turns, in the same minutes, and compared by their medians. A named measurement replaces its own
entries and leaves the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results.json"
# What is measured together, because one measures the other's limit.
GROUPS = {
    "invoice_run": "invoicing",
    "verify_books": "invoicing",
    "invoice_run_memory": "invoicing",
    "invoice_run_events": "invoicing",
    "ingest_1000": "ingest",
    "ingest_1000_4": "ingest",
    "ingest_100": "ingest",
    "ingest_1": "ingest",
    "ingest_hot": "ingest",
    "rollup": "ingest",
    "portal_overview": "portal",
    "licence_issue": "licences",
    "licence_check": "licences",
    "live_seen": "live",
    "live_look": "live",
    "verify_seat": "verify",
    "webhook_ack": "webhooks",
    "webhook_drain": "webhooks",
}
ALIASES = {
    "invoices": "invoice_run",
    "ingest": "ingest_1000",
    "verify": "verify_seat",
    "webhooks": "webhook_ack",
}

# What has to be known before the settings are read.
SETTINGS = {
    "webhooks": {
        "STRIPE_SECRET_KEY": "sk_test_bench00000000000000000000",
        "STRIPE_WEBHOOK_SECRET": "whsec_bench",
        "STRIPE_REQUESTS_PER_SECOND": "0",
    }
}


def main() -> int:
    """Measure what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [*GROUPS, *ALIASES]
    parser.add_argument("name", nargs="?", choices=names, help="default: all of them")
    name = parser.parse_args().name
    found: list[dict[str, object]] = []
    wanted = [GROUPS[ALIASES.get(name, name)]] if name else dict.fromkeys(GROUPS.values())
    for group in wanted:
        found += _measured(group)
    kept = [entry for entry in _before() if entry["name"] not in {one["name"] for one in found}]
    RESULTS.parent.mkdir(exist_ok=True)
    entries = sorted([*kept, *found], key=lambda entry: [*GROUPS].index(str(entry["name"])))
    RESULTS.write_text(json.dumps(entries, indent=2) + "\n")
    return 0


def _before() -> list[dict[str, object]]:
    entries = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    return [entry for entry in entries if entry["name"] in GROUPS]


def _measured(group: str) -> list[dict[str, object]]:
    environment = {
        **os.environ,
        "TEST_DATA_DIR": str(ROOT / ".data" / "bench"),
        "DJANGO_SETTINGS_MODULE": "billing_project.settings",
        "LOG_LEVEL": "error",
    }
    for inherited in ("TEST_SERVER", "TEST_TEMPLATE", "DATABASE_URL"):
        environment.pop(inherited, None)
    environment |= SETTINGS.get(group, {})
    command = [sys.executable, "-m", "tests.bench.run", group]
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    return list(json.loads(result.stdout))


if __name__ == "__main__":
    sys.exit(main())
