"""The sums under a document: discounts, taxes, credit, payments, and what is left to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.invoicing.document import Document, Tax
from apps.invoicing.paper.legal import notice
from apps.invoicing.paper.words import Words


@dataclass(frozen=True, slots=True)
class Total:
    """One sum: its label, minor units, and whether it is one that counts."""

    label: str
    minor: int
    strong: bool = False


def totals(document: Document, words: Words) -> list[Total]:
    """Return all sums in their order, in the active language."""
    return [*_sums(document, words), *_settled(document)]


def shown(taxes: Sequence[Tax]) -> list[Tax]:
    """Leave out where the issuer collects no tax at all."""
    return [tax for tax in taxes if tax.treatment != "none"]


def notices(document: Document) -> list[str]:
    """Return what the law wants said about taxes that are not charged, each once."""
    said = (notice(tax) for tax in document.taxes)
    return list(dict.fromkeys(text for text in said if text))


def _sums(document: Document, words: Words) -> list[Total]:
    """Return how the lines become the total, or what credit is taken from: discounts, then taxes.

    The total is what is left after credit, here as everywhere.
    """
    gross = document.total + document.credits_total
    rows = [Total(one.name, -one.amount) for one in document.discounts]
    rows += [
        Total(_taxed(tax, words), tax.amount) for tax in shown(document.taxes) if not tax.inclusive
    ]
    if rows or document.subtotal != gross:
        rows.insert(0, Total(_("Subtotal"), document.subtotal))
    whole = _("Amount before credit") if document.credits else _("Total")
    rows.append(Total(whole, gross, True))
    return rows + [
        Total(_("Including %(tax)s") % {"tax": _taxed(tax, words)}, tax.amount)
        for tax in shown(document.taxes)
        if tax.inclusive
    ]


def _taxed(tax: Tax, words: Words) -> str:
    told = {
        "name": tax.name or _("Tax"),
        "percent": words.percent(tax.charged_percent),
        "base": words.money(tax.base),
    }
    return _("%(name)s %(percent)s on %(base)s") % told


def _settled(document: Document) -> list[Total]:
    """Return the credit that leads to the total, what met it since, and what is left of it."""
    # Below zero it is what the document leaves as credit, under a name of ours.
    rows = [
        Total(one.name if one.amount > 0 else _(one.name), -one.amount) for one in document.credits
    ]
    if rows:
        rows.append(Total(_("Total"), document.total, True))
    later = [(_("Credit notes"), document.credited), (_("Paid"), document.amount_paid)]
    rows += [Total(label, -amount) for label, amount in later if amount]
    if document.amount_paid or document.credited:
        rows.append(Total(_("Still due"), document.amount_due, True))
    return rows
