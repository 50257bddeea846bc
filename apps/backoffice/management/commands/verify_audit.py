"""`manage.py verify_audit`: prove that nobody rewrote the record."""

from __future__ import annotations

import sys
from typing import Any

from apps.audit import selectors
from apps.backoffice.commands import Command as BaseCommand
from apps.core import rls


class Command(BaseCommand):
    """Recompute every chain of the audit record."""

    help = (
        "Recompute the hash chains of the audit record, entry by entry. Exit code 1 and one line a"
        " finding when an entry was altered, removed or cut off."
    )
    examples = "  manage.py verify_audit\n  manage.py verify_audit --format json"

    def run(self, **options: Any) -> None:
        """Verify and tell with the exit code whether the chains hold."""
        with rls.ops_scope("verify_audit"):
            findings = [*selectors.broken_links()]
            entries = selectors.count()
        if self.as_json:
            self.print_json({"ok": not findings, "entries": entries, "findings": findings})
        else:
            for finding in findings:
                self.stdout.write(finding)
        verdict = f"{len(findings)} findings" if findings else "the chains hold"
        self.note(f"{entries} audit entries: {verdict}.")
        if findings:
            sys.exit(1)
