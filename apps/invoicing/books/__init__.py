"""The books: recompute every final invoice from stored facts and say what no longer agrees.

Seven proofs, each naming what it finds:
1. every event still has the digest it was stored with;
2. every usage bucket equals a recount of its events;
3. every line follows from its own explanation, from the price it names, and, when metered, from a
   recount of exactly the events it counted when it was made; a line and its corrections follow each
   other;
4. every final invoice adds up, its discounts, taxes and credit are those that were settled, and it
   has the content that its hash sealed;
5. the ledger balances and agrees, account by account, with invoices, credit notes, credit, taxes,
   revenue still to be earned and payments; numbers have no gap;
6. the audit chains hold;
7. every seal is what the audit chain recorded, over the buckets and lines that it was made for.
   Lines whose events are gone by retention are proven from it: `sealed_lines` says which.
"""

from apps.invoicing.books.findings import Books, Finding
from apps.invoicing.books.ledger import LEDGER_CHECKS
from apps.invoicing.books.proving import count, verify
from apps.invoicing.healing import Late, late_usage
from apps.invoicing.sealing import SealedLines, sealed_lines

__all__ = [
    "LEDGER_CHECKS",
    "Books",
    "Finding",
    "Late",
    "SealedLines",
    "count",
    "late_usage",
    "sealed_lines",
    "verify",
]
