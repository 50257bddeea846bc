"""What a verification says: findings, and how they name what they are about."""

from __future__ import annotations

from dataclasses import dataclass

from apps.invoicing.models import Invoice, InvoiceLine


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that no longer agrees: what it is about, and a sentence."""

    kind: str
    target: str
    message: str


@dataclass(frozen=True, slots=True)
class Books:
    """The result of a verification."""

    invoices: int
    lines: int
    findings: tuple[Finding, ...]

    @property
    def hold(self) -> bool:
        """Whether everything agrees."""
        return not self.findings


def about(row: Invoice, problem: str) -> Finding:
    """Return a finding about an invoice."""
    return Finding("invoice", str(row.number), f"invoice {row.number}: {problem}")


def about_line(row: Invoice, line: InvoiceLine, problem: str) -> Finding:
    """Return a finding about one of an invoice's lines."""
    where = f"invoice {row.number}, line {line.position} ({line.key})"
    return Finding("line", line.public_id, f"{where}: {problem}")
